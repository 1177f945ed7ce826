r"""How others name the weights of a network: a short table of rules per library and family.

    "features.3.norm.weight"  --rules-->  "stage2.norm.weight"

A rule is a regular expression and what stands for it. Three groups are special: the numbers that
`(?P<stage>\d+)`, `(?P<block>\d+)` and `(?P<layer>\d+)` find count stages, blocks through all
stages, and layers through all stages; `{stage}`, `{block}` and `{layer}` in the replacement become
the path of that child in our network. One past the last is `final`, so the rules hold for every
size of a family.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from convarium.models.contract import Network

Rule = tuple[str, str]


@dataclass(frozen=True)
class Layout:
    """The names of one library for one family.

    Attributes:
        rules: applied in order, each to what the one before it left.
        first: number of the first stage, block or layer in their names.
    """

    rules: Sequence[Rule]
    first: int = 0


OWN: Final = Layout(())


def ours(key: str, layout: Layout, places: Mapping[str, Sequence[str]]) -> str:
    r"""Our name for their key, whether or not the network has it.

    Args:
        key: a name in their state dict.
        layout: their rules.
        places: what `paths` gives.

    Example:
        >>> rules = Layout([(r"^layers\.(?P<block>\d+)\.bn", r"{block}.norm")], first=1)
        >>> ours("layers.2.bn.weight", rules, {"block": ["a.0", "b.0", "final"]})
        'b.0.norm.weight'
    """
    for pattern, replacement in layout.rules:
        found = re.search(pattern, key)
        if found is None:
            continue
        template = replacement
        for name in places.keys() & found.groupdict().keys():
            place = int(found[name]) - layout.first
            if not 0 <= place < len(places[name]):
                return key
            template = template.replace("{" + name + "}", places[name][place])
        key = key[: found.start()] + found.expand(template) + key[found.end() :]
    return key


def paths(network: Network) -> dict[str, list[str]]:
    """The paths of a network's stages, blocks and layers; each list ends with `final`."""
    stages = {stage.name: network.get_submodule(stage.name) for stage in network.stages}
    blocks = {
        f"{name}.{child}": block
        for name, stage in stages.items()
        for child, block in stage.named_children()
    }
    layers = [
        f"{name}.{child}"
        for name, block in blocks.items()
        for child, layer in block.named_modules()
        if not any(layer.children())
    ]
    return {
        "stage": [*stages, "final"],
        "block": [*blocks, "final"],
        "layer": [*layers, "final"],
    }
