"""The members of tar archives, sample by sample, from their headers."""

from __future__ import annotations

import itertools
import operator
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from convarium.data.decode import is_image_name
from convarium.data.skipping import SkipList, Skipped

_LARGEST_LABEL = 2**20  # bytes


class ArchiveSample(NamedTuple):
    """The files of one name: for each ending where it begins and its size, and small contents."""

    key: str
    files: Mapping[str, tuple[int, int]]
    texts: Mapping[str, bytes]


class _Entry(NamedTuple):
    """One file in an archive."""

    name: str
    ending: str
    start: int
    size: int
    text: bytes | None


def archive_samples(file: Path, skipped: SkipList) -> Iterator[ArchiveSample]:
    """The samples of one archive in order; names that stand apart are samples of their own."""
    for name, some in itertools.groupby(_entries(file, skipped), key=operator.attrgetter("name")):
        entries = list(some)
        places = {entry.ending: (entry.start, entry.size) for entry in entries}
        texts = {entry.ending: entry.text for entry in entries if entry.text is not None}
        yield ArchiveSample(name, places, texts)


def _entries(file: Path, skipped: SkipList) -> Iterator[_Entry]:
    """The files in an archive, as far as it can be read."""
    begun = False
    try:
        with tarfile.open(file, "r:") as archive:
            for entry in _files(archive):
                begun = True
                yield entry
            _check_end(archive, file)
    except (tarfile.TarError, OSError) as error:
        reason = f"the archive cannot be read to its end ({error})"
        if not begun and isinstance(error, tarfile.TarError):
            reason = f"no tar archive ({error}); one that is compressed has to be unpacked to .tar"
        skipped.append(Skipped(file.name, reason))


def _check_end(archive: tarfile.TarFile, file: Path) -> None:
    """Refuse what is not the end, at which tarfile stops as if it were: no header, or nothing.

    Raises:
        ReadError: so.
    """
    with open(file, "rb") as raw:
        raw.seek(archive.offset)
        end = raw.read(tarfile.BLOCKSIZE)
    if any(end):
        raise tarfile.ReadError(f"damaged at byte {archive.offset}")
    if not end:
        raise tarfile.ReadError("the mark of its end is not there, so it may be cut short")


def _files(archive: tarfile.TarFile) -> Iterator[_Entry]:
    """Files with a name and an ending; of small ones that are no images also the content."""
    for member in archive:
        archive.members = []  # type: ignore[attr-defined]  # it would keep every header
        folder, slash, base = member.name.rpartition("/")
        stem, _, ending = base.partition(".")
        if member.size < 0:  # which would lead back to where it was
            raise tarfile.ReadError("a size below 0")
        if not (member.isfile() and stem and ending) or member.issparse():
            continue
        text = None
        if not is_image_name(base) and member.size <= _LARGEST_LABEL:
            reader = archive.extractfile(member)
            text = b"" if reader is None else reader.read()
        name = folder + slash + stem
        yield _Entry(name, ending.lower(), member.offset_data, member.size, text)
