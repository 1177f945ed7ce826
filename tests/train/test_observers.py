"""The lines that people read while training runs."""

from __future__ import annotations

import io

from convarium.train import ProgressLines


def test_one_line_an_epoch_with_every_figure():
    stream = io.StringIO()
    lines = ProgressLines(stream)
    lines.on_start(epochs=3, steps=30, first_step=10, batch_size=8)
    lines.on_step(11, 0.5)
    row = {"epoch": 2, "train_loss": 0.25, "train_acc": 0.9, "val_loss": 0.5, "val_acc": 0.8,
           "lr": 1e-3, "seconds": 61.0}  # fmt: skip
    lines.on_epoch(row)
    (line,) = stream.getvalue().splitlines()
    assert line == (
        "epoch 2/3: train loss 0.2500, train acc 0.9000, val loss 0.5000, val acc 0.8000, "
        "lr 1.00e-03, 1 min 01 s"
    )
