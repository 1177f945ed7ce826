"""Positions picked by fixed numbers, along one dimension or along several together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from convarium.graph import Operation
from convarium.measure.rules.moves import States, result_of, traced
from convarium.measure.rules.reach import Positions, Reach, listed
from convarium.measure.rules.states import State
from convarium.measure.rules.views import reshaped

_WHOLE_NUMBERS: Final = (torch.int64, torch.int32)


def pick(operation: Operation, states: States) -> list[State] | None:
    """What is picked, position by position; nobody knows where the numbers are not fixed.

    Dimensions that are picked from together are seen as one, first of all where they do not lie
    side by side, as torch has it.
    """
    value, given = traced(operation, states), operation.arguments
    if value is not given["self"]:
        return None
    rank = len(value.shape)
    picked = {d: x for d, x in enumerate(given.get("indices", ())) if x is not None}
    if operation.name == "index_select":
        picked = {given["dim"] % max(rank, 1): given["index"]}
    if not picked or not all(map(_fixed, picked.values())):
        return None
    order, first = [*range(rank)], min(picked)
    if [*picked] != [*range(first, first + len(picked))]:
        order, first = [*picked, *(d for d in order if d not in picked)], 0
    state = states[value.number]
    for dim in picked:
        state = state.selected(dim)
    shape = [value.shape[d] for d in order]
    stop = first + len(picked)
    merged = [*shape[:first], math.prod(shape[first:stop]), *shape[stop:]]
    if len(picked) > 1:
        state = reshaped(state.moved(order.index), shape, merged)
    sources = _sources(picked, value.shape)

    def change(reach: Reach) -> Reach:
        return reach if reach.dim != first else listed(first, *reach.at(sources), reach.whole)

    merged[first] = len(sources)
    result = result_of(operation).shape
    state = state.each(change)
    return [state if tuple(merged) == result else reshaped(state, merged, result)]


def _fixed(index: Any) -> bool:
    """Whether an index is known in advance."""
    return isinstance(index, Tensor) and not index.is_meta and index.dtype in _WHOLE_NUMBERS


def _sources(picked: Mapping[int, Tensor], shape: tuple[int, ...]) -> Positions:
    """The positions along the dimensions seen as one."""
    at: Positions = np.zeros(1, np.int64)
    for dim, index in picked.items():
        at = at * shape[dim] + index.cpu().numpy().astype(np.int64) % shape[dim]
    return at.reshape(-1)
