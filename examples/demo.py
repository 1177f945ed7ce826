"""The whole walk on real digits: train, evaluate, report, explain, export.

Run it with `make demo`. Each line that starts with $ is a command that you can type yourself.
"""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

from PIL import Image

from convarium import data
from convarium.cli import main as convarium


def main() -> int:
    """Run the commands one after the other; gives the exit code of the first that fails."""
    start = time.monotonic()
    run = _free_folder(Path("runs"), "digits")
    images = _free_folder(Path("runs"), f"{run.name}-images")
    steps = (
        ["train", "digits", "--out", str(run)],
        ["predict", str(run), str(images)],
        ["explain", str(run), str(images), "--output", str(run / "heatmaps")],
        ["export", str(run), "--to", "onnx"],
    )
    for step in steps:
        print("\n$ convarium " + shlex.join(step), flush=True)
        code = convarium(step)
        if code:
            return code
        if step[0] == "train":
            _write_images(run, images)
    print(f"\nDone in {time.monotonic() - start:.0f} s. Open these:")
    print(f"  report    {run / 'report.html'}")
    print(f"  heatmaps  {run / 'heatmaps' / 'heatmaps.html'}")
    print(f"  ONNX      {run / 'model.onnx'}")
    print("\nNext, on your own folder of class folders:")
    print("  .venv/bin/convarium train photos/ --out runs/photos")
    print("  .venv/bin/convarium list")
    return 0


def _write_images(run: Path, folder: Path) -> None:
    """A page of test digits as files, eight times enlarged, for the verbs that take files."""
    import pyarrow.parquet as parquet

    dataset = data.open_dataset("digits")
    table = parquet.read_table(run / "predictions.parquet")
    folder.mkdir(parents=True)
    for sample in table.column("id").to_pylist()[:24]:
        pixels = dataset.read(sample)[..., 0]
        picture = Image.fromarray(pixels.repeat(8, axis=0).repeat(8, axis=1))
        picture.save(folder / f"digit-{sample:04d}.png")


def _free_folder(parent: Path, name: str) -> Path:
    """`parent/name`, or the first of `parent/name-2`, ... that does not exist."""
    number = 1
    while (parent / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return parent / (name if number == 1 else f"{name}-{number}")


if __name__ == "__main__":
    sys.exit(main())
