import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import convarium.models as models
from convarium.errors import OptionError, ShapeError
from convarium.layers import block_mean, interpolate

SMALL = {
    "srcnn": {"channels": [6, 4], "kernel_sizes": [5, 1, 3]},
    "espcn": {"channels": [6, 4]},
    "edsr_small": {"depth": 2, "width": 6},
    "unet": {"widths": [4, 6]},
}

CIRCLE = {"constraint": "additive", "wrap": True}


def network(name, **options):
    torch.manual_seed(0)
    return models.create(name, **({**SMALL[name], "factor": 2} | options)).eval()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("constraint", ["additive", "multiplicative", "softmax"])
@settings(max_examples=5)
@given(factor=st.tuples(st.integers(1, 4), st.integers(2, 5)), celsius=st.booleans())
def test_block_means_are_the_coarse_field_in_physical_units(name, constraint, factor, celsius):
    model = network(name, factor=list(factor), constraint=constraint, in_channels=2)
    mean = 15.0 if celsius else 288.0
    model.normalise_with(inputs=([mean, 0.0], [20.0, 1.0]), targets=([mean], [20.0]))
    x = model.example_input(2, size=8)
    x[:, :1] = mean + 20 * x[:, :1]
    y = model(x)
    size = x[:, :1].abs().max() + y.abs().max()
    assert (block_mean(y, factor) - x[:, :1]).abs().max() <= 1e-5 * size


@pytest.mark.parametrize("name", SMALL)
def test_units_do_not_matter(name):
    model = network(name, constraint="additive").double()
    model.normalise_with(inputs=([280.0], [20.0]), targets=([280.0], [20.0]))
    fahrenheit = copy.deepcopy(model)
    fahrenheit.normalise_with(inputs=([44.33], [36.0]), targets=([44.33], [36.0]))
    x = 280 + 20 * model.example_input(2, size=8)
    y = fahrenheit(1.8 * x - 459.67)
    torch.testing.assert_close(y, 1.8 * model(x) - 459.67)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_without_weights_gives_what_it_starts_from(name):
    for start, fine_channels in (("coarse", 0), ("fine", 2), ("none", 0)):
        model = network(name, start=start, fine_channels=fine_channels)
        for parameter in model.head.parameters():
            nn.init.zeros_(parameter)
        model.normalise_with(targets=([3.0], [2.0]))
        x = model.example_input(2, size=8)
        fine = torch.randn(2, 2, 16, 16) if fine_channels else None
        expected = interpolate(x, (2, 2), "cubic")
        if start != "coarse":
            expected = torch.full((2, 1, 16, 16), 3.0) if fine is None else fine[:, :1]
        torch.testing.assert_close(model(x, fine=fine), expected)


@pytest.mark.parametrize("name", SMALL)
def test_fine_fields_are_read_where_they_lie(name):
    """A change of one fine cell moves the result near it, and nothing far away."""
    model = network(name, fine_channels=1, start="none").double()
    x = model.example_input(1, size=24)
    fine = torch.randn(1, 1, 48, 48, dtype=torch.float64)
    other = fine.clone()
    other[0, 0, 20, 30] += 1
    moved = (model(x, fine=other) - model(x, fine=fine)).abs()[0, 0]
    assert moved[18:22, 28:32].max() > 0
    if name != "unet":
        assert moved[:, :5].max() == moved[45:].max() == 0


@pytest.mark.parametrize("name", SMALL)
def test_on_a_circle_no_longitude_is_the_first(name):
    model = network(name, wrap=True, constraint="additive", fine_channels=1).double()
    x, fine = model.example_input(1, size=8), torch.randn(1, 1, 16, 16, dtype=torch.float64)
    y = model(x.roll(4, -1), fine=fine.roll(8, -1))
    torch.testing.assert_close(y, model(x, fine=fine).roll(8, -1))
    apart = network(name, fine_channels=1).double()
    apart.load_state_dict(dict(zip(apart.state_dict(), model.state_dict().values(), strict=True)))
    assert not torch.allclose(apart(x.roll(4, -1), fine=fine.roll(8, -1)), apart(x, fine=fine))


@pytest.mark.parametrize("name", SMALL)
def test_missing_cells_change_nothing_but_through_their_mask(name):
    model = network(name, masked=True, constraint="additive", in_channels=2)
    x = model.example_input(2, size=8)
    mask = torch.rand(2, 8, 8) > 0.3
    holes = torch.where(mask.unsqueeze(1), x, math.nan)
    other = torch.where(mask.unsqueeze(1), x, 1e9)
    y = model(holes, mask)
    assert y.isfinite().all()
    assert torch.equal(y, model(other, mask))
    known = mask.unsqueeze(1)
    torch.testing.assert_close(block_mean(y, (2, 2))[known], x[:, :1][known])
    assert torch.equal(model(x), model(x, torch.ones(2, 8, 8, dtype=torch.bool)))
    model.zero_grad()
    y.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", SMALL)
def test_areas_weigh_the_block_means(name):
    model = network(name, constraint="additive", start="coarse")
    x = model.example_input(2, size=8)
    weights = torch.linspace(-80, 80, 16).deg2rad().cos().view(-1, 1)
    y = model(x, weights=weights)
    torch.testing.assert_close(block_mean(y, (2, 2), weights), x, atol=1e-5, rtol=0)
    assert (block_mean(y, (2, 2)) - x).abs().max() > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_distributions_are_in_order_around_what_is_constrained(name):
    options = {"in_channels": 2, "out_channels": 2, "constraint": "additive"}
    model = network(name, parts="quantiles", levels=[0.1, 0.5, 0.7, 0.9], **options)
    model.normalise_with(targets=([5.0, 0.0], [10.0, 0.1]))
    x = model.example_input(2, size=8)
    y = model(x)
    assert model.parts == ("q0.1", "q0.5", "q0.7", "q0.9")
    assert (y.view(2, 4, 2, 16, 16).diff(dim=1) >= 0).all()
    torch.testing.assert_close(model.middle(y), y[:, 2:4])
    torch.testing.assert_close(block_mean(model.middle(y), (2, 2)), x, atol=2e-5, rtol=0)
    normal = network(name, parts="normal", **options)
    y = normal(x)
    assert (y[:, 2:] > 0).all()
    torch.testing.assert_close(block_mean(normal.middle(y), (2, 2)), x, atol=2e-5, rtol=0)


@pytest.mark.parametrize("start", ["coarse", "fine"])
@pytest.mark.parametrize("constraint", ["none", "additive", "multiplicative", "softmax"])
def test_a_new_network_gives_what_it_starts_from_with_its_constraint(constraint, start):
    """Of either sign: softmax and the multiplicative one keep that of the coarse field."""
    model = network("espcn", constraint=constraint, start=start, fine_channels=1)
    model.begin_at_start()
    model.normalise_with(targets=([3.0], [0.5]))  # of what is left: another than the field's own
    for sign in (1.0, -1.0):
        x = sign * (4 + torch.rand(2, 1, 4, 6))
        fine = sign * (3 + torch.rand(2, 1, 8, 12))
        begun = fine if start == "fine" else interpolate(x, (2, 2), "cubic")
        expected = begun
        if constraint == "additive":
            expected = begun + interpolate(x - block_mean(begun, (2, 2)), (2, 2), "nearest")
        elif constraint == "softmax" or (constraint == "multiplicative" and sign > 0):
            expected = begun * interpolate(x / block_mean(begun, (2, 2)), (2, 2), "nearest")
        elif constraint == "multiplicative":  # which knows no share of what is below 0
            expected = interpolate(x, (2, 2), "nearest")
        torch.testing.assert_close(model(x, fine=fine), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("constraint", ["none", "multiplicative", "softmax"])
def test_precipitation_is_not_negative(constraint):
    model = network("edsr_small", constraint=constraint, non_negative=True, parts="quantiles")
    y = model(model.example_input(2, size=8).abs())
    assert y.min() >= 0


@pytest.mark.parametrize("name", SMALL)
def test_each_coarse_cell_may_have_numbers_of_its_own(name):
    model = network(name, cells=[8, 6], cell_features=3)
    x = torch.zeros(1, 1, 8, 6)
    before = model(x)
    with torch.no_grad():
        model.reader.cells[0, :, 4, 3] = 1
    moved = (model(x) - before).abs()[0, 0]
    assert moved[8:10, 6:8].max() > 0
    with pytest.raises(ShapeError, match="build it with cells=None"):
        model(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize("name", SMALL)
def test_places_take_what_the_rest_leaves(name):
    """Of fields that are a pattern, a place's own slope and little noise, little is left."""
    options = {"cells": [8, 6], "cell_features": 0, "start": "coarse", **CIRCLE}
    model = network(name, cell_kernel=3, **options)
    for parameter in model.head.parameters():
        nn.init.zeros_(parameter)
    model.normalise_with(inputs=([9.0], [4.0]), targets=([9.0], [4.0]))
    x = 9 + 4 * torch.randn(80, 1, 8, 6)
    pattern, slope = torch.randn(1, 1, 16, 12), torch.randn(1, 1, 16, 12)
    y = interpolate(x, (2, 2), "nearest")
    y = y + (pattern - interpolate(block_mean(pattern, (2, 2)), (2, 2), "nearest"))
    apart = slope - interpolate(block_mean(slope, (2, 2)), (2, 2), "nearest")
    y = y + apart * interpolate(x - 9, (2, 2), "nearest")
    before = model(x[60:])
    torch.testing.assert_close(before, models.Interpolator(2, kind="cubic", **CIRCLE)(x[60:]))
    models.fit_places(model, x[:60], y[:60], penalty=0.1)
    found = model(x[60:])
    assert (found - y[60:]).square().mean() < 0.2 * (before - y[60:]).square().mean()
    torch.testing.assert_close(block_mean(found, (2, 2)), x[60:], atol=1e-4, rtol=0)
    again = copy.deepcopy(model)
    models.fit_places(again, x[:60], y[:60], penalty=0.1)
    torch.testing.assert_close(again(x), model(x))


def test_places_are_fitted_where_that_is_linear():
    x, y = torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 16, 16)
    for options in ({"cell_kernel": 0}, {"constraint": "softmax"}, {"parts": "normal"}):
        model = network("espcn", **({"cells": [8, 8], "cell_kernel": 3} | options))
        with pytest.raises(OptionError, match="Places are fitted in networks of values"):
            models.fit_places(model, x, y)


def test_an_exported_network_keeps_its_units_and_its_constraint():
    places = {"cells": [8, 8], "cell_features": 2, "cell_kernel": 3}
    model = network("edsr_small", constraint="softmax", fine_channels=1, **places)
    nn.init.normal_(model.places.local.weight)
    model.normalise_with(inputs=([9.0], [4.0]), targets=([9.0], [4.0]))
    x, fine = model.example_input(2, size=8).abs() * 10, torch.randn(2, 1, 16, 16)
    program = torch.export.export(model, (x, None, fine), strict=True).module()
    y = program(x, None, fine)
    torch.testing.assert_close(y, model(x, fine=fine))
    torch.testing.assert_close(block_mean(y, (2, 2)), x)


def test_a_saved_network_keeps_its_units(tmp_path):
    model = network("espcn", constraint="additive")
    model.normalise_with(inputs=([9.0], [4.0]), targets=([9.0], [4.0]))
    models.save(model, tmp_path / "saved")
    x = 10 * model.example_input(2, size=8)
    assert torch.equal(models.load(tmp_path / "saved").eval()(x), model(x))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factor": [2, 3, 4]}, r"factor .* 2, one an axis"),
        ({"factor": 1}, "not all of them 1"),
        ({"factor": 0}, "must be 1 or more"),
        ({"out_channels": 2}, "or fewer"),
        ({"start": "fine"}, "must be as many or more"),
        ({"constraint": "additive", "non_negative": True}, "cannot hold"),
        ({"parts": "quantiles", "levels": [0.5, 0.1]}, "must rise"),
        ({"cells": [4]}, "must have 2 numbers"),
        ({"cell_kernel": 3}, "needs cells"),
        ({"cells": [4, 4], "cell_kernel": 2}, "must be odd"),
        ({"fine_chanels": 1}, "Did you mean 'fine_channels'"),
        ({"constraint": "softmaxx"}, "Did you mean 'softmax'"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(OptionError, match=words):
        models.create("edsr_small", **options)


def test_inputs_that_do_not_fit_are_refused():
    model = network("espcn", fine_channels=1)
    x = model.example_input(2, size=8)
    with pytest.raises(ShapeError, match=r"fine fields \(2, 1, 16, 16\) besides, not none"):
        model(x)
    with pytest.raises(OptionError, match="without masked=True"):
        network("espcn")(x, torch.ones(2, 8, 8, dtype=torch.bool))
    with pytest.raises(ShapeError, match=r"mask must be \(B, \*S\) of torch.bool"):
        network("espcn", masked=True)(x, torch.ones(2, 8, 9, dtype=torch.bool))
    with pytest.raises(OptionError, match="do not fit 1 fields"):
        model.normalise_with(inputs=([0.0, 1.0], [1.0, 1.0]))


def test_what_needs_no_training_is_called_like_a_network():
    x, delta = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 10, 24)
    plain = models.Interpolator([2, 4], kind="cubic", wrap=True)
    assert torch.equal(plain(x), interpolate(x, (2, 4), "cubic", wrap=True))
    method = models.Interpolator([2, 4], constraint="additive")
    y = method(x, None, delta)
    torch.testing.assert_close(block_mean(y, (2, 4)), x)
    torch.testing.assert_close(
        y - delta, (x - block_mean(delta, (2, 4))).repeat_interleave(2, 2).repeat_interleave(4, 3)
    )
    with pytest.raises(ShapeError, match="fine"):
        method(x, None, delta[:, :1])
