"""Learning curves as SVG."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from convarium import report
from convarium.errors import OptionError

SVG = "{http://www.w3.org/2000/svg}"


def rows(losses: list[float]) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "train_loss": loss,
            "val_loss": 1.1 * loss,
            "train_acc": 0.9,
            "val_acc": 0.877,
            "lr": 0.01,
        }
        for epoch, loss in enumerate(losses, 1)
    ]


def lines(svg: str) -> list[list[tuple[float, float]]]:
    """Points of the curves; the frame's lines have another colour and thickness."""
    found = [
        element.attrib["points"]
        for element in ElementTree.fromstring(svg).iter(f"{SVG}polyline")
        if element.attrib["stroke-width"] == "2" and element.attrib["points"].count(",") > 2
    ]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.]+),([\d.]+)", points)]
        for points in found
    ]


def test_curves_are_well_formed_and_say_where_they_end() -> None:
    svg = report.curves(rows([2.0, 1.0, 0.5]))
    root = ElementTree.fromstring(svg)
    text = " ".join(root.itertext())
    for part in ("Loss", "Accuracy", "Learning rate", "training 0.5", "validation 87.7\xa0%"):
        assert part in text
    assert root.attrib["role"] == "img"
    assert "validation 0.55" in root.attrib["aria-label"]


def test_a_falling_loss_is_drawn_falling() -> None:
    training, validation = lines(report.curves(rows([2.0, 1.0, 0.5]), ["loss"]))
    assert [y for _, y in training] == sorted(y for _, y in training)
    # From 2 to 1 is twice the way from 1 to 0.5 on a straight axis.
    drops = [training[k + 1][1] - training[k][1] for k in range(2)]
    assert drops[0] == pytest.approx(2 * drops[1], abs=0.05)
    assert all(v[1] < t[1] for t, v in zip(training, validation, strict=True))


def test_a_loss_that_falls_far_gets_a_logarithmic_axis() -> None:
    training, _ = lines(report.curves(rows([4.0, 0.4, 0.04]), ["loss"]))
    drops = [training[k + 1][1] - training[k][1] for k in range(2)]
    assert drops[0] == pytest.approx(drops[1], abs=0.05)


def test_missing_and_infinite_values_do_not_stop_the_report() -> None:
    history = rows([2.0, float("nan"), float("inf"), 1.0])
    history[0]["val_acc"] = None
    svg = report.curves(history)
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert "inf" not in svg


@pytest.mark.parametrize("losses", [[], [1.0], [0.0, 0.0]])
def test_short_and_flat_histories(losses: list[float]) -> None:
    root = ElementTree.fromstring(report.curves(rows(losses)))
    assert root.tag.endswith("svg")


def test_the_kept_epoch_is_marked() -> None:
    history = rows([2.0, 1.0, 1.5])
    assert "1 3" in report.curves(history, ["loss"], kept=2)
    assert "1 3" not in report.curves(history, ["loss"])


def test_an_unknown_quantity_is_an_error_with_the_close_match() -> None:
    with pytest.raises(OptionError, match="Did you mean 'accuracy'"):
        report.curves(rows([1.0]), ["acuracy"])
    with pytest.raises(OptionError, match="at least one"):
        report.curves(rows([1.0]), [])
