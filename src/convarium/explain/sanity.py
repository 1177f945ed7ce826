"""The sanity check: does a heatmap change when the network forgets what it has learned?

maps of the network -> its top layer randomised -> maps -> the next layers too -> maps ... -> alike?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convarium.errors import OptionError, ShapeError
from convarium.explain.attribution import Attribution
from convarium.explain.cam import grad_cam
from convarium.explain.controls import (
    SampleMean,
    first_input,
    is_tokens,
    own_parts,
    random_ranks,
    sample_keys,
    sample_mean,
    sobel,
)
from convarium.explain.looking import Forward, Inputs, looking
from convarium.explain.randomising import layers_from_the_top, measure_norms, randomise
from convarium.explain.similarity import spearman, structural_similarity
from convarium.explain.targets import Target, goal
from convarium.measure.arguments import real, whole

Verdict = Literal["passes", "fails", "undecided"]
Method = Callable[..., Attribution | Tensor]
Maps = list[Tensor]  # of all samples together, or of each by itself


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """How much of the maps stays as layer after layer is randomised, from the top down.

    Attributes:
        method: name of the method.
        stages: the lowest layer randomised so far, one per stage.
        signed: (stages, B) Spearman's correlation with the original map.
        absolute: (stages, B) the same of absolute values.
        structure: (stages, B) SSIM with the original, both as displayed.
        edges: (1 + stages, B) correlation of the absolute map with an edge detector, first of the
            original; None for tokens, and for maps of other axes than the input's.
        random: (B,) correlation of the original map with itself in a random order: what chance
            gives.
        limit: what counts as alike.
        verdict: "passes", "fails" or "undecided".
        reason: one sentence.
    """

    method: str
    stages: tuple[str, ...]
    signed: Tensor
    absolute: Tensor
    structure: Tensor
    edges: Tensor | None
    random: Tensor
    limit: float
    verdict: Verdict
    reason: str

    def means(self, *, seed: int = 0) -> tuple[SampleMean, ...]:
        """The larger of signed and absolute correlation at each stage, as means with intervals."""
        return tuple(_kept(*pair, seed) for pair in zip(self.signed, self.absolute, strict=True))


def sanity_check(
    model: nn.Module,
    x: Inputs,
    method: Method = grad_cam,
    *,
    target: Target = None,
    layer: str | nn.Module | None = None,
    forward: Forward | None = None,
    stages: int = 8,
    limit: float = 0.5,
    seed: int = 0,
) -> SanityCheck:
    """Cascading randomisation: a map that survives it does not show what the network has learned.

    The values of each parameter are permuted among themselves: the distribution and the scale of
    the layer stay, what it has learned goes, whatever kind of layer it is. Batch norms behind a
    randomised layer take their statistics from `x` anew. This happens inside the model, which is
    afterwards as before; do not use it elsewhere meanwhile.

    It fails where, with every layer randomised, the maps are as like the original ones as `limit`
    (the larger mean of signed and absolute rank correlation), or are as near to an edge detector,
    as the original ones are too. It passes where the whole interval of that mean is below the
    limit. Otherwise, and where the original maps are constant, it is undecided.

    Args:
        model, x, target, layer, forward: as the method takes them; the class explained stays.
        method: any function of this room, or `method(model, x, target=...)` that gives maps
            (B, *S); what else it needs comes by `functools.partial`. `layer` and `forward` are
            handed on only where they are given.
        stages: into how many steps the layers are gathered; the top layer is the first.
        limit: above 0, at most 1.
        seed: of the permutations.

    Raises:
        OptionError: stages or limit out of range, or no layer with parameters that runs.
        ShapeError: the method gives no maps (B, *S).

    >>> network = nn.Sequential(
    ...     nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ... )
    >>> check = sanity_check(network, torch.randn(6, 1, 8, 8), layer="1", target=1)
    >>> check.stages, check.signed.shape
    (('4', '0'), torch.Size([2, 6]))

    References:
        Adebayo et al. (2018), "Sanity checks for saliency maps", arXiv:1810.03292, figure 2:
        model parameter randomisation test, cascading.
    """
    _check_options(method, stages, limit)
    shown = first_input(x)
    options: dict[str, Any] = {} if layer is None else {"layer": layer}
    options |= {} if forward is None else {"forward": forward}
    first = method(model, x, target=target, **options)
    settled = _settled(model, x, first, target, forward)
    original, found = _maps(first, shown), list[Maps]()
    with looking(model, x, forward) as look:

        def run() -> None:
            look.run(*look.inputs)

        groups = layers_from_the_top(look.network, run, stages)
        so_far: list[str] = []
        for names in groups:
            so_far += names
            randomise(look.network, names, seed)
            measure_norms(look.network, so_far, run)
            found.append(_maps(method(model, x, target=settled, **options), shown))
    edges = _edge_correlations([original, *found], shown, first)
    alike = [_alike(original, maps) for maps in found]
    signed, absolute, structure = (torch.stack(each) for each in zip(*alike, strict=True))
    verdict, reason = _judged(original, signed[-1], absolute[-1], edges, limit)
    return SanityCheck(
        method=_name(method, first),
        stages=tuple(names[-1] for names in groups),
        signed=signed,
        absolute=absolute,
        structure=structure,
        edges=edges,
        random=_shuffled(original, shown, seed),
        limit=limit,
        verdict=verdict,
        reason=reason,
    )


def _check_options(method: Any, stages: int, limit: float) -> None:
    whole(1, stages=stages)
    if not 0 < real(limit) <= 1:
        raise OptionError(f"limit (={limit!r}) must be above 0 and at most 1.")
    if not callable(method):
        raise OptionError(
            f"method (={method!r}) must be a function that makes maps, such as explain.grad_cam."
        )


def _maps(heat: Any, x: Tensor) -> Maps:
    """Finite maps (B, *S), or where they are padded each by itself without that, (1, *S)."""
    maps = heat.values if isinstance(heat, Attribution) else heat
    if not isinstance(maps, Tensor) or maps.ndim < 2 or len(maps) != len(x):
        kind = tuple(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise ShapeError(f"method gives {kind}; it must give an Attribution, or maps (B, *S).")
    maps = maps.detach().float().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return own_parts(maps, heat)


def _settled(
    model: nn.Module,
    x: Inputs,
    heat: Attribution | Tensor,
    target: Target,
    forward: Forward | None,
) -> Target:
    """The classes that the original maps explain, which every stage explains too."""
    if target is not None:
        return target
    if isinstance(heat, Attribution) and heat.target is not None:
        return heat.target
    with looking(model, x, forward) as look, torch.inference_mode():
        return goal(look.run(*look.inputs), None, look.samples).classes


def _shuffled(maps: Maps, x: Tensor, seed: int) -> Tensor:
    """Spearman's correlation of each map with itself in a random order, (B,)."""
    found = []
    for part, rows in zip(maps, torch.split(x, [len(part) for part in maps]), strict=True):
        flat = part.flatten(1)
        order = random_ranks(flat.shape[1], sample_keys(rows), seed).to(flat.device)
        found.append(spearman(flat, flat.gather(1, order)))
    return torch.cat(found)


def _alike(first: Maps, second: Maps) -> Iterator[Tensor]:
    """Signed, absolute and structural similarity, (B,) each."""
    pairs = list(zip(first, second, strict=True))
    yield torch.cat([spearman(a, b) for a, b in pairs])
    yield torch.cat([spearman(a.abs(), b.abs()) for a, b in pairs])
    yield torch.cat([structural_similarity(_display(a), _display(b)) for a, b in pairs])


def _display(maps: Tensor) -> Tensor:
    positive = maps.relu()
    highest = positive.flatten(1).amax(1).reshape(-1, *[1] * (maps.ndim - 1))
    return torch.where(highest > 0, positive / highest, torch.zeros_like(positive))


def _edge_correlations(stages: list[Maps], x: Tensor, heat: Any) -> Tensor | None:
    """(1 + stages, B) of absolute maps with the edge detector, brought to the map's size."""
    if is_tokens(x) or x.ndim != stages[0][0].ndim + 1:
        return None
    edges = []
    for part, rows in zip(stages[0], _own_inputs(x, heat), strict=True):
        found = sobel(rows).float().unsqueeze(1)
        edges.append(F.interpolate(found, size=tuple(part.shape[1:]), mode="area").squeeze(1))
    return torch.stack(
        [
            torch.cat([spearman(a.abs(), b) for a, b in zip(maps, edges, strict=True)])
            for maps in stages
        ]
    )


def _own_inputs(x: Tensor, heat: Any) -> Maps:
    """The inputs of maps: of padded ones what each covers, with zeros behind a sample's own."""
    extents = heat.extents if isinstance(heat, Attribution) else None
    if extents is None:
        return [x]
    found = []
    for row, extent in zip(torch.split(x, 1), extents, strict=True):
        cut: Any = (..., *map(slice, extent.own))
        own = row[cut]
        behind = [b - a for a, b in zip(extent.own, extent.covered, strict=True)]
        found.append(F.pad(own, [side for many in reversed(behind) for side in (0, many)]))
    return found


def _kept(signed: Tensor, absolute: Tensor, seed: int = 0) -> SampleMean:
    """The larger of the two means."""
    return max(
        (sample_mean(values, seed=seed) for values in (signed, absolute)),
        key=lambda mean: mean.value,
    )


def _judged(
    original: Maps, signed: Tensor, absolute: Tensor, edges: Tensor | None, limit: float
) -> tuple[Verdict, str]:
    flats = [part.flatten(1) for part in original]
    told = torch.cat([flat.amax(1) > flat.amin(1) for flat in flats])
    if not told.any():
        return "undecided", "The original maps are constant, so there is nothing to compare."
    kept = _kept(signed[told], absolute[told])
    says = f"With every layer randomised the maps correlate by {kept.value:.2f} with the original"
    if kept.value >= limit:
        return "fails", f"{says}, at or above the limit of {limit:g}."
    if edges is not None:
        before, after = (float(row[told].mean()) for row in (edges[0], edges[-1]))
        if min(before, after) >= limit:
            return "fails", (
                f"The maps are near to an edge detector, by {before:.2f}, and still are with "
                f"every layer randomised, by {after:.2f}; the limit is {limit:g}."
            )
    if kept.interval.high < limit:
        return "passes", f"{says}, below the limit of {limit:g}."
    if kept.n == 1:
        return "undecided", f"{says}, by one sample, which has no interval: more samples."
    return "undecided", f"{says}; its interval reaches the limit of {limit:g}: more samples."


def _name(method: Method, heat: Attribution | Tensor) -> str:
    if isinstance(heat, Attribution) and heat.method:
        return heat.method
    inner = getattr(method, "func", method)
    return str(getattr(inner, "__name__", type(inner).__name__))
