"""Random streams, and what else than tensors a forward moves: taken, and put back."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import torch

PutBack = Callable[[], object]


def global_streams() -> list[PutBack]:
    """What puts back the streams of torch, of `random`, and of NumPy where it is in use."""
    found = [_stream(torch.get_rng_state, torch.set_rng_state)]
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        found.append(_stream(torch.cuda.get_rng_state_all, torch.cuda.set_rng_state_all))
    found.append(_stream(random.getstate, random.setstate))
    if numpy := sys.modules.get("numpy.random"):
        found.append(_stream(numpy.get_state, numpy.set_state))
    return found


def held_streams(things: Iterable[Any]) -> list[PutBack]:
    """What puts back the generators and NumPy's arrays among some things, each once."""
    once = {id(thing): thing for thing in things}
    return [put for thing in once.values() if (put := _put_back(thing)) is not None]


def _stream(get: Callable[[], Any], put: Callable[[Any], Any]) -> PutBack:
    state = get()
    return lambda: put(state)


def _put_back(thing: Any) -> PutBack | None:
    """For a generator of torch's, Python's or NumPy's, or an array; None for anything else."""
    if isinstance(thing, torch.Generator):
        return _stream(thing.get_state, thing.set_state)
    if isinstance(thing, random.Random) and not isinstance(thing, random.SystemRandom):
        return _stream(thing.getstate, thing.setstate)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None and isinstance(thing, numpy.ndarray):
        return _array(thing)
    drawn: Any = sys.modules.get("numpy.random")
    if drawn is None:
        return None
    if isinstance(thing, drawn.RandomState):
        return _stream(thing.get_state, thing.set_state)
    if isinstance(thing, drawn.Generator):
        bits = thing.bit_generator
        return _stream(lambda: bits.state, lambda state: setattr(bits, "state", state))
    return None


def _array(array: Any) -> PutBack:
    values = array.copy()

    def put() -> None:
        if array.flags.writeable and array.shape == values.shape:
            array[...] = values

    return put
