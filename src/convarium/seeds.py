"""Random streams: every random number is a pure function of named keys.

A key is an integer or a word: `(seed, "order", epoch)`, `(seed, "flip", epoch)`. Two streams with
different keys are independent; one stream is the same on every machine, in every worker, after
every resume. Numbers per sample come from the counter-based generator SplitMix64, so the number of
sample i does not depend on which other samples stand beside it.

References:
    Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators", OOPSLA, figure 14.
"""

from __future__ import annotations

import hashlib
import operator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def derive(*keys: int | str) -> int:
    """A 63-bit seed from the keys; integers and words with the same letters differ.

    >>> derive(0, "order", 1) == derive(0, "order", 1) != derive(0, "order", 2)
    True
    """
    text = "\x1f".join(_text(key) for key in keys)
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(ids: NDArray[np.int64], *keys: int | str) -> NDArray[np.float64]:
    """One number in [0, 1) for each sample id, from the stream that the keys name.

    Args:
        ids: sample ids, any shape.
        keys: the stream's name.

    >>> bool(uniform(np.arange(9), 0, "flip")[4] == uniform(np.array([4]), 0, "flip")[0])
    True
    """
    stream = _mix(np.array([derive(*keys)], dtype=np.uint64))
    bits = _mix((ids.astype(np.uint64) + np.uint64(1)) * _GAMMA + stream)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(n: int, *keys: int | str) -> NDArray[np.int64]:
    """A permutation of 0 .. n-1 from the stream that the keys name (PCG64, Fisher-Yates)."""
    generator = np.random.Generator(np.random.PCG64(derive(*keys)))
    return generator.permutation(n).astype(np.int64, copy=False)


def torch_seed(device: torch.device, *keys: int | str) -> None:
    """Seed torch's default generator of `device` (dropout draws from it).

    About a microsecond on the processor, against about a hundred for `torch.manual_seed`, which
    also visits every other kind of device.
    """
    import torch

    seed = derive(*keys)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def _text(key: int | str) -> str:
    """A key with its kind; numpy's and Python's integers are the same."""
    return f"str:{key}" if isinstance(key, str) else f"int:{operator.index(key)}"


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64, element by element, modulo 2^64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
