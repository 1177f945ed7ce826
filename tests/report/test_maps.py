"""Maps of fields: north above, one scale, grey where nothing is known; and their spectra."""

import numpy as np
import pytest

from convarium.report.field_page import draw_spectra
from convarium.report.maps import Scale, field_map
from convarium.tasks import FieldComparison


def test_north_is_above_whichever_way_the_rows_go():
    field = np.arange(12.0).reshape(3, 4)
    scale = Scale.of(field)
    rising = field_map(field, scale, "u", latitude=np.array([10.0, 20.0, 30.0]))
    falling = field_map(field[::-1], scale, "u", latitude=np.array([30.0, 20.0, 10.0]))
    assert np.array_equal(rising.image, falling.image)
    assert rising.image[0, 0].sum() > rising.image[-1, 0].sum()  # the largest values are brightest


def test_missing_cells_are_grey_and_coarse_cells_are_blocks():
    field = np.array([[0.0, np.nan], [1.0, 2.0]])
    found = field_map(field, Scale(0, 2), "u", latitude=np.array([2.0, 1.0]), factor=(2, 3)).image
    assert found.shape == (4, 6, 3)
    assert (found[:2, 3:] == 150).all()
    assert (found[2:, :3] == found[2, 0]).all()


def test_scales_hold_most_values_and_signed_ones_have_0_in_the_middle():
    values = np.linspace(-1, 3, 1001)
    low, high, _ = Scale.of(values)
    assert low == pytest.approx(-0.96)
    assert high == pytest.approx(2.96)
    signed = Scale.of(values, signed=True)
    assert signed.low == -signed.high
    middle = field_map(np.zeros((1, 1)), signed, "e", latitude=np.zeros(1)).image[0, 0]
    assert middle.min() > 240  # white
    assert Scale.of(np.full((2, 2), np.nan)).words("K") == "colours from 0 to 1 K"
    assert Scale.of(np.ones(4)).high > 1


def test_spectra_have_a_line_for_the_truth_and_each_method():
    random = np.random.default_rng(0)
    truth = random.normal(size=(4, 16, 24))
    compared = FieldComparison(truth, {"network": 0.9 * truth, "bilinear": 0.1 * truth}, None)
    found = draw_spectra(compared, ["bilinear", "network", "delta"])
    assert [name in found for name in ("truth", "bilinear", "network", "delta")] == [True] * 3 + [
        False
    ]
    assert found.count("<polyline") >= 6  # with the key
