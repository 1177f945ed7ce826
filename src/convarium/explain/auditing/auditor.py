"""The audit of a run: what its answers rest on, and what the heatmaps of it are worth.

answers of all -> groups; some drawn -> heatmaps -> sanity; regions; places -> claims -> gates
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from convarium.data import Dataset, Part, Skipped
from convarium.errors import OptionError
from convarium.explain.attribution import Attribution
from convarium.explain.auditing import gates, gathering
from convarium.explain.auditing.claiming import claims
from convarium.explain.auditing.counting import Rate
from convarium.explain.auditing.filling import check_removal
from convarium.explain.auditing.gates import Gate
from convarium.explain.auditing.grouping import group_columns, group_tables, label_rates
from convarium.explain.auditing.masks import Masks, check_masks
from convarium.explain.auditing.region_results import Regions
from convarium.explain.auditing.results import Claim, Cluster, GroupColumn, PlaceTest
from convarium.explain.auditing.searching import SMALLEST, find_shortcuts, shows_small
from convarium.explain.auditing.swapping import audit_regions
from convarium.explain.layers import check_layer
from convarium.explain.looking import device_of
from convarium.explain.methods import attributed, method_named
from convarium.explain.sanity import SanityCheck, sanity_check
from convarium.measure.arguments import real, whole
from convarium.predict import Predictor, Run
from convarium.progress import Progress

_SANITY = 32  # samples


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found.

    Attributes:
        source: the data.
        accuracy: of all samples.
        labels: accuracy of each label's samples, the lowest first; labels without any are left out.
        method, layer, map_size: of the heatmaps.
        note: what should be known about them; mostly empty.
        n: samples that were drawn and looked at closely.
        statuses: how many of their maps have each status.
        sanity: whether the method's maps depend on what this network has learned.
        groups: by column.
        regions: of marked samples; None where there are no masks.
        clusters: of heatmaps, by prediction.
        places: tests of the small places among them.
        claims: with their verdicts.
        least: the effect that counts.
        removal: what stands where something was removed.
        seed: of all that was drawn.
        skipped: samples that cannot be read.
    """

    source: str
    accuracy: Rate
    labels: tuple[tuple[str, Rate], ...]
    method: str
    layer: str
    map_size: tuple[int, ...]
    note: str
    n: int
    statuses: Mapping[str, int]
    sanity: SanityCheck
    groups: tuple[GroupColumn, ...]
    regions: Regions | None
    clusters: tuple[Cluster, ...]
    places: tuple[PlaceTest, ...]
    claims: tuple[Claim, ...]
    least: float
    removal: str
    seed: int
    skipped: tuple[Skipped, ...]

    def gates(
        self,
        *,
        max_gap: float | None = None,
        max_flip: float | None = None,
        no_shortcut: bool = False,
    ) -> tuple[Gate, ...]:
        """Hold the audit to limits.

        Args:
            max_gap: the largest allowed gap in accuracy, between a group and the others of a label
                or between backgrounds; one whose interval reaches 0 does not count. While a group
                has too few samples of a label to be compared, it does not hold.
            max_flip: the largest allowed share of predictions that backgrounds of other labels flip
                beyond those of the same label.
            no_shortcut: no claim of a place or of the background may be supported; where none could
                be tested, or the heatmaps do not pass the sanity check, it does not hold.

        Raises:
            OptionError: a limit outside of [0, 1], or one of what was not measured.
        """
        return gates.gates(self, max_gap, max_flip, no_shortcut)

    def to_mapping(self) -> dict[str, Any]:
        """All numbers, JSON-able; maps and pictures are left out."""
        regions = None if self.regions is None else self.regions.to_mapping()
        return {
            "source": self.source,
            "accuracy": self.accuracy.to_mapping(),
            "labels": [{"label": name} | rate.to_mapping() for name, rate in self.labels],
            "method": self.method,
            "layer": self.layer,
            "map_size": list(self.map_size),
            "note": self.note,
            "drawn": self.n,
            "statuses": dict(self.statuses),
            "sanity": {"verdict": self.sanity.verdict, "reason": self.sanity.reason},
            "least_effect": self.least,
            "removal": self.removal,
            "seed": self.seed,
            "claims": [claim.to_mapping() for claim in self.claims],
            "groups": [column.to_mapping() for column in self.groups],
            "regions": regions,
            "clusters": [cluster.to_mapping() for cluster in self.clusters],
            "places": [place.to_mapping() for place in self.places],
            "skipped": [{"name": item.name, "reason": item.reason} for item in self.skipped],
        }


def audit(
    run: Run | Predictor,
    data: Part | Dataset,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    regions: Masks | None = None,
    method: str = "grad_cam",
    layer: str | None = None,
    most: int = 512,
    least: float = 0.05,
    least_samples: int = 20,
    removal: str = "surrounding",
    batch_size: int = 64,
    workers: int = 0,
    seed: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """What the answers of a run rest on: groups, backgrounds, small places; claims with verdicts.

    All samples are predicted, for the accuracies; some are drawn, equally many of each label, for
    heatmaps and for what is changed in them. A claim is supported only where the change shows an
    effect (Holm's correction over all claims), the heat agrees, and the method passes the sanity
    check on this network.

    Args:
        run: an opened run of classification, or a predictor whose `forward` is a module.
        data: labelled samples that the network has not learnt from.
        groups: for each column one word a sample of `data`; an empty word is no group.
        regions: what should matter: a folder with a mask for each image under its relative name, or
            one path a sample, or numbers (N, *S); what is not 0 is the region.
        method: name of a function of this room that makes heatmaps.
        layer: that is read; None means the method's own choice.
        most: samples to draw.
        least: the effect that counts, as a share: 0.05 is one sample in twenty.
        least_samples: from which a cell of label and group counts.
        removal: what stands where something is removed: "surrounding" (needs scipy, the extra
            measure), "mean" or "blur".
        batch_size: of forward passes.
        workers: threads that decode ahead.
        seed: of all that is drawn.
        progress: advanced by samples: by each of the data, and again by each drawn one.

    Raises:
        OptionError: another task, an unknown method or removal, or numbers out of range.
        DataError: no labels, one label only, nothing that can be read, or masks that do not fit.
        ShapeError: not one mask a sample.

    References:
        Sagawa et al. (2020), arXiv:1911.08731 (worst group); Xiao et al. (2020), arXiv:2006.09994
        (backgrounds); Lapuschkin et al. (2019), arXiv:1902.10178 (clusters of heatmaps).
    """
    predictor = _predictor(run)
    heat = _method(predictor, method, layer)
    _check_options(removal, most, least, least_samples, batch_size)
    tables = group_tables(groups or {}, len(data))
    check_masks(regions, len(data), predictor.preprocessing)
    told = gathering.answers(predictor, data, batch_size, workers, progress)
    some = gathering.drawn(predictor, data, told, regions, most, seed, batch_size)
    some, statuses, read = gathering.heated(some, heat, progress)
    sane = _sanity(some, heat, seed)
    compared = group_columns(tables, told, least_samples)
    marked = None if regions is None else audit_regions(some, removal, seed)
    found, tests = find_shortcuts(some, removal, seed)
    return Audit(
        source=gathering.dataset_of(data).source,
        accuracy=Rate.of(told.right),
        labels=label_rates(told),
        method=method,
        layer=read.layer,
        map_size=tuple(read.values.shape[1:]),
        note=_note(read, some, found),
        n=len(some),
        statuses=statuses,
        sanity=sane,
        groups=compared,
        regions=marked,
        clusters=found,
        places=tests,
        claims=claims(tests, marked, compared, sane, least),
        least=least,
        removal=removal,
        seed=seed,
        skipped=told.skipped,
    )


def _note(heat: Attribution, some: gathering.Drawn, found: Sequence[Cluster]) -> str:
    """What the method says, and where no small place can be found: coarse maps, or few."""
    notes = [heat.note] if heat.note else []
    size = tuple(heat.values.shape[1:])
    if not shows_small(size):
        positions = " x ".join(map(str, size))
        notes.append(
            f"The maps at {heat.layer} have {positions} positions, too few to find a small place; "
            "name an earlier layer, or another method."
        )
    predictions = len(set(some.predicted.tolist()))
    missing = predictions - len({cluster.label for cluster in found})
    if missing:
        notes.append(
            f"{missing} of {predictions} predictions have fewer than {SMALLEST} maps with heat in "
            "the half of the samples that places are sought in; of these none is sought."
        )
    return " ".join(notes)


def _predictor(run: Run | Predictor) -> Predictor:
    predictor = run.predictor if isinstance(run, Run) else run
    if not isinstance(predictor, Predictor):
        raise OptionError(
            f"run (={type(run).__name__}) must be an opened run, as convarium.open_run(FOLDER) "
            "gives it, or a Predictor."
        )
    if not isinstance(predictor.forward, nn.Module):
        raise OptionError("run (a Predictor of a function) must hold a module, to be looked into.")
    kind = predictor.preprocessing.kind
    if kind in ("texts", "series"):
        raise OptionError(
            f"run (of {kind}) cannot be audited: places of pictures are cut and pasted; give a run "
            "of images or volumes, or look at the heat along them by explain."
        )
    return predictor


def _method(predictor: Predictor, method: str, layer: str | None) -> Callable[..., Attribution]:
    layers = () if layer is None else (layer,)
    method_named(method, layers)
    for name in layers:
        if not isinstance(name, str):
            raise OptionError(f"layer (={name!r}) must be the dotted name of one layer, or None.")
        check_layer(cast("nn.Module", predictor.forward), name)
    return functools.partial(attributed, method=method, layers=layers)


def _check_options(
    removal: str, most: int, least: float, least_samples: int, batch_size: int
) -> None:
    check_removal(removal)
    whole(2, most=most)
    whole(1, least_samples=least_samples)
    whole(1, batch_size=batch_size)
    if not 0 < real(least) < 1:
        raise OptionError(f"least (={least!r}) must lie between 0 and 1, such as 0.05.")


def _sanity(some: gathering.Drawn, method: Callable[..., Attribution], seed: int) -> SanityCheck:
    """The check on some samples of all labels, the same each time."""
    rows = torch.linspace(0, len(some) - 1, min(_SANITY, len(some))).long()
    inputs = some.inputs[rows].to(device_of(some.network))
    target = some.predicted[rows].tolist()
    return sanity_check(some.network, inputs, method, target=target, seed=seed)
