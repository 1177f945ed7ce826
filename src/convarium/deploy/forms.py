"""The forms in which a network can run here: {torch, ONNX Runtime, OpenVINO} x precision x threads.

Each is made when it is asked for; one that cannot be made says why.
"""

from __future__ import annotations

import copy
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from convarium.data.batch import memory_order
from convarium.deploy.accuracy import Labelled
from convarium.deploy.artefact import Artefact, Precision, has_bf16
from convarium.deploy.computing import computing_with
from convarium.deploy.exporting import FORMATS, export, members
from convarium.deploy.folding import fold
from convarium.deploy.quantising import quantise
from convarium.deploy.verification import set_eval
from convarium.errors import ConvariumError, OptionError

Engine = Literal["eager", "folded", "compiled", "onnx", "openvino"]
Forward = Callable[[Tensor], Tensor]

#: Every engine with the precisions it has, what is quick to make first.
FORMS: Final[Mapping[str, tuple[str, ...]]] = {
    "eager": ("fp32",),
    "folded": ("fp32", "bf16"),
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "bf16", "int8"),
    "compiled": ("fp32", "bf16"),
}

_BY_ITSELF: Final[Mapping[str, Any]] = {"isolate_recompiles": True}  # torch's types lack it


@dataclass(frozen=True)
class Form:
    """One way to run a network.

    Attributes:
        engine: eager torch as it is; folded, with channels last; compiled; ONNX Runtime; OpenVINO.
        precision: "fp32", "bf16" or "int8".
        threads: that it computes with.
        streams: parts of a batch that OpenVINO computes beside each other, on as many threads.
        reduced: whether large JPEGs are decoded at a reduced scale before it.
    """

    engine: str
    precision: str
    threads: int
    streams: int = 1
    reduced: bool = False

    @property
    def label(self) -> str:
        """As it stands in a table."""
        plural = "s" if self.threads > 1 else ""
        streams = f", {self.streams} streams" if self.streams > 1 else ""
        reduced = ", reduced JPEGs" if self.reduced else ""
        return f"{self.engine} {self.precision}, {self.threads} thread{plural}{streams}{reduced}"

    @property
    def exact(self) -> bool:
        """Whether its answers are to equal the network's, and not only its accuracy."""
        return self.precision == "fp32" and not self.reduced

    @property
    def file(self) -> str | None:
        """The name of its file; None where torch runs it."""
        if self.engine not in FORMATS:
            return None
        ending = "-int8" if self.precision == "int8" else ""
        return f"model{ending}{FORMATS[self.engine].suffix}"


@dataclass
class Maker:
    """Makes forms of one network, each file once.

    Args:
        network: in float32.
        folder: where files are written.
        samples: (N, C, *S) real preprocessed inputs.
        calibration: more of them, from training data, for 8-bit numbers; None makes no such forms.
        labelled: batches of inputs and class numbers.
        points: of accuracy that may be lost.
        finetune: passes in which 8-bit forms learn to be rounded, where they do not hold without.
        card: goes into the files.
        until: when, by `time.monotonic`, the search for layers to keep in 8-bit forms ends.
        written: files that stand there already.
    """

    network: nn.Module
    folder: Path
    samples: Tensor
    calibration: Tensor | None
    labelled: Labelled | None
    points: float
    finetune: int
    card: Mapping[str, Any] | None
    until: float
    written: set[str] = field(default_factory=set)

    def make(self, form: Form, batch_size: int | None) -> Forward:
        """A callable from inputs to outputs.

        Args:
            form: which one.
            batch_size: prepares for batches of this size only; None takes any.

        Raises:
            ConvariumError: this machine, or these samples, cannot give it.
        """
        shape = tuple(self.samples.shape)
        if form.file is None:
            return InTorch(self.network, form, (batch_size or shape[0], *shape[1:]))
        self._need_file(form)
        return opened(self.folder, form, batch_size)

    def _need_file(self, form: Form) -> None:
        name = str(form.file)
        if form.precision == "bf16" and not has_bf16():
            raise OptionError("this processor does not compute in bf16")
        if name in self.written:
            return
        if form.precision != "int8":
            network = fold(self.network, tuple(self.samples[:1].shape)).model
            export(
                network,
                self.folder / name,
                samples=self.samples,
                format=form.engine,
                card=self.card,
            )
        else:
            self._need_integers(form, name)
        self.written.add(name)

    def _need_integers(self, form: Form, name: str) -> None:
        if self.calibration is None or self.labelled is None:
            raise OptionError("8-bit numbers need labelled data, to show that accuracy holds")
        found = quantise(
            self.network,
            self.folder / name,
            calibration=self.calibration,
            labelled=self.labelled,
            format=form.engine,
            points=self.points,
            finetune=self.finetune,
            card=self.card,
            seconds=self.until - time.monotonic(),
        )
        if found.precision != "int8":
            for member in members(found.path):
                member.unlink()
            raise OptionError(found.reason)


def opened(folder: Path, form: Form, batch_size: int | None) -> Forward:
    """The file of a form, in its runtime.

    Raises:
        VerificationError: it is not there, or cannot run.
        MissingExtraError: its runtime is not installed.
    """
    precision: Precision = "bf16" if form.precision == "bf16" else "fp32"
    return Artefact(
        folder / str(form.file),
        threads=form.threads,
        precision=precision,
        batch_size=batch_size,
        streams=form.streams,
    )


class InFile:
    """A file as it was timed: prepared for batches of one size, and for others once they come.

    Args:
        folder: of the file.
        form: of onnx or openvino.
        batch_size: that it was timed with.

    Raises:
        VerificationError: the file is not there, or cannot run.
        MissingExtraError: its runtime is not installed.

    Shape:
        (B, C, *S) -> (B, ...)
    """

    def __init__(self, folder: Path, form: Form, batch_size: int) -> None:
        self.path, self.batch_size = folder / str(form.file), batch_size
        self.reduced = form.reduced
        self._folder, self._form = folder, form
        self._timed: Forward = opened(folder, form, batch_size)
        self._any: Forward | None = None
        self._lock = threading.Lock()

    def __call__(self, x: Tensor, *mask: Tensor) -> Tensor:
        """The outputs, in float32."""
        if len(x) == self.batch_size:
            return self._timed(x, *mask)
        with self._lock:  # several threads make it once
            if self._any is None:
                self._any = opened(self._folder, self._form, None)
        return self._any(x, *mask)


class InTorch:
    """A form that torch runs: a callable that leaves the network and the thread count alone.

    Args:
        network: in float32.
        form: of eager, folded or compiled.
        input_shape: (B, C, *S) of what it will be given.

    Raises:
        ConvariumError: it cannot be made here, such as without a compiler.

    Shape:
        (B, C, *S) -> (B, ...)
    """

    def __init__(self, network: nn.Module, form: Form, input_shape: tuple[int, ...]) -> None:
        self.threads, self.batch_size = form.threads, input_shape[0]
        self.reduced = form.reduced
        self.kind = torch.bfloat16 if form.precision == "bf16" else torch.float32
        self.order = torch.contiguous_format
        self.run: Callable[..., Tensor]
        if form.engine == "eager":
            own = copy.deepcopy(network)
            set_eval(own)
            self.run = own
            return
        made = fold(network, (1, *input_shape[1:])).model.requires_grad_(False)
        self.order = memory_order("channels_last", input_shape[1:])
        made = made.to(self.kind).to(memory_format=self.order)  # type: ignore[call-overload]
        self.run = made
        if form.engine == "compiled":
            self._compile(made, torch.zeros(input_shape))

    def __call__(self, x: Tensor, *mask: Tensor) -> Tensor:
        """The outputs, in float32."""
        with computing_with(self.threads), torch.inference_mode():
            given = x.to(self.kind).contiguous(memory_format=self.order)
            return self.run(given, *mask).float()

    def _compile(self, made: nn.Module, x: Tensor) -> None:
        """Compile now, so that what is missing for it is known."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                # by itself: networks share the code of their forward, of which torch compiles 8
                self.run = torch.compile(made, **_BY_ITSELF)
                self(x)
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ConvariumError(f"torch.compile does not work here: {first[:200]}") from error
