"""A network part by part, for one input: what each part gives and how many parameters it has.

    input (C, *S) -> stem -> stage -> [...] -> stage -> final -> neck -> head (K)

Nothing is computed: a twin without memory, on torch's meta device, works out the shapes. Torch is
imported inside the function, so that whoever reads stored parts does without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from convarium.models.contract import Network


@dataclass(frozen=True)
class Part:
    """One part of a network.

    Attributes:
        name: the child module's name; "input" for the input.
        shape: of what it gives for one sample: (C, *S) of a map, (K,) of a vector.
        parameters: those that no earlier part has.
        stage: whether it is one of the network's stages.
    """

    name: str
    shape: tuple[int, ...]
    parameters: int
    stage: bool

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Part:
        """A part as the catalogue file keeps it.

        Example:
            >>> Part.from_row({"name": "head", "shape": [10], "parameters": 50, "stage": False})
            Part(name='head', shape=(10,), parameters=50, stage=False)
        """
        return cls(row["name"], tuple(row["shape"]), row["parameters"], row["stage"])


def measure(network: Network, shape: Sequence[int]) -> list[Part]:
    """The parts of a network for inputs of one shape, from the input to the head.

    A part without parameters is left out where it is no stage and gives what the part before it
    gave, and so is a neck that only pools. The parameters of all parts are those of the network.

    Args:
        network: on any device; nothing of it changes.
        shape: of one sample, `(C, *S)`; of ids `(T,)`.

    Raises:
        ShapeError: rank or channels do not fit, or the input is too small for the network.

    Example:
        >>> from convarium.models import create
        >>> [(part.name, part.shape) for part in measure(create("lenet5"), (1, 32, 32))][:3]
        [('input', (1, 32, 32)), ('stage1', (6, 14, 14)), ('stage2', (16, 5, 5))]
    """
    stages = {stage.name for stage in network.stages}
    parts = [Part("input", tuple(shape), 0, False)]
    seen: set[int] = set()
    for name, after in _shapes(network, parts[0].shape).items():
        own = {id(p): p for p in network.get_submodule(name).parameters() if id(p) not in seen}
        count = sum(p.numel() for p in own.values())
        seen.update(own)
        passes_on = after == parts[-1].shape or name == "neck"
        if name in stages or count or not passes_on:
            parts.append(Part(name, after, count, name in stages))
    return parts


def _shapes(network: Network, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """What each child in the order of the data's flow gives for one sample."""
    import torch

    from convarium.layers import NORMS
    from convarium.models.inputs import check_input, without_numbers

    with torch.device("meta"):
        twin = type(network)(**network.config).eval()
    x = without_numbers(network, shape)
    twin.name = network.name
    for norm in (module for module in twin.modules() if isinstance(module, NORMS)):
        norm.__dict__["forward"] = _same  # norms keep shapes, and are slow to work out
    shapes: dict[str, tuple[int, ...]] = {}
    for name, child in twin.in_order().items():

        def keep(module: object, given: object, y: Tensor, name: str = name) -> None:
            shapes[name] = tuple(y.shape[1:])

        child.register_forward_hook(keep)
    try:
        with torch.no_grad():
            twin(x)
    except RuntimeError:
        check_input(network, shape)  # which says what does not fit
        raise
    return shapes


def _same(x: Tensor, *mask: Tensor | None) -> Tensor:
    return x
