"""Batches that are padded to a common size: each sample is explained as it is alone.

x (B, C, *S), mask (B, *S) -> samples of one size together, without their padding -> one result
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, ParamSpec

import torch
from torch import Tensor, nn

from convarium.errors import ConvariumError
from convarium.explain.attribution import Attribution
from convarium.explain.layers import find_layer
from convarium.explain.looking import Look, looking
from convarium.explain.methods import METHODS
from convarium.explain.resizing import Extent, Sizes
from convarium.explain.targets import goal
from convarium.graph import unwrapped

P = ParamSpec("P")
Groups = dict[Sizes, list[int]]  # of the samples of each size

_PATCHES: Final = frozenset({"window", "stride"})
_CAPPED: Final = "The window is no longer than a sample, where that is the shorter one."


def unpadded(method: Callable[P, Attribution]) -> Callable[P, Attribution]:
    """The method, which explains the samples of a padded batch `(x, mask)` without their padding.

    Of texts for a network of this library the ids say it, without a mask: 0 is padding. It runs
    once for each size among the samples. A callable target scores whole batches, so that its batch
    stays as it is; so does one whose mask hides more than what stands behind a sample, and one
    whose samples have other scores without what the mask hides: then it is no padding.
    """
    layered = METHODS[getattr(method, "__name__", "")].layered

    @functools.wraps(method)
    def explained(*args: P.args, **kwargs: P.kwargs) -> Attribution:
        given: dict[str, Any] = {**dict(zip(("model", "x"), args, strict=False)), **kwargs}
        x = given.get("x")
        words = None if given.get("forward") else real_tokens(given.get("model"), x)
        sizes = own_sizes(x if words is None else (x, words))
        if sizes is None or not _fits(given.get("target"), len(sizes)):
            return method(*args, **kwargs)
        groups: Groups = {}
        for row, size in enumerate(sizes):
            groups.setdefault(size, []).append(row)
        if words is None and not _is_padding(groups, given):
            return method(*args, **kwargs)
        note = _settle_layer(given) if layered and given.get("layer") is None else ""
        call: Any = method
        return _together(call, groups, note, **given)

    return explained


def real_tokens(model: Any, x: Any) -> Tensor | None:
    """Which ids (B, T) are words, where the network says by itself that 0 is padding."""
    if not isinstance(model, nn.Module) or not isinstance(x, Tensor):
        return None
    tokens = getattr(unwrapped(model), "input_kind", "") == "tokens"
    return x != 0 if tokens and x.ndim == 2 else None


def own_sizes(x: Any) -> list[Sizes] | None:
    """The size of each sample of a batch `(x, mask)`; None where nothing but padding can be cut."""
    if not isinstance(x, tuple) or len(x) != 2 or not all(isinstance(part, Tensor) for part in x):
        return None
    first, mask = x
    tokens = not first.is_floating_point() and first.ndim == 2
    shape = first.shape if tokens else (*first.shape[:1], *first.shape[2:])
    if mask.dtype != torch.bool or mask.shape != shape or mask.ndim < 2 or bool(mask.all()):
        return None
    sizes = []
    for row in mask.cpu():
        axes = range(row.ndim)
        along = (row.movedim(axis, 0).flatten(1).any(1) if row.ndim > 1 else row for axis in axes)
        size = tuple(int(line.sum()) for line in along)
        if 0 in size or not row[tuple(map(slice, size))].all():  # holes, or padding in front
            return None
        sizes.append(size)
    return sizes


def _is_padding(groups: Groups, given: Mapping[str, Any]) -> bool:
    """Whether samples without what the mask hides have the scores that they have in the batch.

    So it is in this library's networks of sequences; others are asked, since their mask may mark
    what is to be looked at, or they may read one size only.
    """
    model, forward = given.get("model"), given.get("forward")
    x: tuple[Tensor, ...] = given["x"]
    try:
        with looking(model, x, forward) as look, torch.no_grad():  # type: ignore[arg-type]
            if forward is None and hasattr(look.network, "shortest_read"):
                return True
            output = look.run(*look.inputs)
            what = goal(output, given.get("target"), look.samples)
            return _keep_scores(look, groups, what.classes or (), what(output))
    except (ConvariumError, RuntimeError, ValueError, LookupError, TypeError, AssertionError):
        return False  # the method says so of the whole batch, or can take it as it is


def _keep_scores(look: Look, groups: Groups, classes: Sequence[int], scores: Tensor) -> bool:
    """Whether samples that are cut to their sizes have these scores of these classes."""
    for size, rows in groups.items():
        cut: Any = (..., *map(slice, size))
        output = look.run(*(part[rows][cut] for part in look.inputs))
        alone = goal(output, [classes[row] for row in rows], len(rows))(output)
        if not torch.allclose(alone, scores[rows], rtol=1e-3, atol=1e-5):
            return False
    return True


def _settle_layer(given: dict[str, Any]) -> str:
    """Choose the layer once for all sizes; what is to be said of the choice."""
    with looking(given["model"], given["x"], given.get("forward")) as look:
        found = find_layer(look, None)
    given["layer"] = found.name
    return found.note


def _fits(target: Any, samples: int) -> bool:
    """Whether a target can be dealt out to samples."""
    return not callable(target) and len(_listed(target, samples)) == samples


def _listed(target: Any, samples: int) -> Sequence[Any]:
    given = target.tolist() if hasattr(target, "tolist") else target
    return given if isinstance(given, Sequence) else [given] * samples


def _together(
    call: Callable[..., Attribution],
    groups: Groups,
    note: str,
    *,
    model: Any,
    x: tuple[Tensor, Tensor] | Tensor,
    target: Any = None,
    **more: Any,
) -> Attribution:
    """One result of all samples, in their order; texts without a mask stay without it."""
    first, *masks = x if isinstance(x, tuple) else (x,)
    whole = tuple(first.shape[-len(next(iter(groups))) :])
    targets, blank = _listed(target, len(first)), _expanded(more.get("baseline"), first)
    parts, notes = [], {note}
    for size, rows in groups.items():
        cut: Any = (..., *map(slice, size))
        inputs: Any = first[rows][cut]
        if masks:
            inputs = (inputs, *(mask[rows][cut] for mask in masks))
        wanted = None if target is None else [targets[row] for row in rows]
        options = dict(more)
        if blank is not None:
            options["baseline"] = blank[rows][cut]
        for name in _PATCHES & more.keys():
            options[name] = _capped(more[name], size, whole)
            if options[name] != more[name]:
                notes.add(_CAPPED)
        parts.append(call(model, inputs, target=wanted, **options))
    order = [row for rows in groups.values() for row in rows]
    joined = _joined(parts, order, whole)
    return replace(joined, note=" ".join(filter(None, (joined.note, *sorted(notes)))))


def _capped(given: Any, size: Sizes, whole: Sequence[int]) -> Any:
    """Sides that fit the batch, no longer than a sample's; others stay, to be refused."""
    sides = tuple(given) if isinstance(given, tuple | list) else (given,) * len(size)
    fits = len(sides) == len(size) and all(isinstance(side, int) for side in sides)
    if not fits or not all(0 < a <= b for a, b in zip(sides, whole, strict=True)):
        return given
    return (
        given
        if all(a <= b for a, b in zip(sides, size, strict=True))
        else tuple(map(min, sides, size))
    )


def _expanded(baseline: Any, x: Tensor) -> Tensor | None:
    """A baseline as an input, to be cut as that is; None for numbers and for what does not fit."""
    try:
        return baseline.expand_as(x) if isinstance(baseline, Tensor) else None
    except RuntimeError:  # the method says so
        return None


def _joined(parts: Sequence[Attribution], order: Sequence[int], size: Sizes) -> Attribution:
    """Results of some samples each as that of the batch, with zeros behind each sample."""
    back = torch.tensor(order).argsort()
    places = back.tolist()

    def one_by_one(each: Callable[[Attribution], Sequence[Any]]) -> tuple[Any, ...]:
        listed = [item for part in parts for item in each(part)]
        return tuple(listed[place] for place in places)

    channels = [part.channels for part in parts if part.channels is not None]
    return replace(
        parts[0],
        values=_filled([part.values for part in parts])[back],
        target=one_by_one(lambda part: part.target or ()),
        logit=torch.cat([part.logit for part in parts])[back],
        status=one_by_one(lambda part: part.status),
        input_size=size,
        note=" ".join(dict.fromkeys(part.note for part in parts if part.note)),
        channels=_filled(channels)[back] if channels else None,
        extents=one_by_one(_extents),
    )


def _extents(part: Attribution) -> tuple[Extent, ...]:
    """Where each sample of a result stands that was explained without padding."""
    cells = tuple(part.values.shape[1:])
    alone = (Extent(cells, part.input_size, part.input_size),) * len(part.values)
    return part.extents or alone


def _filled(maps: Sequence[Tensor]) -> Tensor:
    """Maps of several sizes as one tensor, zeros behind the smaller ones."""
    largest = [max(sides) for sides in zip(*(each.shape[1:] for each in maps), strict=True)]
    result = maps[0].new_zeros(sum(map(len, maps)), *largest)
    start = 0
    for each in maps:
        stop = start + len(each)
        result[(slice(start, stop), *map(slice, each.shape[1:]))] = each
        start = stop
    return result
