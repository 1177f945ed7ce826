"""`convarium tune RUN`: the fastest form of a run on this machine that is shown to be right."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from convarium import files
from convarium.cli.parsing import Parser, above_zero, duration, positive, write, write_json
from convarium.errors import ConvariumError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.cli.labelled import Labelled
    from convarium.deploy import PictureFiles, Tuning
    from convarium.predict import Run


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    add = parser.add_argument
    add("run", metavar="RUN", help="a run folder of 'convarium train'")
    add("--data", metavar="DATA", help="the run's data, if it is elsewhere by now")
    add("--goal", default="latency", metavar="GOAL",
        help="latency of one sample, throughput, or end_to_end from files (latency)")  # fmt: skip
    add("--batch-size", type=positive, metavar="N", help="samples in a pass (1 or 16, by the goal)")
    add("--engines", type=_words, metavar="NAME,...",
        help="which to try: eager, folded, onnx, openvino, compiled (all)")  # fmt: skip
    add("--threads", type=_numbers, metavar="N,...", help="numbers of threads to try")
    add("--streams", type=_numbers, metavar="N,...",
        help="parts of a batch that OpenVINO computes beside each other, to try")  # fmt: skip
    add("--points", type=above_zero, default=0.5, metavar="X",
        help="points of accuracy that may be lost (0.5)")  # fmt: skip
    add("--finetune", type=positive, default=0, metavar="N",
        help="passes over training samples to learn rounded numbers, where 8-bit forms lose too "
        "much without (none)")  # fmt: skip
    add("--time-limit", type=duration, default=600.0, metavar="TIME",
        help="no form is begun after so long, such as 90s or 10m (10m)")  # fmt: skip
    add("--fresh", action="store_true", help="measure anew what was measured before")
    add("-o", "--output", metavar="FILE", help="a picture of latency and accuracy: .svg or .png")


def run(arguments: argparse.Namespace) -> int:
    """Tune, print the table and the choice; it is kept in the run for `predict`."""
    from convarium import predict

    if arguments.output and Path(arguments.output).suffix.lower() not in (".svg", ".png"):
        raise OptionError(f"--output (={arguments.output!r}) must end in .svg or .png.")
    opened = predict.open_run(arguments.run)
    if opened.preprocessing.input_kind != "maps":
        reads = opened.preprocessing.input_kind
        raise OptionError(
            f"tune is for networks that read maps, and that of {opened.folder} reads {reads}; use "
            "it as it is."
        )
    calibration, labelled, note = _labelled(arguments, opened)
    found = _tuned(arguments, opened, calibration, labelled)
    if arguments.output:
        _draw(found, arguments.output)
    if arguments.json:
        write_json(found.to_json())
        return 0
    for line in [*_table(found), *_skipped(found), found.sentence(), *filter(None, [note])]:
        write(line)
    if arguments.output:
        write(f"picture: {arguments.output}")
    return 0


def _labelled(
    arguments: argparse.Namespace, opened: Run
) -> tuple[Tensor | None, Labelled | None, str]:
    """What is needed for bf16 and int8, or a note why they are left out."""
    from convarium.cli.labelled import samples_of

    try:
        return *samples_of(opened, arguments.data), ""
    except ConvariumError as error:
        if arguments.data is not None:
            raise
        return None, None, f"note: only fp32 was tried. {error}"


def _tuned(
    arguments: argparse.Namespace,
    opened: Run,
    calibration: Tensor | None,
    labelled: Labelled | None,
) -> Tuning:
    from convarium import deploy
    from convarium.progress import Progress

    samples = opened.samples() if calibration is None else calibration[:32]
    pictures = _pictures(arguments, opened)
    smaller = None if labelled is None or pictures is None else labelled.smaller()
    chosen = {} if arguments.engines is None else {"engines": arguments.engines}
    with Progress(0, "tune", unit="forms", enabled=not arguments.json) as progress:
        return deploy.tune(
            opened.model,
            opened.tuned,
            samples=samples,
            calibration=calibration,
            labelled=labelled,
            smaller=smaller,
            goal=arguments.goal,
            batch_size=arguments.batch_size,
            threads=arguments.threads,
            streams=arguments.streams,
            points=arguments.points,
            finetune=arguments.finetune,
            pictures=pictures,
            seconds=arguments.time_limit,
            card=opened.card,
            fresh=arguments.fresh,
            progress=progress,
            **chosen,
        )


def _pictures(arguments: argparse.Namespace, opened: Run) -> PictureFiles | None:
    """Where passes from end to end begin: files of the validation part."""
    if arguments.goal != "end_to_end":
        return None
    from convarium import deploy
    from convarium.cli.labelled import files_of

    return deploy.PictureFiles(files_of(opened, arguments.data), opened.preprocessing)


def _table(found: Tuning) -> list[str]:
    """A line a form, the fastest first."""
    lines = [f"{'form':<28}  {'ms':>8}  {'samples/s':>10}  {'agree':>7}  accuracy"]
    for row in found.rows:
        accuracy = "equal" if row.drop is None else f"{row.drop.after:.2f} %"
        if row.drop is not None and row.form.reduced:  # only of samples that come smaller
            accuracy += f" of {row.drop.n}, before {row.drop.before:.2f} %"
        lines.append(
            f"{row.form.label:<28}  {row.ms:>8.3g}  {row.samples_per_second:>10.4g}  "
            f"{row.agreement:>7.1%}  {accuracy}"
        )
    return lines


def _skipped(found: Tuning) -> list[str]:
    return [f"left out: {label}: {why}" for label, why in found.skipped.items()]


def _draw(found: Tuning, path: str) -> None:
    """Write the picture: accuracy where it was measured, else the share of equal answers."""
    from convarium.report.pareto import draw_tuning
    from convarium.report.raster import svg_as_png

    svg = draw_tuning(found)
    if path.lower().endswith(".svg"):
        files.write_text(path, svg + "\n")
    else:
        files.write_bytes(path, svg_as_png(svg))


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _numbers(text: str) -> list[int]:
    return [positive(word) for word in text.split(",")]
