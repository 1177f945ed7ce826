"""A file in the runtime it was written for, as a callable from tensor to tensor.

    net.onnx -> onnxruntime    net.xml (+ net.bin) -> OpenVINO    net.pt2 -> torch
    net.pte -> ExecuTorch, sample by sample

Every failure of a runtime is one error, and each runs on the processor.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Literal

import numpy as np
import torch
from torch import Tensor

from convarium.deploy.computing import computing_with
from convarium.deploy.onnx_file import silent
from convarium.errors import OptionError, VerificationError, import_extra

Precision = Literal["fp32", "bf16"]

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}
_core_lock = threading.Lock()  # so that two threads make no second Core
_REPORTING: Final = "openvino_telemetry"
_TENSORS_ONLY: Final = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


class Artefact:
    """An exported file, ready to run; give it to `predict.Predictor` as its forward.

    Several threads may call it at once. Of a program of torch's (.pt2) no pickled objects are
    loaded. Its sizes are expressions that torch evaluates, though: run only programs from people
    that you trust.

    Args:
        path: ends in .onnx, .xml, .pt2 or .pte.
        threads: that the runtime computes with; None takes torch's number. ExecuTorch takes its
            own.
        precision: "fp32", or "bf16" where the runtime can compute in it: OpenVINO, which would
            choose it by itself on processors that have it.
        batch_size: prepares for batches of this size only, which OpenVINO runs faster; None takes
            any.
        streams: parts of a batch that OpenVINO computes beside each other, which several threads
            may do faster than one part after the other on all of them.

    Raises:
        VerificationError: the file is missing, or its runtime cannot read it.
        OptionError: an unknown suffix, or a precision or streams that the runtime does not have.
        MissingExtraError: the runtime is not installed.

    Shape:
        (N, C, *S) -> (N, ...)
    """

    def __init__(
        self,
        path: str | Path,
        *,
        threads: int | None = None,
        precision: Precision = "fp32",
        batch_size: int | None = None,
        streams: int = 1,
    ) -> None:
        self.path, self.streams = Path(path), streams
        self.threads = torch.get_num_threads() if threads is None else threads
        self.precision = precision
        if self.path.suffix not in _OPENERS:
            raise OptionError(
                f"path (={str(path)!r}) must end in {', '.join(_OPENERS)}, as export writes them."
            )
        if precision not in _HINTS or (precision != "fp32" and self.path.suffix != ".xml"):
            raise OptionError(
                f"precision (={precision!r}) must be fp32, or bf16 for a file of OpenVINO's."
            )
        if streams < 1 or (streams > 1 and self.path.suffix != ".xml"):
            raise OptionError(f"streams (={streams}) must be 1, or more for a file of OpenVINO's.")
        self.runtime, opener = _OPENERS[self.path.suffix]
        if self.runtime != "torch":
            runtime_package(self.runtime)
        if not self.path.is_file():
            raise VerificationError(f"There is no file {self.path}.")
        with self._explained():
            self._run = opener(self, batch_size)

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The outputs for one batch.

        Raises:
            VerificationError: the file does not take this input.
            OptionError: there is a mask, which files do not take.
        """
        if mask is not None:
            raise OptionError(
                f"{self.path.name} takes no mask, and these inputs are of unequal lengths; use "
                "the network itself."
            )
        with self._explained():
            return self._run(x.detach().cpu().contiguous())

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Runtimes raise kinds of their own, one for each of their status codes."""
        try:
            yield
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[0] if lines else type(error).__name__
            raise VerificationError(
                f"{self.runtime} cannot run {self.path.name}: {reason}"
            ) from error


def runtime_package(name: str) -> ModuleType:
    """The package of a runtime; OpenVINO's reports to its makers are left out.

    Raises:
        MissingExtraError: it is not installed.
    """
    if name == "onnxruntime":
        return import_extra(name, "onnx")
    if name == "executorch":
        with silent():  # it warns about how it reads its own files
            return import_extra("executorch.runtime", "executorch")
    with unreported():
        return import_extra(name, "openvino")


def openvino_core() -> Any:
    """The one Core that runs OpenVINO's files in this process; it stays until the process ends.

    A Core gives the thread that first compiles with it memory to take signals on. Where another
    thread lets go of the Core, that memory is gone, and the next signal kills the process. NNCF
    makes a Core of its own while it quantises, and lets go of it in the same thread.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    with _core_lock:
        return _core()


@functools.cache
def _core() -> Any:
    return runtime_package("openvino").Core()


def has_bf16() -> bool:
    """Whether this processor computes in bf16, so that it is worth trying."""
    found = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in found


@contextlib.contextmanager
def unreported() -> Iterator[None]:
    """Inside, packages of OpenVINO's are imported without what tells their makers about the use."""
    known = sys.modules.get(_REPORTING)
    if known is not None:
        yield
        return
    sys.modules[_REPORTING] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_REPORTING]


def _onnx(artefact: Artefact, batch_size: int | None) -> Callable[[Tensor], Tensor]:
    runtime = runtime_package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = artefact.threads
    options.log_severity_level = 4
    session = runtime.InferenceSession(
        str(artefact.path), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def run(x: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: x.numpy()})[0])

    return run


def _openvino(artefact: Artefact, batch_size: int | None) -> Callable[[Tensor], Tensor]:
    core = openvino_core()
    model = core.read_model(str(artefact.path))
    streams = artefact.streams
    if batch_size is not None and batch_size % streams == 0:
        shape = model.inputs[0].partial_shape
        shape[0] = batch_size // streams
        model.reshape(shape)
    settings = {
        "INFERENCE_NUM_THREADS": artefact.threads,
        "INFERENCE_PRECISION_HINT": _HINTS[artefact.precision],
        "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
        "NUM_STREAMS": streams,
    }
    compiled = core.compile_model(model, "CPU", settings)
    free: deque[list[Any]] = deque()  # requests that nobody uses now: one is never shared

    @contextlib.contextmanager
    def taken() -> Iterator[list[Any]]:
        try:
            requests = free.pop()
        except IndexError:
            requests = [compiled.create_infer_request() for _ in range(streams)]
        try:
            yield requests
        finally:
            free.append(requests)

    def run(x: Tensor) -> Tensor:
        with taken() as (request,):
            return torch.from_numpy(request.infer([x.numpy()], share_inputs=True)[0].copy())

    def run_beside(x: Tensor) -> Tensor:
        parts = [part.numpy() for part in x.tensor_split(streams) if len(part)]
        with taken() as requests:
            used = requests[: len(parts)]
            with contextlib.ExitStack() as waiting:  # for all of them, also where one fails
                for request, part in zip(used, parts, strict=True):
                    request.start_async([part], share_inputs=True)
                    waiting.callback(request.wait)
            found = [request.get_output_tensor(0).data.copy() for request in used]
        return torch.from_numpy(np.concatenate(found))

    return run if streams == 1 else run_beside


def _torch(artefact: Artefact, batch_size: int | None) -> Callable[[Tensor], Tensor]:
    with _without_pickles():
        program: Any = torch.export.load(str(artefact.path)).module()

    def run(x: Tensor) -> Tensor:
        with computing_with(artefact.threads), torch.inference_mode():
            y: Tensor = program(x)
            return y

    return run


def _executorch(artefact: Artefact, batch_size: int | None) -> Callable[[Tensor], Tensor]:
    runtime: Any = runtime_package("executorch")
    program = runtime.Runtime.get().load_program(artefact.path)
    try:
        method = program.load_method("forward")
    except RuntimeError as error:  # it has a number, and no words
        raise VerificationError(
            "it lacks an operation of the network, or is older than the file; choose another format"
        ) from error
    kept = program, method  # a method reads what its program holds
    alone = threading.Lock()  # its inputs and outputs have one place each

    def run(x: Tensor) -> Tensor:
        with alone:
            return torch.cat([kept[1].execute([one])[0].clone() for one in torch.split(x, 1)])

    return run


@contextlib.contextmanager
def _without_pickles() -> Iterator[None]:
    """Inside, torch loads tensors only, also where it would fall back to objects of any kind."""
    before = os.environ.get(_TENSORS_ONLY)
    os.environ[_TENSORS_ONLY] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_TENSORS_ONLY]
        else:
            os.environ[_TENSORS_ONLY] = before


_OPENERS: Final[dict[str, tuple[str, Callable[..., Callable[[Tensor], Tensor]]]]] = {
    ".onnx": ("onnxruntime", _onnx),
    ".xml": ("openvino", _openvino),
    ".pt2": ("torch", _torch),
    ".pte": ("executorch", _executorch),
}
