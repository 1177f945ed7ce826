"""From the command line to a verb and an exit code.

0: done. 1: a gate of `audit` does not hold. 2: what was asked for cannot be done, and one sentence
says why and what helps. 130: stopped by the keyboard. 141: whoever read the output left. A verb's
file is loaded when the verb is used.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from convarium.cli.parsing import Parser
from convarium.errors import ConvariumError, OptionError, did_you_mean

VERBS = {
    "train": "train a network on a folder, a table or arrays, into a run folder",
    "evaluate": "measure a run on labelled data",
    "predict": "name what is on images, or what texts are about",
    "downscale": "make coarse fields finer, file to file",
    "embed": "write the vectors that a run has for its inputs",
    "neighbours": "find the nearest of vectors, and say what the vectors are worth",
    "measure": "measure what a network sees and costs",
    "choose": "rank networks for an input by measurements on this machine",
    "explain": "show where a run looks, as heatmaps",
    "audit": "say what a run's answers rest on: groups, backgrounds, small places",
    "export": "write a verified file for another runtime",
    "tune": "find the fastest form of a run on this machine that is right",
    "serve": "answer over HTTP with one run or several",
    "studio": "look at runs, networks and data in a browser of this machine",
    "data": "tell what a data set holds, and show what training makes of it",
    "list": "list the networks",
    "show": "show one network",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with the arguments `argv` (None: those of the process); gives the exit code.

    >>> main(["show", "lenet6"])
    2
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:
        _share_the_processor()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = _dispatch(arguments)
        if argv is None and arguments[:1] == ["studio"]:
            _leave(code)
        return code
    except ConvariumError as error:
        sys.stderr.write(f"convarium{_process()}: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(
            f"convarium{_process()}: stopped; a run in training goes on with train --resume\n"
        )
        return 130
    except BrokenPipeError:  # the reader of our output left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        reason = str(error).partition("\n")[0][:200].rstrip(".")
        words = f"the memory is too small ({reason}); take a smaller batch or smaller images"
        sys.stderr.write(f"convarium{_process()}: {words}\n")
        return 2


def _share_the_processor() -> None:
    """Let torch's threads sleep soon where they wait for each other; called before its import.

    GNU's OpenMP has them spin for milliseconds. Where another program has one of the cores, they
    spin against the very thread that they wait for (`benchmarks/neighbour.py`). A choice of the
    user's stands.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _leave(code: int) -> None:
    """End the process at once: its threads may load torch for seconds, and nobody waits for it."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        import convarium

        sys.stdout.write(f"convarium {convarium.__version__}\n")
        return 0
    name, *rest = arguments
    if name not in VERBS:
        near = did_you_mean(name, VERBS)
        raise OptionError(f"There is no verb {name!r}.{near} See: convarium --help")
    verb = importlib.import_module(f"convarium.cli.{name}")
    parser = Parser(prog=f"convarium {name}", description=_capital(VERBS[name]) + ".")
    verb.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    try:
        values = parser.parse_args(rest)
    except SystemExit as stop:  # --help ends so
        return int(stop.code or 0)
    return int(verb.run(values))


def _overview() -> str:
    lines = ["usage: convarium VERB ...", "", "Convolutional networks behind glass.", ""]
    lines += [f"  {name:<10} {text}" for name, text in VERBS.items()]
    lines += ["", "convarium VERB --help says more; convarium --version prints the version.", ""]
    return "\n".join(lines)


def _process() -> str:
    """Which of several processes speaks, where it is not the first."""
    rank = os.environ.get("RANK", "0")
    return "" if rank == "0" else f" (process {rank})"


def _is_of_memory(error: Exception) -> bool:
    """Whether memory ran out: NumPy's, a GPU's, or torch's on the processor."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "DefaultCPUAllocator" in str(error)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """A warning as one plain line, without the place in the code."""
    sys.stderr.write(f"convarium: {message}\n")
