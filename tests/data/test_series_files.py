"""Files of series: .ts, tables long and wide, arrays, sound; and what is refused."""

from __future__ import annotations

import csv
import io
import threading
import warnings
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import wavfile
from sequences import waves, write_pair, write_ts

from convarium import data
from convarium.data.series.sound import read_wave, resampled
from convarium.data.series.times import times_of
from convarium.data.series.ts import read_ts
from convarium.errors import DataError, OptionError


def opened(path, **options) -> data.Dataset:
    return data.open_dataset(path, **{"kind": "series", **options})


def write_rows(path, rows) -> object:
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def long_rows(count=6, steps=5, label="label"):
    return [
        {"time": t, "series": f"s{k}", "x": k + t, "y": -t, label: "ab"[k % 2]}
        for k in range(count)
        for t in range(steps)
    ]


def test_a_pair_of_ts_files_gives_the_parts_by_either_name_or_their_folder(tmp_path):
    folder = write_pair(tmp_path / "ramps", channels=2)
    paths = [folder, folder / "Ramps_TRAIN.ts", folder / "Ramps_TEST.ts"]
    found = [data.open_dataset(path) for path in paths]  # the kind is known by the name
    for each in found:
        assert each.kind == "series"
        assert each.classes == ("down", "up")
        assert np.bincount(each.given).tolist() == [24, 0, 12]
        assert each.read(0).values.shape == (2, 30)
    assert len({each.fingerprint() for each in found}) == 1
    parts = data.split(found[0])
    assert parts.counts["test"] == 12
    assert 1 <= parts.counts["validation"] <= 6
    inputs = [data.open_inputs([path], kind="series") for path in paths]
    assert [len(each) for each in inputs] == [36, 24, 12]  # to predict, what is named
    assert np.array_equal(inputs[2].read(0).values, found[0].read(24).values)
    alone = write_ts(tmp_path / "one.ts", *waves(20))
    assert data.open_dataset(alone).given is None


def test_ts_reads_missing_values_lengths_times_numbers_and_any_case(tmp_path):
    path = tmp_path / "a.ts"
    path.write_text(
        "% a comment\n@PROBLEMNAME a\n@timestamps False\n@TargetLabel true\n@univariate false\n"
        "@data\n1,?,3:4,NaN,6:0.5\n\n# another\n7,8:9,10:-2\n"
    )
    found = read_ts(path)
    assert found.numbers
    assert found.labels == ["0.5", "-2"]
    assert [each.shape for each in found.series] == [(2, 3), (2, 2)]
    assert np.isnan(found.series[0]).tolist() == [[False, True, False], [False, True, False]]
    dataset = data.open_dataset(path)
    assert dataset.task == "regression"
    assert dataset.targets.ravel().tolist() == [0.5, -2]
    path.write_text(
        "@timeStamps true\n@classLabel true x y\n@data\n"
        "(2020-01-02 00:00,2),(2020-01-01 00:00,1):(1,3),(2,4):x\n(1,1),(2,2):(1,3),(2,4):y\n"
    )
    timed = read_ts(path)
    assert timed.series[0].tolist() == [[1, 2], [3, 4]]
    assert timed.labels == ["x", "y"]
    assert timed.unsorted == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("1,2:a\n", "in the header"),
        ("@classLabel true a\n", "no line @data"),
        ("@classLabel true a\n@data\n", "no series behind @data"),
        ("@classLabel true a\n@data\n1,two:a\n", "Line 3 .* no number"),
        ("@classLabel true a\n@data\n1,2:1,2,3:a\n", "Line 3 .* 2, 3 values"),
        ("@classLabel true a\n@data\n1,2:a\n1,2:3,4:a\n", "1 and 2 dimensions"),
        ("@timeStamps true\n@classLabel true a\n@data\n(1,2),(1,3):a\n", "time stamps twice"),
        ("@timeStamps true\n@classLabel true a\n@data\n(soon,2):a\n", "'soon'"),
        ("@nonsense\n@data\n1\n", "'@nonsense'"),
    ],
)
def test_a_damaged_ts_file_is_one_sentence(tmp_path, text, problem):
    path = tmp_path / "a.ts"
    path.write_text(text)
    with pytest.raises(DataError, match=problem):
        data.open_dataset(path)


def test_long_tables_in_csv_and_parquet_hold_the_same_series(tmp_path):
    rows = long_rows()
    write_rows(tmp_path / "a.csv", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found = [opened(tmp_path / name) for name in ("a.csv", "a.parquet")]
    named = opened(
        tmp_path / "a.csv", time_column="time", series_column="series", label_column="label"
    )
    for each in (*found, named):
        assert len(each) == 6
        assert each.name(2) == "s2"
        assert each.read(2).values.tolist() == [[2, 3, 4, 5, 6], [0, -1, -2, -3, -4]]
        assert [each.classes[k] for k in each.targets] == ["a", "b"] * 3
        assert each.samples.channels == ("x", "y")
    assert len({each.fingerprint() for each in (*found, named)}) == 1
    one = opened(tmp_path / "a.csv", series_column="series", value_column="y")
    assert one.read(0).values.tolist() == [[0, -1, -2, -3, -4]]


def test_rows_out_of_order_are_sorted_and_told_and_a_time_that_comes_twice_is_refused(tmp_path):
    rows = long_rows()
    shuffled = [rows[k] for k in np.random.default_rng(0).permutation(len(rows))]
    found = opened(write_rows(tmp_path / "a.csv", shuffled))
    straight = opened(write_rows(tmp_path / "b.csv", rows))
    order = [found.name(i) for i in range(6)]
    for i, name in enumerate(order):
        other = [straight.name(k) for k in range(6)].index(name)
        assert np.array_equal(found.read(i).values, straight.read(other).values)
    assert "were not in the order of 'time'" in found.notes[0]
    assert straight.notes == ()
    with pytest.raises(DataError, match=r"1 time stamps twice .* s0; keep one row"):
        opened(write_rows(tmp_path / "c.csv", [*rows, rows[0]]))
    for wrong, why in (("", ", neither"), ("NaT", ", neither"), ("2026-01-01", " beside numbers")):
        odd = [*rows[:4], {**rows[4], "time": wrong}, *rows[5:]]
        with pytest.raises(DataError, match=f"the time stamp '{wrong}'{why}"):
            opened(write_rows(tmp_path / "d.csv", odd))


def test_wide_tables_are_a_row_a_series_and_empty_cells_at_the_end_make_it_shorter(tmp_path):
    rows = [
        {"id": f"w{k}", "label": "ab"[k % 2], **{f"t{t}": k + t for t in range(4)}}
        for k in range(8)
    ]
    rows[1]["t3"] = rows[1]["t2"] = ""
    rows[2]["t1"] = ""
    found = opened(write_rows(tmp_path / "a.csv", rows))
    assert found.read(0).values.tolist() == [[0, 1, 2, 3]]
    assert found.read(1).values.tolist() == [[1, 2]]
    assert np.isnan(found.read(2).values).tolist() == [[False, True, False, False]]
    assert found.name(3) == "w3"
    assert found.survey().series.missing.tolist() == [0, 0, 1, 0, 0, 0, 0, 0]
    rows[4]["t0"] = "high"
    with pytest.raises(DataError, match=r"Row 5 .* no number .*'high'.* --time-column"):
        opened(write_rows(tmp_path / "b.csv", rows))


def test_columns_of_several_labels_and_of_numbers_are_read_by_their_task(tmp_path):
    rows = [
        {"series": f"s{k}", "x": t, "both": ("a;b", "b", "")[k % 3], "load": k / 7}
        for k in range(6)
        for t in range(3)
    ]
    path = write_rows(tmp_path / "a.csv", rows)
    several = opened(
        path, series_column="series", value_column="x", label_column="both", task="multilabel"
    )
    assert several.classes == ("a", "b")
    assert several.targets[:3].tolist() == [[1, 1], [0, 1], [0, 0]]
    numbers = opened(
        path, series_column="series", value_column="x", label_column="load", task="regression"
    )
    assert numbers.targets.ravel() == pytest.approx([k / 7 for k in range(6)])
    rows[0]["load"] = rows[1]["load"] = rows[2]["load"] = "nan"
    path = write_rows(tmp_path / "b.csv", rows)
    with pytest.raises(DataError, match=r"1 of 6 series .* 'nan' .* is no number"):
        opened(
            path, series_column="series", value_column="x", label_column="load", task="regression"
        )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"time_column": "hour"}, "no column 'hour'"),
        ({"value_column": ["x", "z"]}, "no column 'z'"),
        ({"label_column": "kind"}, "no column 'kind'"),
        ({"series_column": "x"}, "'s0' in the column 'series'"),
    ],
)
def test_columns_that_are_not_there_or_hold_no_numbers_are_named(tmp_path, options, problem):
    path = write_rows(tmp_path / "a.csv", long_rows())
    with pytest.raises(DataError, match=problem):
        opened(path, **options)


def test_truths_are_1_and_0_and_words_of_a_table_may_tell_series_apart(tmp_path):
    rows = [{**row, "y": ("True", "false", "")[row["time"] % 3]} for row in long_rows()]
    found = opened(write_rows(tmp_path / "a.csv", rows))
    assert found.read(0).values[1, :2].tolist() == [1, 0]
    assert np.isnan(found.read(0).values[1, 2])
    named = [{"sensor" if key == "series" else key: v for key, v in row.items()} for row in rows]
    with pytest.raises(DataError, match=r"'sensor', which is no number; .* by --series-column"):
        opened(write_rows(tmp_path / "b.csv", named), time_column="time")


def test_arrays_hold_one_channel_or_several_with_parts(tmp_path):
    values = np.random.default_rng(0).normal(size=(6, 2, 9))
    values[1, 0, 3] = np.nan
    labels = np.array([0, 1, 0, 1, 0, 1])
    np.savez(
        tmp_path / "a.npz", x_train=values, y_train=labels, x_test=values[:2], y_test=labels[:2]
    )
    found = opened(tmp_path / "a.npz")
    assert found.given.tolist() == [0] * 6 + [2] * 2
    assert found.read(0).values == pytest.approx(values[0])
    np.savez(tmp_path / "b.npz", x=values[:, 0], y=labels, classes=np.array(["no", "yes"]))
    flat = opened(tmp_path / "b.npz")
    assert flat.classes == ("no", "yes")
    assert flat.read(2).values.shape == (1, 9)
    np.savez(tmp_path / "f.npz", x=np.asfortranarray(values), y=labels)
    assert (opened(tmp_path / "f.npz").survey().digests == found.survey().digests[:6]).all()
    np.savez(tmp_path / "c.npz", x=np.array([{}], object), y=labels[:1])
    with pytest.raises(DataError, match="without unpickling"):
        opened(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", x=values[:3], y=labels)
    with pytest.raises(DataError, match="3 series in x and 6 labels"):
        opened(tmp_path / "d.npz")


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_any_width_are_one_sound(tmp_path, width):
    tone = np.sin(np.arange(400) / 9) * 0.6
    stereo = np.stack([tone, -tone], axis=1)
    top = 2 ** (8 * width - 1)
    numbers = np.round(stereo * top).astype(np.int64)
    raw = numbers + 128 if width == 1 else numbers
    content = b"".join(int(v).to_bytes(width, "little", signed=width > 1) for v in raw.ravel())
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(content)
    found = read_wave(str(tmp_path / "a.wav"))
    assert found.rate == 8000
    assert found.values.shape == (2, 400)
    folder = tmp_path / "sounds"
    for k, label in enumerate("abab"):
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{k}.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    assert np.unique(opened(folder).survey().digests).size == 1
    assert found.values == pytest.approx(stereo.T, abs=1.1 / top + 1e-7)


def test_folders_of_sound_are_known_by_name_and_rates_are_made_one(tmp_path):
    for k in range(8):
        rate = 4000 if k == 5 else 2000
        folder = tmp_path / "sound" / ("high", "low")[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        tone = np.sin(2 * np.pi * (200, 50)[k % 2] * np.arange(rate // 4) / rate)
        wavfile.write(folder / f"{k}.wav", rate, tone.astype(np.float32))
    (tmp_path / "sound" / "low" / "9.wav").write_bytes(b"RIFF....WAVE")
    found = data.open_dataset(tmp_path / "sound")
    assert found.kind == "series"
    assert found.classes == ("high", "low")
    found.survey(max_broken=0.2)
    assert [item.name for item in found.skipped] == ["low/9.wav"]
    usable = np.flatnonzero(found.survey().digests != 0)
    steps = data.fit_preprocessing(data.Part(found, usable))
    assert steps.rate == 2000
    assert steps.input_shape == (1, 500)
    other = next(i for i in usable.tolist() if found.read(i).rate == 4000)
    same = next(i for i in usable.tolist() if found.name(i).startswith("low") and i != other)
    one, two = steps.apply(found.read(other)), steps.apply(found.read(same))
    assert one.shape == two.shape
    assert np.corrcoef(one.numpy()[0, 20:-20], two.numpy()[0, 20:-20])[0, 1] > 0.999


def test_windows_are_cut_from_files_of_sound_and_one_that_is_damaged_is_listed(tmp_path):
    for k in range(12):
        folder = tmp_path / "ab"[k % 2]
        folder.mkdir(exist_ok=True)
        wavfile.write(folder / f"{k}.wav", 100, np.full(50, 1000 + k, np.int16))
    (tmp_path / "a" / "0.wav").write_bytes(b"no sound")
    found = data.open_dataset(tmp_path, window=20, stride=15)
    assert len(found) == 11 * 3
    assert found.name(0) == "a/10.wav 0-20"
    assert found.samples.rate == 100
    assert [item.name for item in found.skipped] == ["a/0.wav"]
    names = {found.name(i).split()[0][0]: found.classes[found.targets[i]] for i in range(33)}
    assert names == {"a": "a", "b": "b"}
    wavfile.write(tmp_path / "a" / "0.wav", 200, np.ones(50, np.int16))
    with pytest.raises(DataError, match="rates 100, 200, and windows need one"):
        data.open_dataset(tmp_path, window=20)


def test_a_table_of_paths_names_files_of_sound(tmp_path):
    rows = []
    for k in range(4):
        wavfile.write(tmp_path / f"{k}.wav", 100, np.full(50, k, np.int16))
        rows.append({"path": f"{k}.wav", "label": "ab"[k % 2]})
    path = write_rows(tmp_path / "a.csv", rows)
    for found in (data.open_dataset(path), opened(path, path_column="path")):
        assert found.kind == "series"
        assert found.read(3).values[0, 0] == pytest.approx(3 / 2**15)
        assert found.classes == ("a", "b")


def test_odd_rates_are_made_one_and_those_far_apart_are_refused():
    wave = np.sin(2 * np.pi * 5 * np.arange(1235) / 1234.5678).astype(np.float32)[None]
    found = resampled(data.Series(wave, 1234.5678), 2000.0)
    steps = np.arange(found.length)[20:-20]
    assert found.values[0, 20:-20] == pytest.approx(np.sin(np.pi * steps / 200), abs=2e-3)
    for rate in (0.5, 5e7):
        with pytest.raises(DataError, match="too far from 2000"):
            resampled(data.Series(wave, rate), 2000.0)


def test_columns_and_windows_of_series_are_refused_for_other_kinds(tmp_path):
    path = write_rows(tmp_path / "a.csv", long_rows())
    with pytest.raises(OptionError, match="images are asked for"):
        data.open_dataset(path, kind="images", time_column="time")
    with pytest.raises(OptionError, match="not one of series"):
        opened(path, text_column="x")
    with pytest.raises(OptionError, match="belongs to a table"):
        opened(write_pair(tmp_path / "ts"), time_column="time")
    with pytest.raises(OptionError, match="give window too"):
        opened(path, stride=3)
    with pytest.raises(DataError, match="no kind of series"):
        opened(__file__)


def test_a_rate_of_a_file_chooses_no_filter_that_fills_the_memory():
    wave = np.ones((1, 50), np.float32)
    assert resampled(data.Series(wave, 10.0), 1000.0).length == 5000
    with pytest.raises(DataError, match="too far"):  # 500001 / 1000: ten million numbers
        resampled(data.Series(wave, 1000 / 500.001), 1000.0)


def test_threads_that_read_sounds_leave_the_warnings_alone(tmp_path, monkeypatch):
    """Filters belong to the process: what one thread sets back would be another's."""
    wavfile.write(tmp_path / "a.wav", 100, np.ones(50, np.int16))
    whole = (tmp_path / "a.wav").read_bytes()
    read_wave(io.BytesIO(whole))
    before, read, both = list(warnings.filters), wavfile.read, threading.Barrier(2)
    seen = []

    def noting(path):
        both.wait(10)
        seen.append(warnings.filters == before)
        return read(path)

    monkeypatch.setattr(wavfile, "read", noting)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: read_wave(io.BytesIO(whole)).length, range(4)))
    assert found == [50] * 4
    assert seen == [True] * 4
    assert warnings.filters == before
    monkeypatch.undo()
    with pytest.raises(DataError, match="no sound"):
        read_wave(io.BytesIO(whole[:-10]))


def test_time_stamps_are_told_apart_to_the_nanosecond(tmp_path):
    start = 1_700_000_000_000_000_000
    stamps = [start + 100 * k for k in (2, 0, 1)]
    expected = [1.0, 2.0, 0.0]
    forms = {
        "numbers": pa.array(stamps),
        "dates": pa.array(stamps, pa.timestamp("ns", "UTC")),
        "texts": pa.array([f"2023-11-14T22:13:20.0000001{k}0" for k in (2, 0, 1)]),
    }
    for name, times in forms.items():
        table = pa.table({"t": times, "x": [0.0, 1.0, 2.0]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        found = data.open_inputs(
            [tmp_path / f"{name}.parquet"], kind="series", columns={"time_column": "t"}
        )
        assert found.read(0).values.tolist() == [expected]
    assert times_of(["1500-01-01", "1500-01-02"], "x").tolist() == sorted(
        times_of(["1500-01-02", "1500-01-01"], "x").tolist()
    )
