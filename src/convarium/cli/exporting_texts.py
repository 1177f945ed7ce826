"""`convarium export RUN` for texts: the network as ONNX, and its tokenizer beside it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, cast

from convarium.cli.parsing import write, write_json
from convarium.errors import OptionError

if TYPE_CHECKING:
    from convarium.data import TextPreprocessing
    from convarium.predict import Run


def export_texts(arguments: argparse.Namespace, opened: Run) -> int:
    """Export, verify on real texts, and write the tokenizer as Hugging Face's libraries read it."""
    from convarium import deploy, files

    if arguments.to != "onnx":
        raise OptionError(f"--to {arguments.to} is for images and volumes; texts take onnx.")
    path = Path(arguments.output or opened.folder / "model.onnx")
    steps = cast("TextPreprocessing", opened.preprocessing)
    samples = opened.samples(arguments.samples)
    exported = deploy.export_sequences(opened.model, path, samples=samples, card=opened.card)
    tokenizer = path.with_suffix(".tokenizer.json")
    files.write_text(tokenizer, steps.tokenizer)
    if arguments.json:
        write_json({**exported.to_json(), "tokenizer": str(tokenizer)})
        return 0
    write(exported.sentence())
    write(
        f"{tokenizer}: its tokenizer; cut texts to {steps.longest} tokens, and pad with 0 to "
        f"{exported.least} or more."
    )
    return 0
