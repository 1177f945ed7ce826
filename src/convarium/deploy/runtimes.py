"""Files of several inputs in their runtimes, compared with what a network gave.

net.onnx -> onnxruntime    net.xml (+ net.bin) -> OpenVINO
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium.deploy.artefact import openvino_core
from convarium.errors import VerificationError, import_extra

Numbers = NDArray[Any]
Run = Callable[[Sequence[Numbers]], list[Numbers]]


class SequenceRuntime:
    """A file in its runtime, and the largest difference so far.

    Args:
        path: ends in .onnx or, for OpenVINO, .xml.
        tolerance: the largest difference allowed, as a share of the largest output.
    """

    def __init__(self, path: Path, tolerance: float) -> None:
        self.path, self.tolerance = path, tolerance
        self.largest, self.scale, self.runs = 0.0, 0.0, 0
        self._same: list[Numbers] = []
        self._name = "openvino" if path.suffix == ".xml" else "onnxruntime"
        self._call = (_in_openvino if path.suffix == ".xml" else _in_onnxruntime)(path)

    @property
    def agreement(self) -> float:
        """Share of equal decisions so far."""
        return float(np.concatenate(self._same).mean())

    def run(self, given: Sequence[Tensor]) -> list[Numbers]:
        """All outputs, of inputs in the file's order.

        Raises:
            VerificationError: the file cannot run.
        """
        try:
            return self._call([each.detach().contiguous().numpy() for each in given])
        except Exception as error:  # the runtimes raise kinds of their own
            first = str(error).strip().partition("\n")[0]
            raise VerificationError(f"{self._name} cannot run {self.path.name}: {first}") from error

    def meet(self, expected: Tensor, given: Sequence[Tensor]) -> list[Tensor]:
        """Run, compare the first output, and give all.

        Raises:
            VerificationError: the file cannot run, or computes something else.
        """
        output, *others = self.run(given)
        wanted: Numbers = expected.numpy()
        if output.shape != wanted.shape:
            raise VerificationError(
                f"{self.path.name} returns shape {output.shape} where the network returns "
                f"{wanted.shape}."
            )
        self._same.append((output.argmax(1) == wanted.argmax(1)).reshape(-1))
        difference, scale = float(np.abs(output - wanted).max()), float(np.abs(wanted).max())
        self.largest, self.scale = max(self.largest, difference), max(self.scale, scale)
        self.runs += 1
        if not difference <= self.tolerance * (self.scale or 1.0):
            raise VerificationError(
                f"{self.path.name} does not compute what the network computes: the largest "
                f"difference is {difference:.3g} at outputs up to {self.scale:.3g}."
            )
        return [torch.from_numpy(each) for each in (output, *others)]


def _in_onnxruntime(path: Path) -> Run:
    runtime = import_extra("onnxruntime", "onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return lambda given: session.run(None, dict(zip(names, given, strict=True)))


def _in_openvino(path: Path) -> Run:
    core = openvino_core()
    settings = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(core.read_model(str(path)), "CPU", settings)
    names = [each.any_name for each in compiled.inputs]

    def run(given: Sequence[Numbers]) -> list[Numbers]:
        found = compiled(dict(zip(names, given, strict=True)))
        return [found[output] for output in compiled.outputs]

    return run
