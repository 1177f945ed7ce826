"""What an audit found with marked regions: backgrounds, objects, heat inside and outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convarium.explain.auditing.counting import Difference
from convarium.explain.auditing.results import Example, mean_mapping
from convarium.explain.controls import SampleMean


@dataclass(frozen=True)
class RegionHeat:
    """Where the heat lies, for right or for wrong predictions: means over samples.

    Attributes:
        predictions: "right" or "wrong".
        energy: share of the heat inside of the regions.
        area: share of the positions inside.
        lift: energy / area.
        outside: lift of what is outside.
    """

    predictions: str
    energy: SampleMean
    area: SampleMean
    lift: SampleMean
    outside: SampleMean

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        names = ("energy", "area", "lift", "outside")
        means = {name: mean_mapping(getattr(self, name)) for name in names}
        return {"predictions": self.predictions, **means}


@dataclass(frozen=True)
class DonorLabel:
    """What the backgrounds of one label do to samples of the others.

    Attributes:
        label: of the donors.
        taken: recipients called by that label, against the same recipients on backgrounds of their
            own label.
        outside: lift of the heat outside of the regions, of samples that are called so.
    """

    label: str
    taken: Difference
    outside: SampleMean

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        lift = mean_mapping(self.outside)
        return {"label": self.label, "taken": self.taken.to_mapping(), "lift_outside": lift}


@dataclass(frozen=True, eq=False)
class Regions:
    """What the outside of the marked regions does to the predictions, and the inside.

    Attributes:
        n: samples with a region.
        missing: drawn samples without a mask; `empty`: with nothing or everything marked.
        background: flips by a background of another label, against one of the same label.
        gap: accuracy with backgrounds of the same label less that with those of another.
        donors: the same by the label of the background, of labels with recipients enough.
        object: flips by removal of the region, against an equal area elsewhere.
        heat: for right and for wrong predictions; outside is that of all samples.
        outside: lift of the heat outside of the regions, over all samples.
        inside: lift inside, over all samples.
        examples: samples with their swapped and emptied versions, in turn.
    """

    n: int
    missing: int
    empty: int
    background: Difference
    gap: Difference
    donors: tuple[DonorLabel, ...]
    object: Difference
    heat: tuple[RegionHeat, ...]
    outside: SampleMean
    inside: SampleMean
    examples: tuple[tuple[Example, ...], ...]

    def to_mapping(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "n": self.n,
            "missing": self.missing,
            "empty": self.empty,
            "background_flips": self.background.to_mapping(),
            "background_gap": self.gap.to_mapping(),
            "donors": [donor.to_mapping() for donor in self.donors],
            "object_flips": self.object.to_mapping(),
            "heat": [row.to_mapping() for row in self.heat],
            "lift_inside": mean_mapping(self.inside),
            "lift_outside": mean_mapping(self.outside),
        }
