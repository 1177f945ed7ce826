"""The peer of `benchmarks/streaming.py`: the PyPI package `pytorch-tcn`, streaming step by step.

Runs in .venv-peers and imports nothing of convarium:

    python benchmarks/peers/streaming.py TASK.npz OUTPUTS.npz

TASK.npz holds the batch "x" (B, C, T), how many of its last "steps" are timed, and the weights by
the names "stage1.0.conv1.weight" ... Each line on standard input asks for these steps of the first
so many sequences and is answered by its seconds. At the end of the input, the outputs of the whole
batch are written to OUTPUTS.npz.

The package streams one sequence at a time and refuses a batch. Here it streams batches: its check
is taken away, and what it does to its buffers stays.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time

import numpy as np
import torch
from pytorch_tcn import TCN
from pytorch_tcn.pad import TemporalPad1d
from torch.nn.utils import parametrize

CONVOLUTIONS = ("conv1", "conv2")


def pad_inference(self: TemporalPad1d, x: torch.Tensor, buffer_io: object = None) -> torch.Tensor:
    """As the package has it, without its check of the batch."""
    x = torch.cat((self.buffer, x), -1)
    self.buffer = x[..., -self.pad_len :]
    return x


def built(task: np.lib.npyio.NpzFile) -> TCN:
    """The package's network with the task's weights, weight norm materialised."""
    names = [name for name in task.files if name.endswith("conv1.weight")]
    width, channels, taps = task[names[0]].shape
    network = TCN(channels, [width] * len(names), kernel_size=taps, dropout=0.0, causal=True)
    for i, block in enumerate(network.network, start=1):
        for name in CONVOLUTIONS:
            convolution = getattr(block, name)
            parametrize.remove_parametrizations(convolution, "weight")
            for kind in ("weight", "bias"):
                found = torch.from_numpy(task[f"stage{i}.0.{name}.{kind}"])
                getattr(convolution, kind).data.copy_(found)
    return network.eval()


def begin(network: TCN, batch: int) -> None:
    """Empty buffers for so many sequences."""
    for module in network.modules():
        if isinstance(module, TemporalPad1d):
            module.buffer = torch.zeros(batch, *module.buffer.shape[1:])


@torch.inference_mode()
def main(task_path: str, outputs_path: str) -> None:
    """Answer requests until standard input ends."""
    task = np.load(task_path)
    network, x, steps = built(task), torch.from_numpy(task["x"]), int(task["steps"])
    TemporalPad1d.pad_inference = pad_inference
    history = x.shape[2] - steps
    package = f"pytorch-tcn {importlib.metadata.version('pytorch-tcn')}"
    print(json.dumps({"package": package}), flush=True)
    for line in sys.stdin:
        n = int(line)
        begin(network, n)
        network(x[:n, :, :history], inference=True)
        pieces = [x[:n, :, t : t + 1] for t in range(history, x.shape[2])]
        start = time.perf_counter()
        for piece in pieces:
            network(piece, inference=True)
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
    np.savez(outputs_path, outputs=network(x).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
