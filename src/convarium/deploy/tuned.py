"""What tuning found, kept beside its files for one network on one machine, and used again.

folder/tuned-<digest>.json     a whole result: network, machine, versions, settings
folder/choice-<digest>.json    the form to run: network, machine, versions
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from convarium.deploy.accuracy import Drop
from convarium.deploy.exporting import members
from convarium.deploy.forms import Form, Forward, InFile, InTorch
from convarium.deploy.manifest import conditions
from convarium.errors import ConvariumError
from convarium.files import sha256
from convarium.graph import unwrapped
from convarium.intervals import Interval
from convarium.measure.kept import Kept, code

END_TO_END: Final = "end_to_end"
LATE: Final = "the time limit was reached before it"


@dataclass(frozen=True)
class TunedForm:
    """One form, verified and measured.

    Attributes:
        form: which one.
        ms: milliseconds of a pass, the median.
        samples_per_second: with this batch size.
        difference: largest difference of an output from the network's, as a share of the largest.
        agreement: share of the samples with the same largest output.
        drop: accuracy against the network's; None where it was not measured.
    """

    form: Form
    ms: float
    samples_per_second: float
    difference: float
    agreement: float
    drop: Drop | None


@dataclass(frozen=True)
class Tuning:
    """What was tried, what counts, and what was chosen.

    Attributes:
        rows: verified forms: those that were timed in turns, then the others, each the fastest
            first; the first one is chosen.
        skipped: label -> why it could not be made, or does not count.
        goal: "latency", "throughput" or "end_to_end".
        batch_size: samples in a pass.
        input_shape: (C, *S) of a sample.
        folder: where the files and the choice are.
        kept: whether it was measured before, and not now.
        conditions: versions and machine.
    """

    rows: tuple[TunedForm, ...]
    skipped: Mapping[str, str]
    goal: str
    batch_size: int
    input_shape: tuple[int, ...]
    folder: Path
    kept: bool
    conditions: Mapping[str, Any]

    @property
    def chosen(self) -> TunedForm:
        """The fastest one."""
        return self.rows[0]

    @property
    def speedup(self) -> float | None:
        """How many times as fast as eager torch in float32; None where that was not measured."""
        eager = [row.ms for row in self.rows if row.form.engine == "eager" and not row.form.reduced]
        return min(eager) / self.chosen.ms if eager else None

    def to_json(self) -> dict[str, Any]:
        """The result as JSON-able values."""
        whole = asdict(self)
        rows = [
            {**row, "label": own.form.label, "drop": own.drop and own.drop.to_json()}
            for row, own in zip(whole["rows"], self.rows, strict=True)
        ]
        return {**whole, "rows": rows, "folder": str(self.folder), "speedup": self.speedup}

    def sentence(self) -> str:
        """The choice in words."""
        best, times = self.chosen, self.speedup
        told = f"{best.form.label}: {best.ms:.3g} ms for {self.batch_size} sample"
        told += "s" if self.batch_size > 1 else ""
        told += " from the bytes of their files" if self.goal == END_TO_END else ""
        if times is not None:
            told += f", {times:.2f} times as fast as eager torch in fp32"
        if best.drop is not None:
            return f"{told}; {best.drop.sentence()}."
        return f"{told}; the largest difference is {best.difference:.2g} of the largest output."


class Choices:
    """The results that a folder keeps for a network on this machine.

    Args:
        network: whose weights count.
        folder: of the files.
        fresh: whether what is there does not count.
    """

    def __init__(self, network: nn.Module, folder: Path, *, fresh: bool = False) -> None:
        self.folder = folder
        self.kept = Kept(folder, fresh=fresh)
        self.own = {
            "weights": _digest(network),
            "code": code("deploy", "graph", "layers", "models"),
            "cores": os.cpu_count(),
            **conditions(),
        }

    def read(self, settings: Mapping[str, Any]) -> Tuning | None:
        """The result of these settings, if its files are what they were; its choice is in use."""
        found = self.kept.get("tuned", self.own | dict(settings))
        if not isinstance(found, dict) or not self._whole(found.get("sha256")):
            return None
        result = _from_json(found["tuning"], self.folder)
        self.choose(result)  # another goal may have changed it since
        return result

    def write(self, settings: Mapping[str, Any], result: Tuning) -> None:
        """Keep a result, and its choice; what a time limit cut short is chosen from, not kept."""
        if LATE not in result.skipped.values():
            kept = {"tuning": result.to_json(), "sha256": self._digests(result)}
            self.kept.put("tuned", self.own | dict(settings), kept)
        self.choose(result)

    def choose(self, result: Tuning) -> None:
        """From now on the form of this result is in use."""
        shape = [result.batch_size, *result.input_shape]
        choice = {"form": asdict(result.chosen.form), "shape": shape}
        self.kept.put("choice", self.own, {**choice, "sha256": self._digests(result)})

    def _digests(self, result: Tuning) -> dict[str, str]:
        name = result.chosen.form.file
        files = [] if name is None else members(self.folder / name)
        return {path.name: sha256(path) for path in files}

    def chosen(self) -> tuple[Form, tuple[int, ...]] | None:
        """The form to run, and the shape of a batch; None if there is none for here and now."""
        found = self.kept.get("choice", self.own)
        if not isinstance(found, dict) or not self._whole(found.get("sha256")):
            return None
        return Form(**found["form"]), tuple(found["shape"])

    def _whole(self, digests: Any) -> bool:
        if not isinstance(digests, dict):
            return False
        places = {self.folder / name: digest for name, digest in digests.items()}
        return all(path.is_file() and sha256(path) == own for path, own in places.items())


def in_use(model: nn.Module, folder: str | Path) -> tuple[Forward, str] | None:
    """The form that `tune` chose for a network, ready for batches of any size, and its label.

    Its attribute `reduced` says whether large JPEGs are to be decoded at a reduced scale. None
    where there is none for this network, machine and versions, its file is not the one that was
    verified, or it does not run.

    Args:
        model: the network; it must live as long as the form is used.
        folder: that `tune` was given.
    """
    network = unwrapped(model)
    found = Choices(network, Path(folder)).chosen() if Path(folder).is_dir() else None
    if found is None:
        return None
    form, shape = found
    label = replace(form, reduced=False).label
    try:
        if form.file is not None:
            return InFile(Path(folder), form, shape[0]), label
        return InTorch(network, form, shape), label
    except ConvariumError:
        return None


def _digest(network: nn.Module) -> str:
    """Of the names and values of all parameters and buffers."""
    digest = hashlib.sha256(type(network).__name__.encode())
    for name, tensor in network.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        values = tensor.detach().cpu().contiguous().view(-1)
        digest.update(values.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _from_json(told: Mapping[str, Any], folder: Path) -> Tuning:
    """The result as it was kept."""
    rows = []
    for row in told["rows"]:
        lost = None if row["drop"] is None else _drop(row["drop"])
        numbers = {k: row[k] for k in ("ms", "samples_per_second", "difference", "agreement")}
        rows.append(TunedForm(Form(**row["form"]), **numbers, drop=lost))
    return Tuning(
        rows=tuple(rows),
        skipped=told["skipped"],
        goal=told["goal"],
        batch_size=told["batch_size"],
        input_shape=tuple(told["input_shape"]),
        folder=folder,
        kept=True,
        conditions=told["conditions"],
    )


def _drop(told: Mapping[str, Any]) -> Drop:
    numbers = {key: told[key] for key in ("n", "before", "after", "points")}
    return Drop(**numbers, interval=Interval(*told["interval"]))
