"""What stands beside a run's own result: simple classifiers and forecasts, and maps of places."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from convarium.cli.choosing import Prepared
from convarium.cli.parsing import write

if TYPE_CHECKING:
    from convarium.data import Parts, TextPreprocessing
    from convarium.tasks import Evaluation


def check_baselines(ready: Prepared) -> None:
    """Refuse baselines that cannot be, before anything is trained."""
    from convarium.train import text_baselines

    preprocessing = cast("TextPreprocessing", ready.preprocessing)
    text_baselines.check_baselines(ready.parts, preprocessing, ready.config)


def compare(ready: Prepared, evaluation: Evaluation, out: Path, *, quiet: bool) -> None:
    """Train simple classifiers beside the network, and write into the card who won."""
    from convarium import predict
    from convarium.train.text_baselines import text_baselines

    preprocessing = cast("TextPreprocessing", ready.preprocessing)
    found = text_baselines(ready.parts, preprocessing, ready.config, evaluation)
    predict.record_baselines(out, [each.to_json() for each in found])
    for each in found if not quiet else ():
        write(f"baseline: {each.sentence()}")


def beside_rules(parts: Parts, evaluation: Evaluation, out: Path, *, quiet: bool) -> None:
    """Write into the card what the simplest forecasts reach on the same windows."""
    from convarium import predict
    from convarium.train.forecast_baselines import forecast_baselines

    found = forecast_baselines(parts.test, evaluation, parts.train)
    predict.record_baselines(out, [each.to_json() for each in found])
    for each in found if not quiet else ():
        write(f"baseline: {each.sentence()}")


def places_lines(card: Mapping[str, Any]) -> list[str]:
    """What was fitted in each coarse cell to what a network of fields leaves."""
    found = card.get("places")
    if found is None:
        return []
    if found["penalty"] is None:
        return ["places: maps of places validate no better, and are left out"]
    learned = ", learned anew from all places" if found["rounds"] else ""
    horizon = found.get("horizon")
    lasting = "" if horizon is None else f", averages half forgotten in {horizon:.0f} times"
    return [
        f"places: a map of each coarse cell, penalty {found['penalty']:g}{learned}{lasting}; "
        f"validation R2 {found['score']:.4f}"
    ]
