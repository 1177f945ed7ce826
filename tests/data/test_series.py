"""Series on their way to a network: gaps, moments, masks, windows, parts, changes in training."""

from __future__ import annotations

import csv
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sequences import waves, write_pair, write_ts

from convarium import data
from convarium.data.augment.series import SeriesAugmentation
from convarium.data.preprocessing import Preprocessing
from convarium.data.series.filling import filled
from convarium.data.series.reading import Windows
from convarium.data.series.windows import NOWHERE, parts_in_time, window_spans
from convarium.errors import DataError, OptionError

NAN = float("nan")


def pair(tmp_path, **options) -> data.Parts:
    return data.split(data.open_dataset(write_pair(tmp_path / "ramps", **options)))


@given(
    arrays.arrays(np.float32, (2, 12), elements=st.floats(-9, 9, width=32)),
    arrays.arrays(np.bool_, (2, 12)),
)
def test_gaps_are_filled_by_straight_lines_as_another_library_does(values, gaps):
    series = np.where(gaps, np.float32(NAN), values)
    found = filled(series)
    for curve, gap, made in zip(series, gaps, found, strict=True):
        if gap.all():
            assert np.isnan(made).all()
            continue
        known = pd.Series(curve.astype(np.float64)).interpolate(limit_direction="both")
        assert made == pytest.approx(known.to_numpy(), abs=1e-5)
        assert np.array_equal(made[~gap], curve[~gap])


def test_moments_are_those_of_the_training_series_alone(tmp_path):
    parts = pair(tmp_path, channels=2, length=-40)
    steps = data.fit_preprocessing(parts.train)
    values = np.concatenate([parts.train.dataset.read(int(i)).values for i in parts.train.ids], 1)
    assert steps.mean == pytest.approx(values.astype(float).mean(1), abs=1e-6)
    assert steps.std == pytest.approx(values.astype(float).std(1), rel=1e-6)
    inputs = torch.cat([steps.apply(parts.train.dataset.read(int(i))) for i in parts.train.ids], 1)
    assert inputs.mean(1).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert inputs.std(1, unbiased=False).tolist() == pytest.approx([1, 1], abs=1e-5)
    own = data.fit_preprocessing(parts.train, series=data.SeriesOptions(normalise="series"))
    one = own.apply(parts.test.dataset.read(int(parts.test.ids[0])))
    assert one.mean(1).tolist() == pytest.approx([0, 0], abs=1e-5)
    assert one.std(1, unbiased=False).tolist() == pytest.approx([1, 1], abs=1e-5)
    none = data.fit_preprocessing(parts.train, series=data.SeriesOptions(normalise="none"))
    raw = parts.test.dataset.read(3)
    assert np.array_equal(none.apply(raw).numpy(), raw.values)


def test_the_steps_come_back_from_their_card_and_give_the_same_bits(tmp_path):
    parts = pair(tmp_path)
    options = data.SeriesOptions(missing="mark", normalise="series")
    for own in (None, options):
        steps = data.fit_preprocessing(parts.train, series=own)
        again = Preprocessing.from_card(steps.to_card())
        assert again == steps
        raw = parts.test.dataset.read(0)
        assert torch.equal(again.apply(raw), steps.apply(raw))
    card = steps.to_card()
    card["preprocessing"]["steps"][1]["between"] = "cubic"
    with pytest.raises(DataError, match="does not replay"):
        Preprocessing.from_card(card)
    with pytest.raises(OptionError, match="normalise"):
        data.SeriesOptions(normalise="batch")


def test_marks_say_where_a_value_was_missing_and_absent_channels_are_the_mean(tmp_path):
    series, labels = waves(20, channels=2)
    series[0][0, :3] = NAN
    series[1][1] = NAN
    dataset = data.open_dataset(write_ts(tmp_path / "a.ts", series, labels))
    part = data.Part(dataset, np.arange(20))
    steps = data.fit_preprocessing(part, series=data.SeriesOptions(missing="mark"))
    assert steps.input_shape == (4, 30)
    assert steps.network_options["in_channels"] == 4
    first, second = steps.apply(dataset.read(0)), steps.apply(dataset.read(1))
    assert first[2].tolist() == [1] * 3 + [0] * 27
    assert first[0, :3].tolist() == [first[0, 3].item()] * 3
    assert second[1].tolist() == [0] * 30
    assert second[3].tolist() == [1] * 30
    assert steps.apply(dataset.read(5))[2:].count_nonzero() == 0


def test_what_is_all_missing_constant_or_of_other_channels_is_defined(tmp_path):
    series, labels = waves(40)
    series[3][:] = NAN
    series[4][:] = 7.5
    dataset = data.open_dataset(write_ts(tmp_path / "a.ts", series, labels))
    dataset.survey()
    assert [(item.name, item.reason) for item in dataset.skipped] == [
        ("a/3", "all of its values are missing")
    ]
    steps = data.fit_preprocessing(
        data.Part(dataset, np.array([0, 4])), series=data.SeriesOptions(normalise="series")
    )
    assert steps.apply(dataset.read(4)).abs().max() == 0
    with pytest.raises(DataError, match="2 channels, and the network takes 1"):
        steps.apply(data.Series(np.zeros((2, 5), np.float32)))
    flat = data.open_dataset(write_ts(tmp_path / "b.ts", [np.ones((1, 9))] * 4, ["a", "b"] * 2))
    fixed = data.fit_preprocessing(data.Part(flat, np.arange(4)))
    assert fixed.std == (1.0,)


def test_batches_are_padded_and_their_mask_says_so(tmp_path):
    parts = pair(tmp_path, length=-40)
    steps = data.fit_preprocessing(parts.train)
    (batch,) = data.batches(parts.test, steps)
    lengths = [parts.test.dataset.read(int(i)).length for i in batch.index]
    assert batch.mask.sum(1).tolist() == lengths
    assert batch.inputs[0].shape[2] == max(lengths)
    assert batch.inputs[0].masked_select(~batch.mask.unsqueeze(1)).count_nonzero() == 0
    equal = pair(tmp_path / "equal")
    (whole,) = data.batches(equal.test, data.fit_preprocessing(equal.train))
    assert whole.mask is None


CHANGES = SeriesAugmentation(jitter=0.1, scaling=0.1, crop=0.7, time_mask=0.3, longest=40)


def test_changes_in_training_are_the_same_whatever_a_series_is_padded_to():
    lengths = torch.tensor([17, 40, 5])
    mask = torch.arange(40) < lengths.unsqueeze(1)
    series = torch.randn(3, 2, 40) * mask.unsqueeze(1)
    ids = np.array([4, 9, 2])
    padded = CHANGES.apply(series, ids, seed=1, epoch=2, mask=mask)
    assert padded.masked_select(~mask.unsqueeze(1)).count_nonzero() == 0
    for row, length in enumerate(lengths.tolist()):
        alone = CHANGES.apply(
            series[row : row + 1, :, :length], ids[row : row + 1], seed=1, epoch=2
        )
        assert torch.allclose(alone[0], padded[row, :, :length], atol=1e-6)


def test_marks_are_moved_by_crops_and_by_nothing_else():
    series = torch.cat([torch.randn(4, 1, 50), torch.ones(4, 1, 50)], 1)
    own = SeriesAugmentation(jitter=0.5, scaling=0.5, crop=0.5, time_mask=0.5, marks=1)
    found = own.apply(series, np.arange(4), seed=0, epoch=0)
    assert torch.allclose(found[:, 1], torch.ones(4, 50))
    assert not torch.allclose(found[:, 0], series[:, 0], atol=0.1)
    assert own.lines()[0] == "a window of 50% to 100% of the length, stretched"


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 9))
def test_windows_are_whole_and_as_many_as_fit(length, window, stride):
    spans = window_spans(length, Windows(window, stride))
    expected = [(s, s + window) for s in range(0, length, stride) if s + window <= length]
    assert [tuple(span) for span in spans.tolist()] == expected


@given(st.integers(40, 300), st.integers(1, 9), st.integers(1, 9))
def test_parts_in_time_are_in_order_and_a_window_apart(length, window, stride):
    spans = window_spans(length, Windows(window, stride))
    part = parts_in_time(spans, (0.6, 0.2, 0.2), apart=True)
    used = [spans[part == k] for k in range(3)]
    for earlier, later in pairwise(used):
        if len(earlier) and len(later):
            assert later[:, 0].min() - earlier[:, 1].max() >= window
    assert set(part.tolist()) <= {0, 1, 2, NOWHERE}


def table_of(path, series: int, steps: int, label) -> object:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "series", "x", "label"])
        random = np.random.default_rng(0)
        for k in range(series):
            for t in range(steps):
                writer.writerow([t, f"s{k}", random.normal(), label(k, t)])
    return path


def test_windows_of_one_series_stay_in_one_part_and_have_the_label_of_their_last_step(tmp_path):
    path = table_of(tmp_path / "a.csv", 12, 40, lambda k, t: "late" if t >= 20 else "early")
    with pytest.raises(DataError, match=r"changes along the series .*--window"):
        data.open_dataset(path, kind="series")
    found = data.open_dataset(path, kind="series", window=8, stride=4)
    assert len(found) == 12 * 9
    assert found.name(0) == "s0 0-8"
    ends = [int(found.name(i).split("-")[1]) for i in range(len(found))]
    assert [found.classes[k] for k in found.targets] == [
        "late" if end - 1 >= 20 else "early" for end in ends
    ]
    parts = data.split(found)
    sides = [{found.name(int(i)).split()[0] for i in part.ids} for part in
             (parts.train, parts.validation, parts.test)]  # fmt: skip
    assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
    assert found.columns["window"] == 8


def test_windows_of_a_single_series_are_split_by_time_with_a_gap(tmp_path):
    path = table_of(tmp_path / "a.csv", 1, 600, lambda _, t: "ab"[(t // 20) % 2])
    found = data.open_dataset(path, kind="series", window=10, stride=5)
    parts = data.split(found, validation=0.2, test=0.2)
    ends = [
        [tuple(map(int, found.name(int(i)).split()[1].split("-"))) for i in part.ids]
        for part in (parts.train, parts.validation, parts.test)
    ]
    assert min(ends[1])[0] - max(ends[0])[1] >= 10
    assert min(ends[2])[0] - max(ends[1])[1] >= 10
    assert parts.between == len(found) - sum(parts.counts.values())
    assert 0 < parts.between <= 2 * 5
    with pytest.raises(DataError, match="follow each other in time"):
        data.split_folds(found, 3)


def test_series_shorter_than_a_window_are_listed_and_none_long_enough_is_an_error(tmp_path):
    series, labels = waves(20, length=-30)
    path = write_ts(tmp_path / "a.ts", series, labels)
    short = [each.shape[1] < 20 for each in series]
    found = data.open_dataset(path, window=20)
    assert len(found.skipped) == sum(short)
    assert "shorter than the window of 20" in found.skipped[0].reason
    assert found.groups is not None
    with pytest.raises(DataError, match=r"No series .* the 500 time steps"):
        data.open_dataset(path, window=500)
    for wrong in (0, 2.5):
        with pytest.raises(OptionError, match=rf"window .={wrong}. must be 1 time step or more"):
            data.open_dataset(path, window=wrong)


def test_the_overview_tells_lengths_and_missing_values(tmp_path):
    series, labels = waves(10, length=-30, channels=3)
    series[2][0, :4] = NAN
    found = data.overview(data.open_dataset(write_ts(tmp_path / "a.ts", series, labels)))
    lengths = sorted(each.shape[1] for each in series)
    assert (found.widths[0], found.widths[2]) == (lengths[0], lengths[-1])
    assert (found.series.missing, found.series.values) == (1, 4)
    assert found.channels == 3
    assert found.to_json()["series"]["values"] == 4


def written(table, path, *, index):
    write = table.to_csv if path.suffix == ".csv" else table.to_parquet
    write(path, index=index)


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_an_index_that_pandas_wrote_is_no_channel_and_no_step(tmp_path, ending):
    steps = {"t": [*range(5)] * 8, "who": np.repeat([*"abcdefgh"], 5), "x": np.arange(40.0)}
    long = pd.DataFrame(steps | {"y": np.repeat([*"uvuvuvuv"], 5)}, index=np.arange(3, 83, 2))
    wide = pd.DataFrame({"label": [*"uv"], "0": [1.0, 2.0], "1": [3.0, 4.0]}, index=[7, 9])
    own = {"time_column": "t", "series_column": "who", "label_column": "y"}
    for name, table, said in (("long", long, own), ("wide", wide, {"kind": "series"})):
        plain, kept = (tmp_path / f"{name}-{index}{ending}" for index in (False, True))
        for path, index in ((plain, False), (kept, True)):
            written(table, path, index=index)
        one, two = (data.open_dataset(path, **said) for path in (plain, kept))
        assert len(one) == len(two) == (8 if table is long else 2)
        for i in range(len(one)):
            assert np.array_equal(one.read(i).values, two.read(i).values)
        assert any("pandas writes an index" in note for note in two.notes)
        assert not any("index" in note for note in one.notes)
    path = tmp_path / f"past{ending}"
    past = long.drop(columns="y")
    written(past, path, index=True)
    ahead = {"task": "forecast", "time_column": "t", "series_column": "who", "window": 2}
    found = data.open_dataset(path, **ahead, label_column="x")
    assert found.samples.channels == ("x",)
