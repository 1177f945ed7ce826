"""A closer look at texts, series and volumes: what goes first, and what a position sees."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
import torch
from asked import settled
from drawn_shapes import CLASSES
from PIL import Image
from small_runs import save_scans

from convarium import explain, measure, predict
from convarium.data import Volume
from convarium.errors import OptionError
from convarium.report import texts
from convarium.report.slices import panes, slices_heat
from convarium.studio import Desk, closer, look
from convarium.studio.jobs import AbandonedError, Watched

TEXT = "a red shoe and a blue hat"
SERIES = np.random.default_rng(0).normal(size=(2, 57)).astype("f4")
SCAN = np.random.default_rng(1).normal(size=(8, 10, 12)).astype("f4")


def as_file(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def pixels_of(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


@pytest.fixture(scope="module")
def looked(reviews, curves, tmp_path_factory):
    """The desk, and of each kind the run, its network's input and what was shown."""
    scans = save_scans(tmp_path_factory.mktemp("scans") / "scans", CLASSES)
    desk, found = Desk([reviews, curves, scans]), {}
    given = {
        "reviews": (reviews, TEXT.encode(), "a.txt", TEXT),
        "curves": (curves, as_file(SERIES), "a.npy", None),
        "scans": (scans, as_file(SCAN), "a.npy", Volume(SCAN[None])),
    }
    for name, (folder, content, file, value) in given.items():
        run = predict.open_run(folder)
        if value is None:
            x = (torch.from_numpy(SERIES) - torch.tensor([[0.0], [1.0]])) / torch.tensor(
                [[1.0], [2]]
            )
            x = x[None]
        else:
            x = run.preprocessing.finish(run.preprocessing.apply(value)[None])
        found[name] = run, x, look.show(desk, name, content, file)
    return desk, found


@pytest.mark.parametrize("name", ["reviews", "curves", "scans"])
def test_what_goes_first_is_what_explain_removes(looked, name):
    desk, found = looked
    run, x, shown = found[name]
    method = explain.grad_cam if name == "scans" else explain.hires_cam
    heat = method(run.model, x)
    told = settled(closer.curves, desk, name, shown["sample"])["result"]
    empty = {"baseline": 0} if name == "reviews" else {}
    for word in ("deletion", "insertion"):
        expected = getattr(explain, word)(
            run.model, x, heat, steps=min(16, x[0, ..., :].numel()), **empty
        )
        assert told[word]["heat"] == pytest.approx(expected.values[0].tolist(), rel=1e-4)
        assert told[word]["area_random"] == pytest.approx(float(expected.random[0]), rel=1e-4)
        assert (told[word]["edges"] is None) == (name == "reviews")
    with torch.no_grad():
        whole = float(run.model(x).softmax(1).max())
    assert told["deletion"]["heat"][0] == pytest.approx(whole, rel=1e-4)
    assert told["target"] == CLASSES[int(heat.target[0])]


@pytest.mark.parametrize("name", ["reviews", "scans"])
def test_curves_tell_every_pass_and_end_where_nobody_asks(looked, name, monkeypatch):
    desk, found = looked
    sample, progress = found[name][2]["sample"], Watched(lambda: 60.0)
    monkeypatch.setattr(desk.jobs, "ask", lambda key, work, **_: work(progress))
    told = closer.curves(desk, name, sample)
    assert progress.done == progress.total >= 28
    assert len(told["deletion"]["heat"]) == min(16, found[name][1][0, ...].numel()) + 1
    progress.unwanted = True
    with pytest.raises(AbandonedError):
        closer.curves(desk, name, sample)


def test_raw_values_keep_their_signs(looked):
    desk, found = looked
    for name, (run, x, shown) in found.items():
        method = explain.grad_cam if name == "scans" else explain.hires_cam
        heat = method(run.model, x, target=0)
        asked = {"target": CLASSES[0]}
        raw = look.heat(desk, name, shown["sample"], **asked, raw=True)
        scaled = look.heat(desk, name, shown["sample"], **asked)
        assert raw["raw"]
        assert not scaled["raw"]
        assert raw["low"] == pytest.approx(float(heat.values.min()), rel=1e-4)
        assert raw["low"] < 0
        if name == "reviews":
            assert raw["heat"] == pytest.approx(heat.signed()[0].tolist(), abs=1e-6)
            assert scaled["heat"] == pytest.approx(heat.display()[0].tolist(), abs=1e-6)
        against = "var%28--hit%29"  # blue
        drawings = [told.get("drawing", "") for told in (raw, scaled)]
        assert [against in drawing for drawing in drawings] == [name == "curves", False]
        assert raw.get("picture", 0) != scaled.get("picture", 1)


def given_heat(monkeypatch, values):
    """Make every heatmap that is asked for the one of these values."""
    heat = explain.Attribution(
        torch.from_numpy(values)[None], "stem", (0,), torch.zeros(1), ("fine",), values.shape
    )
    monkeypatch.setattr(look, "heat_of", lambda *_: heat)


def test_raw_values_show_the_part_of_a_text_that_speaks_most_against(looked, monkeypatch):
    desk, _ = looked
    values = np.zeros(12, "f4")
    values[[1, 10]] = 0.1, -3
    given_heat(monkeypatch, values)
    monkeypatch.setattr(texts, "SHOWN", 4)
    shown = look.show(desk, "reviews", b"red " * 12, "a.txt", raw=True)["heat"]
    assert len(shown["tokens"]) == 4
    assert shown["heat"][10 - shown["first"]] == -1


def test_raw_values_show_the_slices_that_speak_most_against_in_their_colour(looked, monkeypatch):
    desk, found = looked
    values = np.zeros((8, 10, 12), "f4")
    values[6, 8, 10], values[1, 2, 3] = 0.1, -3
    for sign, side in ((1, 2), (-1, 0)):  # blue, orange
        given_heat(monkeypatch, sign * values)
        shown = look.heat(desk, "scans", found["scans"][2]["sample"], raw=True)
        assert shown["at"] == [1.5 / 8, 2.5 / 10, 3.5 / 12]
        assert shown["about"].endswith("depth 1, height 2, width 3")
        pixels = pixels_of(shown["picture"])
        row, column = np.unravel_index(pixels.max(-1).argmax(), pixels.shape[:2])
        assert pixels[row, column].argmax() == side


def test_only_the_tokens_of_its_field_move_a_position(looked):
    desk, found = looked
    run, ids, shown = found["reviews"]
    told = closer.field(desk, "reviews", shown["sample"], column=3, layer="stage1")
    ((start, stop),) = told["box"]
    assert [token.strip() for token in told["tokens"]] == TEXT.split()
    moved = []
    with torch.no_grad():
        before = run.model.features(ids)[0][0, :, 3]
        for k in range(7):
            other = ids.clone()
            other[0, k] = 2 if int(ids[0, k]) != 2 else 3
            moved.append(not torch.equal(run.model.features(other)[0][0, :, 3], before))
    assert moved == [start <= k < stop for k in range(7)]
    assert [weight > 0 for weight in told["weight"]] == moved


@pytest.mark.parametrize(
    ("name", "layer", "place"),
    [
        ("curves", "stage2", {"column": 20}),
        ("scans", "stage1", {"depth": 1, "row": 4, "column": 0}),
    ],
)
def test_the_field_of_a_step_or_a_voxel_is_where_its_gradient_is(looked, name, layer, place):
    desk, found = looked
    run, x, shown = found[name]
    told = closer.field(desk, name, shown["sample"], **place, layer=layer)
    x = x.clone().requires_grad_()
    run.model.eval()
    y = run.model.features(x)[["stage1", "stage2"].index(layer)].sum(1)
    y[(0, *place.values())].backward()
    weight = x.grad.abs().sum((0, 1))
    places = weight.nonzero()
    box = torch.tensor(told["box"])
    assert (places.amin(0) >= box[:, 0]).all()
    assert (places.amax(0) < box[:, 1]).all()
    assert told["area_95"] <= int((weight > 0).sum())
    assert told["map"] == list(y.shape[1:])
    assert told["drawing"].startswith("<svg")
    expected = measure.receptive_field(run.model, tuple(x.shape)).at(layer)
    assert tuple(told["size"]) == expected.size


def test_a_map_that_has_no_such_position_is_a_sentence(looked):
    desk, found = looked
    sample = found["curves"][2]["sample"]
    assert found["curves"][2]["heat"]["size"] == [57]
    for place in ({"column": 57}, {"column": 3, "row": 0}):
        with pytest.raises(OptionError, match="a whole number for each axis of a map of 57"):
            closer.field(desk, "curves", sample, **place)


def test_a_position_that_nothing_moves_is_a_sentence(looked):
    desk, found = looked
    with pytest.raises(OptionError, match="no whole window fits"):
        closer.field(desk, "reviews", found["reviews"][2]["sample"], column=0)
    short = look.show(desk, "reviews", b"red", "a.txt")
    assert short["heat"]["length"] == 1
    for asked in ({"column": 2}, {"column": 0, "token": 0}):
        told = closer.field(desk, "reviews", short["sample"], **asked)
        assert [token.strip() for token in told["tokens"]] == ["red"]
        assert told["box"][0][0] == 0
    told = closer.field(desk, "reviews", found["reviews"][2]["sample"], column=0, token=0)
    ((start, stop),) = told["box"]
    assert 0 in range(start, stop)
    assert told["position"][0] > 0


def test_a_network_that_cannot_be_followed_is_not_followed_again(looked, monkeypatch):
    desk, _ = looked
    calls = []

    def fails(*given):
        calls.append(given)
        raise OptionError("It cannot be followed.")

    monkeypatch.setattr(look, "receptive_field", fails)
    for k in range(2):
        values = np.roll(SERIES, k)[:, :41]
        shown = look.show(desk, "curves", as_file(values), "a.npy")
        assert shown["heat"]["size"] is None
    assert len(calls) == 1


@pytest.mark.parametrize("affine", [None, np.eye(4)])
def test_panes_say_where_the_slices_of_a_volume_lie(affine):
    volume = Volume(np.zeros((1, 8, 10, 12), np.float32), (3.0, 1.0, 2.0), affine)
    at = (5, 2, 7)
    for pane in panes(volume):
        fixed = 3 - pane.rows - pane.columns
        for mark in ([1, 1, 1], [6, 8, 10]):
            mark[fixed] = at[fixed]
            heat = np.zeros(volume.size, np.float32)
            heat[tuple(mark)] = 1
            sheet = slices_heat(heat, volume, at)
            left, top, right, bottom = pane.box
            rows, columns = (heat.shape[axis] for axis in (pane.rows, pane.columns))
            down = (mark[pane.rows] + 0.5) / rows * (bottom - top)
            y = bottom - down if pane.upright else top + down
            assert pane.upright == (affine is not None)
            x = left + (mark[pane.columns] + 0.5) / columns * (right - left)
            assert sheet[int(y * sheet.shape[0]), int(x * sheet.shape[1])] > 0.5
