"""What `choose` chooses from: forms of the catalogue's networks that fit an input, and their facts.

rows x (own form | small stem | fewer channels) -> built without memory -> parameters, MACs, field
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

import torch

from convarium.errors import ConvariumError, OptionError, UnknownModelError, did_you_mean
from convarium.measure.accuracies import SMALL, Accuracy, accuracy, counts, pretrained
from convarium.measure.arguments import shown
from convarium.measure.costs import cost
from convarium.measure.field import receptive_field
from convarium.measure.guide import TARGETS, WIDTHS
from convarium.measure.kept import Kept, code
from convarium.models import Network, list_models, registry
from convarium.models.options import choices, complete
from convarium.models.variants import Variant
from convarium.progress import Progress

MOST_CLASSES: Final = 2**31 - 1


@dataclass(frozen=True)
class Form:
    """A network of the catalogue as it would be built for an input.

    Attributes:
        name: what `create` knows it by.
        family: the file of its class.
        options: keywords that differ from the row's own, besides channels, axes and classes.
        input_shape: (B, C, *S).
        num_classes: outputs; None keeps the row's own.
        kept: facts that were worked out before.
    """

    name: str
    family: str
    options: Mapping[str, Any]
    input_shape: tuple[int, ...]
    num_classes: int | None = None
    kept: Kept = field(default_factory=lambda: Kept(False), compare=False, repr=False)

    @property
    def label(self) -> str:
        """Name and options in a few words: mobilenet_v2 width_multiplier=0.5."""
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])

    @property
    def keywords(self) -> dict[str, Any]:
        """What `create` is told besides the name."""
        shape = self.input_shape
        common = {"in_channels": shape[1], "spatial_dims": len(shape) - 2}
        if self.num_classes is not None:
            common["num_classes"] = self.num_classes
        return {**self.options, **common}

    def build(self) -> Network:
        """The network, with fresh weights, on torch's current device."""
        return registry.build(self.name, self.keywords)

    @cached_property
    def network(self) -> Network:
        """The network without memory, on torch's meta device."""
        with torch.device("meta"):
            return self.build().eval()

    @property
    def parameters(self) -> int:
        """Trainable numbers, each tensor once."""
        return self._costs[0]

    @property
    def macs(self) -> int:
        """Multiply-adds of one sample; 0 where the network does not take the input."""
        return self._costs[1]

    @property
    def memory(self) -> int:
        """The most bytes at once in a forward pass of the whole batch."""
        return self._costs[2]

    @property
    def reduction(self) -> int:
        """Positions of the input per position of the last map, along each axis."""
        return self._costs[3]

    @property
    def causal(self) -> bool:
        """Whether no output sees later inputs; a class says so by an attribute `causal`."""
        return bool(getattr(registry.find(self.name).cls, "causal", False))

    @cached_property
    def _costs(self) -> list[int]:
        def work_out() -> list[int]:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    reduction = self.network.stages[-1].reduction
                    found = cost(self.network, self.input_shape)
            except (ConvariumError, RuntimeError):
                return [0, 0, 0, 0]
            macs = found.macs // self.input_shape[0]
            return [found.parameters, macs, found.forward_bytes, reduction]

        return self._fact("cost", work_out, 4)

    @cached_property
    def field(self) -> tuple[int, ...]:
        """Inputs along each axis that a position of the last map sees, without gates."""

        def work_out() -> list[int]:
            return list(receptive_field(self.network, self.input_shape).size)

        return tuple(self._fact("field", work_out, len(self.input_shape) - 2))

    @cached_property
    def accuracy(self) -> Accuracy | None:
        """The number published nearest to this input's size."""
        return accuracy(self.name, self.options, self.input_shape)

    @property
    def counted(self) -> float | None:
        """The published number in %, where it says something about inputs of this size."""
        found = self.accuracy
        return found.percent if found and counts(found, self.input_shape) else None

    @property
    def covers(self) -> bool:
        """Whether a position of the last map sees the whole input, along each axis."""
        axes = self.input_shape[2:]
        return bool(self.field) and all(a >= b for a, b in zip(self.field, axes, strict=True))

    @property
    def pretrained(self) -> bool:
        """Whether there are published weights to start from."""
        return pretrained(self.name, self.options, self.input_shape)

    def key(self, *rooms: str) -> dict[str, Any]:
        """What tells the network and its input from others, and the code of some rooms."""
        row = registry.find(self.name)
        return {
            "class": f"{row.cls.__module__}.{row.cls.__qualname__}",
            "config": complete(row.cls, {**row.keywords, **self.keywords}),
            "input_shape": list(self.input_shape),
            "dtype": str(torch.get_default_dtype()),
            "torch": torch.__version__,
            "code": code(*rooms),
        }

    def _fact(self, kind: str, work_out: Callable[[], list[int]], length: int) -> list[int]:
        """A short list of numbers, from what was kept or worked out now."""
        key = self.key("layers", "models", "graph", "measure")
        found = self.kept.get(kind, key)
        if isinstance(found, list) and len(found) == length and all(type(n) is int for n in found):
            return found
        numbers = work_out()
        self.kept.put(kind, key, numbers)
        return numbers


@dataclass
class Forms:
    """The forms that fit an input, and the names of the networks that do not."""

    fitting: list[Form] = field(default_factory=list)
    unfit: list[str] = field(default_factory=list)


def forms(
    input_shape: tuple[int, ...],
    target: str = "server",
    pattern: str = "*",
    *,
    num_classes: int | None = None,
    kept: Kept | None = None,
    progress: Progress | None = None,
) -> Forms:
    """All forms of the networks that match a pattern.

    Inputs under 64 positions are for networks made for small ones, and for the others with
    stem="cifar"; larger ones are for the rows as they are, signals for both. A network whose last
    map would have one position along an axis does not fit. Plain nets, which are there for residual
    ones to be compared with, are left out.

    Args:
        input_shape: (B, C, *S).
        target: "mobile" and "edge" ask for forms with fewer channels too.
        pattern: of names, as in a shell.
        num_classes: outputs; None keeps each row's own.
        kept: facts that were worked out before; None works all out.
        progress: counts the names.

    Raises:
        OptionError: the pattern is no text.
        UnknownModelError: no name matches.
    """
    if not isinstance(pattern, str):
        raise OptionError(f"pattern (={shown(pattern)}) must be a text, such as 'resnet*'.")
    names = [name for name in list_models() if fnmatchcase(name, pattern)]
    if not names:
        near = did_you_mean(pattern, list_models())
        raise UnknownModelError(f"No network matches {pattern!r}.{near} See: convarium list")
    found, kept = Forms(), kept or Kept(False)
    if progress is not None:
        progress.total += len(names)
    for name in names:
        row = registry.find(name)
        made = [
            Form(name, row.family, options, input_shape, num_classes, kept)
            for options in _options(row, input_shape, target)
        ]
        fitting = [form for form in made if _fits(form)]
        found.fitting += fitting
        if not fitting:
            found.unfit.append(name)
        if progress is not None:
            progress.advance(note=name)
    return found


def _options(row: Variant, input_shape: Sequence[int], target: str) -> Iterator[dict[str, Any]]:
    """The keywords of each form of a row; none where the row is for inputs of another size."""
    if row.cls.input_kind != "maps" or not _has_rank(row, len(input_shape) - 2):
        return
    config = complete(row.cls, row.keywords)
    small = min(input_shape[2:]) < SMALL
    signal = len(input_shape) == 3
    if config.get("shortcut") == "none":
        return
    if small and config.get("stem") == "imagenet":
        yield from _widths(row.name, target, {"stem": "cifar"})
    elif "image_size" in config:
        if small:
            own = input_shape[2:] == row.cls(**row.keywords).input_size
            yield {} if own else {"image_size": list(input_shape[2:])}
    elif small or signal or config.get("stem") != "cifar":
        yield from _widths(row.name, target, {})


def _has_rank(row: Variant, rank: int) -> bool:
    """Whether the class is for maps of so many axes."""
    return rank in choices(row.cls).get("spatial_dims", [rank])


def _widths(name: str, target: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield options
    if TARGETS[target].narrow:
        for width in WIDTHS.get(name, ()):
            yield options | {"width_multiplier": width}


def _fits(form: Form) -> bool:
    """Whether the network can be built, takes the input and keeps two positions along each axis."""
    side = min(form.input_shape[2:])
    return form.macs > 0 and (side == 1 or side // form.reduction >= 2)
