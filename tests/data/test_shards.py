"""Data in shards against the same pictures in folders, and against the library's own reading."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from forked import Forked, execute
from sharded import (
    CLASSES,
    picture,
    table,
    tar_members,
    write_folder,
    write_parquets,
    write_tar,
    write_tars,
)

from convarium import data
from convarium.data.shards.hub import parse_address
from convarium.data.shards.places import part_of, ranges
from convarium.errors import DataError, MissingExtraError, OptionError


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def opened(kind: str, root: Path, count: int = 24) -> data.Dataset:
    if kind == "tar":
        write_tars(root / "tar", count, 3)
    elif kind == "parquet":
        write_parquets(root / "parquet", count, 3)
    elif kind == "saved":
        table(range(count)).save_to_disk(str(root / "saved"))
    else:
        return data.open_dataset(table(range(count)))
    return data.open_dataset(root / kind)


def contents(dataset: data.Dataset) -> list[tuple[int, str]]:
    """(digest of the pixels, class name) of all samples, sorted."""
    digests = dataset.survey().digests.tolist()
    return sorted(zip(digests, (dataset.classes[k] for k in dataset.targets), strict=True))


@pytest.mark.parametrize("kind", ["tar", "parquet", "saved", "memory"])
def test_shards_hold_what_the_same_files_in_folders_hold(kind, tmp_path):
    files = data.open_dataset(write_folder(tmp_path / "folder", 24))
    shards = opened(kind, tmp_path)
    assert shards.classes == files.classes == CLASSES
    assert contents(shards) == contents(files)
    assert shards.image_size == (12, 12)
    again = pickle.loads(pickle.dumps(shards))
    assert np.array_equal(again.read(5), shards.read(5))
    assert again.fingerprint() == shards.fingerprint()


def test_an_archive_is_read_as_the_library_reads_webdataset(tmp_path):
    files = []
    for shard in range(2):
        ids = range(5 * shard, 5 * shard + 5)
        members = [(f"a/{k}.png", picture(k)) for k in ids] + [
            (f"a/{k}.cls", b"%d" % k) for k in ids
        ]
        members.sort(key=lambda member: member[0].partition(".")[0])
        files.append(write_tar(tmp_path / "tars" / f"{shard}.tar", members))
    ours = data.open_dataset(tmp_path / "tars")
    theirs = datasets.load_dataset(
        "webdataset", data_files=[str(file) for file in files], split="train"
    )
    assert [f"{Path(row['__url__']).name}/{row['__key__']}" for row in theirs] == [
        ours.name(i) for i in range(len(ours))
    ]
    for i, row in enumerate(theirs):
        assert np.array_equal(np.asarray(row["png"]), ours.read(i))
        assert str(row["cls"]) == ours.classes[ours.targets[i]]


def test_names_of_shards_give_the_parts_and_a_sample_in_two_is_found(tmp_path):
    write_tars(tmp_path, 24, 2, "train")
    write_tars(tmp_path, 6, 1, "shapes-val")
    write_tars(tmp_path, 9, 1, "test")
    parts = data.split(data.open_dataset(tmp_path))
    assert parts.counts == {"train": 24, "validation": 6, "test": 9}
    assert parts.crossing == 24 - 15 + 6 + 9  # the first nine are in several parts, six in three
    shards = data.open_dataset(f"{tmp_path}/train-{{0000..0001}}.tar")
    assert len(shards) == 24
    assert shards.given is not None
    assert ranges("a-{8..10}.tar") == ["a-8.tar", "a-9.tar", "a-10.tar"]
    assert part_of("trainers-0.tar") is None


def test_a_data_set_dictionary_gives_its_parts_and_names_what_is_left_out(tmp_path):
    made = datasets.DatasetDict(
        train=table(range(12)), test=table(range(12, 18)), extra=table(range(18, 21))
    )
    made.save_to_disk(str(tmp_path / "saved"))
    shards = data.open_dataset(tmp_path / "saved")
    parts = data.split(shards)
    assert parts.counts["test"] == 6
    assert parts.counts["train"] + parts.counts["validation"] == 12
    assert [item.name for item in shards.skipped] == ["extra"]
    assert shards.name(12) == "test/0"


def test_class_labels_keep_their_order_and_a_row_without_one_is_skipped():
    features = datasets.Features(
        {"pic": datasets.Image(), "kind": datasets.ClassLabel(names=["z", "unused", "a"])}
    )
    rows = {
        "pic": [{"bytes": picture(k), "path": None} for k in range(20)],
        "kind": [2, 0] * 9 + [0, -1],
    }
    shards = data.open_dataset(datasets.Dataset.from_dict(rows, features=features))
    assert shards.classes == ("z", "a")
    assert shards.targets.tolist() == [1, 0] * 9 + [0]
    assert [(item.name, item.reason) for item in shards.skipped] == [
        ("row/19", "the row has no label")
    ]


def test_lists_are_several_labels_and_numbers_are_numbers_where_that_is_asked_for(tmp_path):
    made = table(range(6), tags=[["x"], ["y", "x"], [], ["y"], ["x"], ["y"]])
    made = made.add_column("width [mm]", [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])
    several = data.open_dataset(made, label_column="tags")
    assert several.task == "multilabel"
    assert several.classes == ("x", "y")
    assert several.targets.tolist() == [[1, 0], [1, 1], [0, 0], [0, 1], [1, 0], [0, 1]]
    numbers = data.open_dataset(made, label_column="width [mm]", task="regression")
    assert (numbers.classes, numbers.units) == (("width",), ("mm",))
    assert numbers.targets[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    grouped = data.open_dataset(table(range(6), who=["a", "a", "b", "b", None, None]),
                                group_column="who")  # fmt: skip
    assert grouped.groups.tolist() == [0, 0, 1, 1, 2, 3]
    with pytest.raises(OptionError, match="holds lists"):
        data.open_dataset(made, label_column="tags", task="regression")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path_column": "photo"}, "no column 'photo'. Columns: image, label"),
        ({"path_column": "label"}, "images must be the library's Image"),
        ({"label_column": "lable"}, "Did you mean 'label'"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(options, words):
    with pytest.raises(DataError, match=words):
        data.open_dataset(table(range(6)), **options)


def test_without_images_or_labels_the_flags_are_named(tmp_path):
    plain = datasets.Dataset.from_dict({"text": ["a", "b"], "size": [1, 2]})
    with pytest.raises(DataError, match="plainly the image; name it with --path-column"):
        data.open_dataset(plain)
    with pytest.raises(DataError, match="plainly the label; name it with --label-column"):
        data.open_dataset(table(range(4)).rename_column("label", "age").cast_column(
            "age", datasets.Value("int64")))  # fmt: skip
    members = [(name.replace(".cls", ".kind"), each) for name, each in tar_members(range(3))]
    write_tar(tmp_path / "a.tar", members)
    with pytest.raises(DataError, match=r"Its files end in: png, kind; name them with"):
        data.open_dataset(tmp_path / "a.tar")
    assert len(data.open_dataset(tmp_path / "a.tar", label_column="kind")) == 3


def test_labels_of_an_archive_may_stand_in_its_json(tmp_path):
    write_tar(tmp_path / "a.tar", tar_members(range(6), "json"))
    assert data.open_dataset(tmp_path / "a.tar").targets.tolist() == [0, 1, 2, 0, 1, 2]
    numbers = data.open_dataset(tmp_path / "a.tar", label_column="at", task="regression")
    assert numbers.targets[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_damaged_images_and_archives_that_are_cut_short_are_skipped_and_named(tmp_path):
    members = tar_members(range(40))
    members[6] = ("0003.png", members[6][1][:60])
    del members[9]  # the label of 0004
    file = write_tar(tmp_path / "a.tar", members)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 8 // 10 - 100])
    shards = data.open_dataset(file)
    shards.survey()
    told = {item.name: item.reason for item in shards.skipped}
    assert told["a.tar/0004"] == "no label"
    assert told["a.tar/0003"].startswith("damaged or cut short")
    assert "cannot be read to its end" in told["a.tar"]
    assert 30 < len(shards) < 39
    packed = tmp_path / "b.tar"
    packed.write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(DataError, match=r"b.tar: no tar archive .*unpacked"):
        data.open_dataset(packed)
    rows = {"image": [picture(0), picture(1), None], "label": ["a", "b", "a"]}
    empty = data.open_dataset(datasets.Dataset.from_dict(rows))
    empty.survey(max_broken=0.5)
    assert [(item.name, item.reason) for item in empty.skipped] == [
        ("row/2", "the row has no image")
    ]


def test_an_archive_that_lies_is_read_as_far_as_it_is_true(tmp_path):
    outside = tarfile.TarInfo("../../0001.png")
    link = tarfile.TarInfo("0002.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    huge = tarfile.TarInfo("0003.png")
    huge.size = 10**12
    content = picture(1)
    outside.size = len(content)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(outside, io.BytesIO(content))
        for name in ("../../0001.cls", "0002.cls"):
            label = tarfile.TarInfo(name)
            label.size = 3
            archive.addfile(label, io.BytesIO(b"cat"))
            archive.addfile(link)
        deep = tarfile.TarInfo("0004.json")
        deep.size = 60_000
        archive.addfile(deep, io.BytesIO(b"[" * 60_000))
        archive.addfile(tarfile.TarInfo("0004.png"))
        label.name = "0003.cls"
        archive.addfile(label, io.BytesIO(b"cat"))
        archive.fileobj.write(huge.tobuf())
        archive.fileobj.write(content)
    found = data.open_dataset(tmp_path / "a.tar")
    assert [found.name(i) for i in range(len(found))] == ["a.tar/../../0001"]
    assert found.read(0).shape == (12, 12, 3)
    told = {item.name: item.reason for item in found.skipped}
    assert told["a.tar/0002"] == "no image of that name"
    assert told["a.tar/0003"] == "the archive is cut short"
    assert told["a.tar/0004"] == "its .json cannot be read"


def test_what_follows_a_damaged_header_is_not_lost_silently(tmp_path):
    file = write_tar(tmp_path / "a.tar", tar_members(range(10)))
    with tarfile.open(file) as archive:
        place = archive.getmember("0005.png").offset
    with open(file, "r+b") as raw:
        raw.seek(place)
        raw.write(b"garbage")
    found = data.open_dataset(file)
    assert len(found) == 5
    assert f"damaged at byte {place}" in found.skipped[-1].reason


def test_an_archive_that_is_cut_between_two_files_is_named(tmp_path):
    file = write_tar(tmp_path / "a.tar", tar_members(range(10)))
    with tarfile.open(file) as archive:
        place = archive.getmember("0005.png").offset
    file.write_bytes(file.read_bytes()[:place])
    found = data.open_dataset(file)
    assert len(found) == 5
    ((name, reason),) = found.skipped
    assert name == "a.tar"
    assert "may be cut short" in reason


def test_a_range_with_a_gap_is_an_error(tmp_path):
    for file in write_tars(tmp_path, 12, 4)[1:3]:
        file.unlink()
    with pytest.raises(DataError, match=r"No file fits .*part-0001.tar of .*fetch it"):
        data.open_dataset(str(tmp_path / "part-{0000..0003}.tar"))


def test_labels_of_other_types_are_words(tmp_path):
    rows = {"image": [picture(k) for k in range(6)]}
    for labels in ([b"cat", b"dog"] * 3, ["cat", "dog"] * 3, [True, False] * 3):
        found = data.open_dataset(datasets.Dataset.from_dict({**rows, "label": labels}))
        assert found.classes in (["cat", "dog"], ("cat", "dog"), ("False", "True"))
    numbers = [1.0, float("nan"), 2.0, 1.0, 2.0, None]
    numbers = datasets.Dataset.from_dict({**rows, "label": numbers}).repeat(2)
    found = data.open_dataset(numbers, task="classification")
    assert (len(found), found.skipped[0].reason) == (8, "the row has no label")


def test_a_table_of_paths_in_parquet_is_still_a_table(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*.png"))
    columns = {"image": names, "label": [name[0] for name in names], "thumb": [b"x"] * len(names)}
    pq.write_table(pa.table(columns), folder / "all.parquet")
    assert len(data.open_dataset(folder / "all.parquet")) == 21


def test_what_cannot_be_opened_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="looks like hf:OWNER/NAME"):
        data.open_dataset("hf:a/b/c")
    with pytest.raises(DataError, match="No file fits the pattern"):
        data.open_dataset(str(tmp_path / "*.tar"))
    stream = datasets.IterableDataset.from_generator(iter, gen_kwargs={"o": [{}]})
    with pytest.raises(DataError, match="--stream"):
        data.open_dataset(stream)
    write_parquets(tmp_path / "p", 4, 1)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'convarium\[datasets\]'"):
        data.open_dataset(tmp_path / "p")
    assert parse_address("hf:cifar10") == ("cifar10", None, None)


TOLD = """
import os, sys
from dataset_hub import hub

def told():
    from convarium.cli import main
    for address in ("hf:me/shapes", "hf:me/others"):
        print(main(["data", address, "--json"]), flush=True)
    print("|")
    print("|", file=sys.stderr)

with hub(repository) as endpoint:
    os.environ["HF_ENDPOINT"] = endpoint
    told()
told()
"""


def test_an_address_is_fetched_once_and_found_again_without_the_network(tmp_path):
    write_parquets(tmp_path / "repo" / "data", 24, 2, "train")
    write_parquets(tmp_path / "repo" / "data", 9, 1, "test")
    (tmp_path / "repo" / "README.md").write_text("---\nlicense: mit\n---\n")

    environment = {**os.environ, "HF_HOME": str(tmp_path / "home")}
    names = {"repository": tmp_path / "repo"}
    done = Forked(execute, TOLD, names, folder=tmp_path, words=environment).wait()
    assert "Traceback" not in done.stderr, done.stderr
    here, gone = (text.removesuffix("0\n2\n") for text in done.stdout.split("|\n")[:2])
    unknown, lost, _ = done.stderr.split("|\n")
    facts = json.loads(here)
    assert facts["parts"] == {"train": 24, "test": 9}
    assert facts["classes"] == {"cat": 11, "dog": 11, "emu": 11}
    assert "does not give the data set me/others (Repository Not Found" in unknown
    assert json.loads(gone) == facts
    assert "Cannot read the data set me/others of the Hugging Face Hub" in lost
    assert "connect to the network" in lost
