"""The families compared, a row each, from measurements on this machine.

one network of each family -> cost, field, depth, latency -> what a parameter and a MAC are worth
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from convarium.errors import OptionError, ShapeError
from convarium.graph import Operation, trace
from convarium.measure import arguments
from convarium.measure.arguments import shown, whole
from convarium.measure.candidates import MOST_CLASSES, Form, forms
from convarium.measure.field import receptive_field
from convarium.measure.kept import Kept
from convarium.measure.running import checked_threads
from convarium.measure.stopwatch import times
from convarium.models import list_models, registry
from convarium.progress import Progress

# One network that stands for its family; a family that is not named is stood for by its first row.
_STAND_FOR: Final[Mapping[str, str]] = {
    "alexnet": "alexnet",
    "convnext": "convnext_tiny",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "mnasnet": "mnasnet1_0",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3": "mobilenet_v3_large",
    "resnet": "resnet50",
    "squeezenet": "squeezenet1_1",
    "vgg": "vgg16",
}
_SMALL: Final[Mapping[str, str]] = {"densenet": "densenet_bc_100_12", "resnet": "resnet56_cifar"}
_PRODUCTS: Final = frozenset({"convolution", "_convolution", "addmm", "mm"})


@dataclass(frozen=True)
class FamilyRow:
    """What one network of a family costs and gives.

    Attributes:
        family: the file of its class.
        name: what `create` knows it by.
        options: keywords for `create` besides channels, axes and classes.
        parameters: trainable numbers.
        macs: multiply-adds of one sample.
        depth: layers with weights on the longest way from input to output.
        fields: inputs that a position sees along the first axis, after each stage.
        memory_mb: megabytes in a forward pass, for each sample of the batch.
        latency_ms: milliseconds of a pass of the whole batch; None where it was not measured.
        ms_per_gmac: milliseconds for a thousand million multiply-adds.
        accuracy: published top-1 in %, or None.
        accuracy_data: what it was measured on.
        accuracy_size: sides of the pictures in pixels.
        accuracy_source: who measured it.
        accuracy_per_million: that accuracy by millions of parameters.
    """

    family: str
    name: str
    options: Mapping[str, Any]
    parameters: int
    macs: int
    depth: int
    fields: tuple[int, ...]
    memory_mb: float
    latency_ms: float | None
    ms_per_gmac: float | None
    accuracy: float | None
    accuracy_data: str
    accuracy_size: int | None
    accuracy_source: str
    accuracy_per_million: float | None

    def to_json(self) -> dict[str, Any]:
        """The row as JSON-able values."""
        return asdict(self)


def compare_families(
    input_shape: Sequence[int] = (1, 3, 224, 224),
    *,
    names: Sequence[str] | None = None,
    num_classes: int | None = None,
    threads: int | None = None,
    cache: bool | str | Path = True,
    fresh: bool = False,
    progress: Progress | None = None,
) -> tuple[FamilyRow, ...]:
    """One row for each family whose network takes this input, in the order of the catalogue.

    Inputs under 64 positions are for the forms with a stem for small images, as `choose` has it.

    Args:
        input_shape: (B, C, *S), batch included.
        names: networks that stand for their families; None takes a well-known one of each.
        num_classes: outputs; None keeps each network's own.
        threads: that torch computes with; None leaves its own number.
        cache: where facts and measurements are kept, as for `choose`.
        fresh: measure anew what was kept.
        progress: counts the networks, once where they are built and once where they are measured.

    Raises:
        ShapeError: no network takes inputs of this shape.
        OptionError: an option's value is not allowed.
        UnknownModelError: no network has one of the names.

    Example:
        >>> rows = compare_families((1, 3, 32, 32), names=["resnet20_cifar"], cache=False)
        >>> rows[0].depth, rows[0].fields, rows[0].accuracy
        (20, (15, 37, 81), 91.25)
    """
    shape = arguments.shape(input_shape, 3, 5)
    threads = checked_threads(threads)
    num_classes = None if num_classes is None else whole(0, MOST_CLASSES, num_classes=num_classes)
    kept = Kept(cache, fresh=fresh)
    chosen: list[Form] = []
    for name in _representatives(shape) if names is None else _names(names):
        registry.find(name)
        found = forms(shape, num_classes=num_classes, pattern=name, kept=kept, progress=progress)
        chosen += found.fitting[:1]
    if not chosen:
        raise ShapeError(f"No network takes inputs of shape {shape}; give larger ones.")
    timed = times(chosen, threads=threads, progress=progress)
    rows = []
    for form in chosen:
        time = timed.get(form.label)
        rows.append(_row(form, time.median_ms if time else None))
    return tuple(rows)


def _names(names: Sequence[str]) -> Sequence[str]:
    if isinstance(names, list | tuple) and names and all(isinstance(n, str) for n in names):
        return names
    raise OptionError(
        f"names (={shown(names)}) must be a list of networks' names, such as ['resnet50'], or None."
    )


def depth(model: nn.Module, input_shape: Sequence[int]) -> int:
    """Convolutions and dense layers on the longest way from the input to the output.

    Args:
        model: any module.
        input_shape: the whole shape, batch included.

    Raises:
        ShapeError: the model does not take this shape.
        OptionError: what it does depends on the values of its input.

    Example:
        >>> from convarium.models import create
        >>> depth(create("resnet18"), (1, 3, 64, 64))
        18
    """
    graph = trace(model, tuple(input_shape))
    depths = {value.number: 0 for value in graph.inputs}
    for operation in graph.operations:
        before = max((depths.get(value.number, 0) for value in operation.values), default=0)
        for value in operation.results:
            if value is not None:
                depths[value.number] = before + _weighted(operation)
    return max((depths[value.number] for value in graph.outputs), default=0)


def _weighted(operation: Operation) -> bool:
    """Whether an operation multiplies with a tensor that does not depend on the input."""
    arguments = operation.arguments.values()
    constant = any(isinstance(x, torch.Tensor) and x.ndim >= 2 for x in arguments)
    return operation.name in _PRODUCTS and constant


def _representatives(shape: Sequence[int]) -> list[str]:
    """A network of each family, in the order of the catalogue."""
    small = min(shape[2:], default=0) < 64
    stand_for = {**_STAND_FOR, **_SMALL} if small else _STAND_FOR
    first: dict[str, str] = {}
    for name in list_models():
        family = registry.find(name).family
        first.setdefault(family, stand_for.get(family, name))
    return list(first.values())


def _row(form: Form, ms: float | None) -> FamilyRow:
    found = form.accuracy
    return FamilyRow(
        family=form.family,
        name=form.name,
        options=dict(form.options),
        parameters=form.parameters,
        macs=form.macs,
        depth=depth(form.network, form.input_shape),
        fields=_fields(form),
        memory_mb=form.memory / 1e6 / form.input_shape[0],
        latency_ms=ms,
        ms_per_gmac=None if ms is None else ms / (form.macs * form.input_shape[0] / 1e9),
        accuracy=found.percent if found else None,
        accuracy_data=found.data if found else "",
        accuracy_size=found.size if found else None,
        accuracy_source=found.source if found else "",
        accuracy_per_million=found.percent / (form.parameters / 1e6) if found else None,
    )


def _fields(form: Form) -> tuple[int, ...]:
    """The field after each stage, along the first axis; 0 where it cannot be followed."""
    rows = receptive_field(form.network, form.input_shape).rows
    fields = []
    for stage in form.network.stages:
        inside = [row for row in rows if row.layer.startswith((f"{stage.name}.", f"{stage.name}:"))]
        fields.append(inside[-1].size[0] if inside and inside[-1].size else 0)
    return tuple(fields)
