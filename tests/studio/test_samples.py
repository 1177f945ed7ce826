"""The view of data: counts, copies across parts, pictures by number, what training sees."""

from __future__ import annotations

import io
import os
import shutil
import threading
import time
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asked import settled
from PIL import Image

from convarium import data, models, train
from convarium.errors import DataError, OptionError, RunError
from convarium.studio import samples, training
from convarium.studio.desk import Desk
from convarium.studio.opened import Opened, changed_at, open_data, open_run_data
from convarium.studio.pictured import drawn


def noise(seed, side=40):
    """A picture that is like no other."""
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Class folders below train and test, with a copy across them, a broken file and another."""
    root = tmp_path_factory.mktemp("studio") / "photos"
    for p, part in enumerate(("train", "test")):
        for k, name in enumerate(("ape", "bee", "cat")):
            (root / part / name).mkdir(parents=True)
            for i in range(6 - 3 * p):
                noise(100 * p + 10 * k + i).save(root / part / name / f"{i}.png")
    noise(0).save(root / "test" / "bee" / "copy.png")
    (root / "train" / "bee" / "broken.png").write_bytes(b"no picture")
    (root / "train" / "bee" / "notes.txt").write_text("a note")
    return root


def read(desk, run="", **how):
    """The facts, once everything is read."""
    return settled(samples.overview, desk, run, **how)["result"]


@pytest.fixture
def desk(photos):
    made = Desk([], str(photos))
    yield made
    made.jobs.close()


def test_counts_copies_and_what_was_left_out(desk):
    told = read(desk)
    assert told["classes"] == {"ape": 9, "bee": 10, "cat": 9}
    assert told["split"] == {"train": 18, "validation": 0, "test": 10}
    assert told["by_part"][1] == {"label": "bee", "train": 6, "validation": 0, "test": 4}
    assert (told["unreadable"], told["samples"]) == (1, 29)
    names = [row["name"] for row in told["skipped"]]
    assert {"train/bee/broken.png", "train/bee/notes.txt"} <= {*names}
    (copies,) = told["copies"]
    assert copies["crossing"]
    assert copies["differing"]
    assert [row["name"] for row in copies["samples"]] == ["test/bee/copy.png", "train/ape/0.png"]
    assert told["copies_crossing"] == 1
    assert ElementTree.fromstring(told["balance"]).tag.endswith("svg")


def test_samples_are_filtered_and_turned_over(desk):
    read(desk)
    whole = [samples.page(desk, start=k, count=10) for k in (0, 10, 20)]
    assert [page["total"] for page in whole] == [28] * 3
    ids = [row["id"] for page in whole for row in page["samples"]]
    assert len({*ids}) == 28
    bees = samples.page(desk, part="test", label="bee", name="COPY")
    assert [row["name"] for row in bees["samples"]] == ["test/bee/copy.png"]
    assert bees["samples"][0]["label"] == "bee"


def test_a_picture_is_the_sample_whole_pixel_by_pixel(desk, photos):
    read(desk)
    row = samples.page(desk, name="train/ape/3")["samples"][0]
    answer = samples.picture(desk, row["id"], side=160)
    assert answer.media == "image/png"
    shown = np.asarray(Image.open(io.BytesIO(answer.content)))
    own = np.asarray(Image.open(photos / "train" / "ape" / "3.png"))
    factor = len(shown) // len(own)
    assert 1 < factor * len(own) <= 160
    np.testing.assert_array_equal(shown, own.repeat(factor, 0).repeat(factor, 1))
    assert Image.open(io.BytesIO(samples.picture(desk, row["id"], side=16).content)).size == (
        16,
        16,
    )


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda desk: samples.picture(desk, -1), "from 0 to 28"),
        (lambda desk: samples.picture(desk, 29), "from 0 to 28"),
        (lambda desk: samples.picture(desk, 0, side=5000), "from 8 to 320"),
        (lambda desk: samples.page(desk, count=1000), "count from 1 to"),
        (lambda desk: samples.page(desk, start=-1), "start must be 0"),
        (lambda desk: samples.page(desk, part="../train"), "must be one of train"),
        (lambda desk: samples.page(desk, label="be"), "no class 'be'. Did you mean 'bee'"),
        (lambda desk: training.trained_on(desk, versions=99), "versions"),
        (lambda desk: samples.overview(desk, "../../etc"), "no run '../../etc'"),
    ],
)
def test_what_is_not_there_is_one_sentence(desk, ask, words):
    read(desk)
    with pytest.raises((OptionError, RunError), match=words):
        ask(desk)


def test_what_cannot_be_read_is_one_sentence(desk):
    read(desk)
    broken = next(i for i in range(29) if desk_name(desk, i).endswith("broken.png"))
    with pytest.raises(DataError, match=r"Cannot read train/bee/broken\.png"):
        samples.picture(desk, broken)
    with pytest.raises(OptionError, match="start it with --data"):
        samples.overview(Desk())
    with pytest.raises(DataError, match="/nowhere/at/all"):
        Desk([], "/nowhere/at/all")


def desk_name(desk, i):
    return open_data(desk.data).dataset.name(i)


def test_samples_wait_until_the_data_is_read(desk):
    until, go = time.monotonic() + 10, threading.Event()
    desk.jobs.ask("other work", lambda progress: go.wait(10), wait=0)
    with pytest.raises(DataError, match="is being read"):
        samples.page(desk)
    go.set()
    assert read(desk)["samples"] == samples.page(desk)["total"] + 1
    assert time.monotonic() < until


def test_training_is_shown_as_it_would_be_chosen(desk, photos):
    read(desk)
    told = training.trained_on(desk, samples=2, versions=3)
    assert not told["from_run"]
    dataset = data.open_dataset(photos)
    config = train.recommend(dataset).config
    assert any("flip" in line for line in told["settings"]) == config.flip
    pictures = ElementTree.fromstring(told["drawing"]).findall(".//{*}image")
    assert len(pictures) == 2 * (1 + 3)


@pytest.fixture(scope="session")
def run(photos, tmp_path_factory):
    """A run of one epoch on the photographs."""
    folder = tmp_path_factory.mktemp("runs") / "photos"
    parts = data.split(data.open_dataset(photos), validation=0.2, seed=3)
    steps = data.fit_preprocessing(parts.train, size=16)
    model = models.create("convnet", num_classes=3, channels=[4])
    config = train.TrainConfig(epochs=1, batch_size=8, pad_crop=3, seed=3)
    train.fit(model, parts, config, preprocessing=steps, out=folder)
    return folder, parts


def test_a_run_knows_its_split_and_its_settings(run):
    folder, parts = run
    desk = Desk([folder])
    told = read(desk, "photos")
    assert told["split"] == parts.counts
    assert told["remark"] == ""
    shown = samples.page(desk, "photos", part="validation", count=60)["samples"]
    assert sorted(row["id"] for row in shown) == sorted(parts.validation.ids.tolist())
    seen = training.trained_on(desk, "photos", samples=1, versions=1)
    assert seen["from_run"]
    assert "pad by 3 pixels and crop" in seen["settings"]
    assert samples.sources(desk)["sources"] == [{"run": "photos", "name": "photos"}]
    desk.jobs.close()


def test_a_training_anew_in_the_same_folder_is_read_anew(run, tmp_path):
    folder = tmp_path / "photos"
    shutil.copytree(run[0], folder)
    desk = Desk([folder])
    assert read(desk, "photos")["split"]["validation"] == run[1].counts["validation"]
    rows = pq.read_table(folder / "splits.parquet").to_pylist()
    kept = [row | {"part": "train"} for row in rows]
    pq.write_table(pa.Table.from_pylist(kept), folder / "splits.parquet")
    os.utime(folder / "config.toml", ns=(1, 1))
    assert read(desk, "photos")["split"] == {"train": len(rows), "validation": 0, "test": 0}
    (folder / "config.toml").unlink()
    with pytest.raises(RunError, match=r"no config\.toml"):
        samples.overview(desk, "photos")
    shutil.rmtree(folder)
    with pytest.raises(RunError, match="no run 'photos' here, or its folder is gone"):
        samples.overview(desk, "photos")
    desk.jobs.close()


def test_data_that_moved_or_changed_is_said_to_be(run, photos, tmp_path):
    folder, _ = run
    other = tmp_path / "other"
    for name in ("ape", "bee", "cat"):
        (other / name).mkdir(parents=True)
        noise(7).save(other / name / "0.png")
    copied = tmp_path / "copied"
    copied.mkdir()
    for name in ("config.toml", "splits.parquet"):
        (copied / name).write_bytes((folder / name).read_bytes())
    (copied / "preprocessing").mkdir()
    steps = "preprocessing/preprocessing.json"
    (copied / steps).write_bytes((folder / steps).read_bytes())
    config = copied / "config.toml"
    config.write_text(config.read_text().replace(str(photos), "/moved/photos"))
    with pytest.raises(DataError, match="start the studio with --data"):
        open_run_data(copied, None)
    assert "not the data" in open_run_data(copied, str(other)).remark
    assert open_run_data(copied, str(photos)).counts["test"] == 10
    with pytest.raises(DataError, match=r"the studio's own is not it: .*nowhere"):
        open_run_data(copied, "/nowhere")
    config.write_text(config.read_text().replace("/moved/photos", str(other)))
    assert "not the data" in open_run_data(copied, None).remark
    assert open_run_data(copied, str(photos)).remark == ""  # that which fits
    config.write_text(config.read_text().replace(str(other), "hf:somebody/photos"))
    assert open_run_data(copied, str(photos)).counts["test"] == 10  # and nobody asks the Hub
    with pytest.raises(DataError, match="--data hf:somebody/photos"):
        open_run_data(copied, None)
    (copied / "splits.parquet").write_bytes(b"cut")
    with pytest.raises(RunError, match="split of copied"):
        open_run_data(copied, str(photos))


def test_a_change_in_a_class_below_a_part_is_seen(tmp_path):
    (tmp_path / "train" / "ape").mkdir(parents=True)
    before = changed_at(str(tmp_path))
    os.utime(tmp_path / "train" / "ape", ns=(1, 1))
    assert changed_at(str(tmp_path)) != before


def test_a_field_is_drawn_coarse_beside_fine(tmp_path):
    xarray = pytest.importorskip("xarray")
    values = np.random.default_rng(0).normal(size=(6, 8, 12)).astype("f4")
    values[:, :4] += 100
    coords = {
        "time": xarray.date_range("1990-01-16", periods=6, freq="MS"),
        "lat": ("lat", np.linspace(70.0, 0.0, 8), {"units": "degrees_north"}),
        "lon": ("lon", np.arange(0.0, 360, 30), {"units": "degrees_east"}),
    }
    path = tmp_path / "warm.nc"
    fields = {"t": (("time", "lat", "lon"), values, {"units": "K"})}
    xarray.Dataset(fields, coords).to_netcdf(path, engine="h5netcdf")
    dataset = data.open_dataset(str(path), fields={"variables": ("t",), "factor": (4, 4)})
    shown = np.asarray(Image.open(io.BytesIO(drawn(dataset, 0, 26).content))).astype(int)
    assert shown.shape == (8, 12 + 2 + 12, 3)
    assert (shown[:, 12:14] == 255).all()
    coarse, fine = shown[:, :12], shown[:, 14:]
    assert (coarse[0, 0] == coarse[3, 3]).all()  # one cell
    assert np.abs(coarse - fine).mean() < 20 < np.abs(fine[0] - fine[-1]).mean()


def test_series_and_volumes_are_drawn(tmp_path):
    random = np.random.default_rng(0)
    values = "\n".join(
        ",".join(f"{v:.3f}" for v in random.normal(size=20)) + f":{'ab'[k % 2]}" for k in range(6)
    )
    head = "@problemName x\n@timeStamps false\n@univariate true\n@classLabel true a b\n@data\n"
    (tmp_path / "x.ts").write_text(head + values + "\n")
    volumes = random.integers(0, 99, (4, 1, 6, 8, 8)).astype(np.int16)
    np.savez(tmp_path / "v.npz", x=volumes, y=np.array([0, 1, 0, 1]), axes="CDHW")
    kinds = {}
    for name in ("x.ts", "v.npz"):
        desk = Desk([], str(tmp_path / name))
        told = read(desk)
        kinds[told["kind"]] = samples.picture(desk, 0).media
        assert samples.page(desk)["total"] == told["samples"]
        desk.jobs.close()
    assert kinds == {"series": "image/svg+xml", "volumes": "image/png"}


def test_series_are_shown_as_training_changes_them(tmp_path):
    steps = np.linspace(0, 6, 30)
    values = np.stack([np.sin(steps + k) for k in range(24)]).astype(np.float32)
    np.savez(tmp_path / "waves.npz", x=values[:, None], y=np.arange(24) % 2)
    opened = Opened(data.open_dataset(tmp_path / "waves.npz", kind="series"))
    opened.dataset.survey()
    assert samples.facts(opened)["shows_training"]
    told = training.augmented(opened, samples=2, versions=3)
    drawing = ElementTree.fromstring(told["drawing"])
    lines = [each for each in drawing.iter() if each.tag.endswith("polyline")]
    assert len(lines) >= 2 * (1 + 3)
    assert not told["from_run"]


def test_words_that_training_drops_are_shown_for_a_run_s_texts(tmp_path):
    rows = [f"a red shoe and a hat {k}{' hat' * 130},{'ab'[k % 2]}" for k in range(12)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    dataset = data.open_dataset(tmp_path / "texts.csv", text_column="text")
    dataset.survey()
    assert not samples.facts(Opened(dataset))["shows_training"]
    with pytest.raises(OptionError, match="texts of a run are shown here, not texts"):
        training.augmented(Opened(dataset))
    parts = data.split(dataset, validation=0.2)
    steps = data.fit_preprocessing(parts.train)
    config = train.TrainConfig(word_dropout=0.5)
    opened = Opened(dataset, config=config, preprocessing=steps)
    told = training.augmented(opened, samples=4, versions=3, epoch=2)
    assert told == training.augmented(opened, samples=4, versions=3, epoch=2)
    assert [len(text["dropped"]) for text in told["texts"]] == [3] * 4
    for text in told["texts"]:
        assert "".join(text["words"]).split()[:3] == ["a", "red", "shoe"]
        assert text["name"].endswith("; the first 120 of 137 words")
        assert all(len(gone) == len(text["words"]) == 120 for gone in text["dropped"])
    dropped = np.mean([gone for text in told["texts"] for gone in text["dropped"]])
    assert 0.2 < dropped < 0.7
