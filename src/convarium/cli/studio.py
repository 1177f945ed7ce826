"""`convarium studio [RUN ...]`: a local web application that shows what the other verbs compute."""

from __future__ import annotations

import argparse
import threading
import webbrowser

from convarium.cli.parsing import Parser, natural, write, write_json
from convarium.errors import OptionError

_HOST = "127.0.0.1"
_PORTS = 2**16


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    add = parser.add_argument
    add("runs", metavar="RUN", nargs="*",
        help="run folders of 'convarium train', or folders that hold some")  # fmt: skip
    add("--data", metavar="DATA", help="a data set to look at, as 'convarium train' takes it")
    add("--port", type=natural, default=0, help="port to listen at; 0 takes a free one (0)")
    add("--open", action=argparse.BooleanOptionalAction, default=None,
        help="open the address in a browser (yes, but with --json)")  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Listen at a local address until a signal comes."""
    if arguments.port >= _PORTS:
        raise OptionError(f"--port (={arguments.port}) must be below {_PORTS}.")
    from convarium.serve.server import run_server
    from convarium.studio.app import build_studio
    from convarium.studio.desk import Desk

    desk = Desk(arguments.runs, arguments.data)
    opens = not arguments.json if arguments.open is None else arguments.open

    def started(host: str, port: int) -> None:
        address = f"http://{host}:{port}/"
        if arguments.json:
            write_json({"address": address, "runs": list(desk.folders())})
        else:
            write(f"the studio is at {address}; Ctrl+C ends it")
        if opens:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    run_server(build_studio(desk, warm=True), _HOST, arguments.port, started=started)
    return 0
