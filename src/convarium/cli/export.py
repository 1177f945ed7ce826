"""`convarium export RUN --to onnx`: a file for another runtime, checked before it gets its name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from convarium.cli.exporting_fields import export_fields
from convarium.cli.exporting_streams import export_stream
from convarium.cli.exporting_texts import export_texts
from convarium.cli.parsing import Parser, above_zero, positive, write, write_json
from convarium.errors import OptionError

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.deploy import Export, Quantisation
    from convarium.predict import Run

_SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch": ".pt2", "executorch": ".pte"}
_SAMPLES = 32


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    add = parser.add_argument
    add("run", metavar="RUN", help="a run folder of 'convarium train'")
    add("--to", required=True, choices=tuple(_SUFFIXES), help="the file's format")
    add("--samples", metavar="DATA",
        help="images to verify on; by default those that the run keeps (up to 32)")  # fmt: skip
    add("--dynamic-size", action="store_true", help="leave the size of the inputs free too")
    add("--pixels", choices=("channels_first", "channels_last", "pictures"),
        help="put scaling and normalisation into the file, which takes 8-bit pixels; with "
        "pictures, of openvino, also resizing and cropping, for --samples of one size")  # fmt: skip
    add("--int8", action="store_true", help="8-bit numbers, if accuracy is shown to hold")
    add("--data", metavar="DATA", help="with --int8: the run's data, if it is elsewhere by now")
    add("--points", type=above_zero, default=None, metavar="X",
        help="with --int8: points of accuracy that may be lost (0.5)")  # fmt: skip
    add("--finetune", type=positive, metavar="N",
        help="with --int8: passes over training samples to learn rounded numbers, if accuracy "
        "does not hold without")  # fmt: skip
    add("--stream", choices=("steps", "chunks"),
        help="of a causal network of series, such as tcn: for live data, a step a run or pieces of "
        "any length, with a state")  # fmt: skip
    add("-o", "--output", metavar="FILE", help="the file (RUN/model.onnx, .xml, .pt2 or .pte)")


def run(arguments: argparse.Namespace) -> int:
    """Export, verify on real samples, and say how close the two are."""
    from convarium import predict

    _check(arguments)
    opened = predict.open_run(arguments.run)
    if arguments.stream:
        return export_stream(arguments, opened)
    others = {"texts": export_texts, "grids": export_fields}
    kind = opened.preprocessing.kind
    if kind in others:
        if arguments.int8 or arguments.pixels or arguments.dynamic_size:
            raise OptionError(
                "--int8, --pixels and --dynamic-size are for networks that read maps, and that of "
                f"{opened.folder} reads {kind}; leave them out."
            )
        return others[kind](arguments, opened)
    suffix = _SUFFIXES[arguments.to]
    path = Path(arguments.output or opened.folder / f"model{suffix}")
    written = (_quantised if arguments.int8 else _exported)(arguments, opened, path)
    if arguments.json:
        write_json(written.to_json())
        return 0
    write(written.sentence())
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse flags that have no effect with the others."""
    if not arguments.int8:
        for flag in ("data", "points", "finetune"):
            if getattr(arguments, flag) is not None:
                raise OptionError(f"--{flag} belongs to --int8; add that, or leave it out.")
        return
    if arguments.to in ("torch", "executorch"):
        raise OptionError("--int8 is for --to openvino and --to onnx; choose one of these.")
    for flag in ("samples", "dynamic_size", "pixels"):
        if getattr(arguments, flag):
            raise OptionError(f"--{flag.replace('_', '-')} does not go with --int8; leave one out.")


def _exported(arguments: argparse.Namespace, opened: Run, path: Path) -> Export:
    from convarium import deploy

    return deploy.export(
        opened.model,
        path,
        samples=_samples(arguments, opened),
        format=arguments.to,
        card=opened.card,
        dynamic_size=arguments.dynamic_size,
        preprocessing=opened.preprocessing,
        pixels=arguments.pixels,
    )


def _samples(arguments: argparse.Namespace, opened: Run) -> Tensor:
    """Preprocessed samples, or whole pictures of one size."""
    if arguments.pixels != "pictures":
        return opened.samples(arguments.samples)
    if arguments.samples is None:
        raise OptionError("--pixels pictures needs --samples, pictures of the size that is sent.")
    import torch

    from convarium.data import open_inputs
    from convarium.data.resizing import with_channels

    dataset = open_inputs([arguments.samples], kind="images")
    channels = opened.preprocessing.input_shape[0]
    found = [with_channels(dataset.read(i), channels) for i in range(min(_SAMPLES, len(dataset)))]
    sizes = {each.shape for each in found}
    if len(sizes) > 1:
        told = ", ".join(f"{w} x {h}" for h, w, _ in sorted(sizes)[:3])
        raise OptionError(
            f"--samples (={arguments.samples!r}) holds pictures of {told}; give one size."
        )
    return torch.stack([torch.from_numpy(each) for each in found])


def _quantised(arguments: argparse.Namespace, opened: Run, path: Path) -> Quantisation:
    from convarium import deploy
    from convarium.cli.labelled import samples_of

    calibration, labelled = samples_of(opened, arguments.data)
    points = {} if arguments.points is None else {"points": arguments.points}
    return deploy.quantise(
        opened.model,
        path,
        calibration=calibration,
        labelled=labelled,
        format=arguments.to,
        card=opened.card,
        finetune=arguments.finetune or 0,
        **points,
    )
