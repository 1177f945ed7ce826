"""`convarium serve RUN...`: runs behind HTTP, with limits, until a signal ends it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convarium.cli.parsing import Parser, above_zero, duration, natural, positive, write, write_json
from convarium.errors import OptionError
from convarium.serve.access import LOCAL_HOSTS, check_bind, is_local, read_token
from convarium.serve.limits import Limits

if TYPE_CHECKING:
    from convarium.serve import Service

_TYPES: dict[str, Callable[[str], Any]] = {"int": positive, "float": above_zero}
_PORTS = 2**16


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments, and a flag for each limit."""
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="+",
        help="run folders of 'convarium train', each also as NAME=RUN")  # fmt: skip
    add("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    add("--port", type=natural, default=8000, help="port to listen at; 0 takes a free one (8000)")
    add("--token-file", metavar="FILE", help="holds the token that requests must show")
    add("--allow-public-without-token", action="store_true",
        help="let anybody ask who reaches the address")  # fmt: skip
    add("--allow-host", metavar="NAME", action="append", default=[],
        help="take requests for this name too, where none but local ones are taken")  # fmt: skip
    add("--watch", type=duration, default=2.0, metavar="TIME",
        help="how often to look for new versions of the runs; 0 never does (2s)")  # fmt: skip
    add("--untuned", action="store_true", help="run the networks themselves, not what tune chose")
    group = parser.add_argument_group("limits")
    for limit in dataclasses.fields(Limits):
        read = duration if limit.metadata.get("unit") == "seconds" else _TYPES[str(limit.type)]
        group.add_argument(
            "--" + limit.name.replace("_", "-"),
            type=_not_negative if read is above_zero and limit.metadata.get("low") == 0 else read,
            default=limit.default,
            metavar="TIME" if read is duration else "N",
            help=limit.metadata["help"],
        )


def run(arguments: argparse.Namespace) -> int:
    """Open the runs, listen, and answer until a signal comes."""
    token = None if arguments.token_file is None else read_token(arguments.token_file)
    check_bind(arguments.host, token, forced=arguments.allow_public_without_token)
    if arguments.port >= _PORTS:
        raise OptionError(f"--port (={arguments.port}) must be below {_PORTS}.")
    names = {limit.name for limit in dataclasses.fields(Limits)}
    limits = Limits(**{name: vars(arguments)[name] for name in names})
    from convarium import serve
    from convarium.serve.served import named_runs

    service = serve.Service(named_runs(arguments.runs), limits, untuned=arguments.untuned)
    app = serve.build_app(service, token=token, watch=arguments.watch, hosts=_hosts(arguments))

    def started(host: str, port: int) -> None:
        _tell(arguments, service, f"http://{f'[{host}]' if ':' in host else host}:{port}")

    serve.run_server(app, arguments.host, arguments.port, started=started)
    return 0


def _hosts(arguments: argparse.Namespace) -> tuple[str, ...] | None:
    """Names that requests may ask for, so that no web page reaches a server without a token."""
    closed = arguments.token_file is None and is_local(arguments.host)
    if not closed and not arguments.allow_host:
        return None
    return (*LOCAL_HOSTS, arguments.host, *arguments.allow_host)


def _tell(arguments: argparse.Namespace, service: Service, address: str) -> None:
    """Where the runs are, and how each is run."""
    runs = [service.named(name) for name in service.names]
    if arguments.json:
        told = [{"name": run.name, "version": run.version, "form": run.form} for run in runs]
        write_json({"address": address, "runs": told})
        return
    for run in runs:
        write(f"{run.name}, version {run.version}: {run.form}")
    write(f"listening at {address}; its paths are in {address}/openapi.json")


def _not_negative(text: str) -> float:
    """A number of 0 or more."""
    return 0.0 if text.strip("0.") == "" and text.strip(".") else above_zero(text)
