"""What the files of a data set are: images or volumes, by their names, and of TIFFs by content."""

from __future__ import annotations

import importlib.util
import os
import re
from collections import Counter

from PIL import Image

from convarium.data.decode import is_image_name
from convarium.data.names import Names
from convarium.data.samples import FileSamples
from convarium.data.volumes.samples import VolumeFiles
from convarium.data.volumes.tiff import holds_stack
from convarium.errors import OptionError, did_you_mean

KINDS = ("images", "volumes")
_VOLUME = re.compile(r"\.(npy|npz|nii|nii\.gz)$", re.IGNORECASE)
_TIFF = re.compile(r"\.tiff?$", re.IGNORECASE)
_LOOKED_AT = 32


def check_kind(kind: str | None) -> None:
    """Refuse a word that is no kind.

    Raises:
        OptionError: so.
    """
    if kind is not None and kind not in KINDS:
        near = did_you_mean(kind, KINDS)
        raise OptionError(f"kind (={kind!r}) must be None or one of {', '.join(KINDS)}.{near}")


def is_sample_name(name: str, kind: str | None = None) -> bool:
    """Whether a file's name ends like that of an image or of a volume; a TIFF may be both.

    >>> is_sample_name("a.nii.gz"), is_sample_name("a.nii.gz", "images"), is_sample_name("a.tif")
    (True, False, True)
    """
    image = kind != "volumes" and is_image_name(name)
    volume = kind != "images" and bool(_VOLUME.search(name) or _TIFF.search(name))
    return image or volume


def file_samples(root: str, names: Names, kind: str | None) -> FileSamples:
    """Samples from files of one kind; without a kind, that of most names.

    What is of the other kind by its content cannot be read, and is skipped or stops the run like
    any file that is damaged.
    """
    found = kind_of(root, names) if kind is None else kind
    return VolumeFiles(root, names) if found == "volumes" else FileSamples(root, names)


def kind_of(root: str, names: Names) -> str:
    """The kind of most files by their names.

    Where TIFFs decide, up to 32 of them, evenly spaced, are looked into: stacks of pages of one
    size are volumes, if more than half are.
    """
    counts: Counter[str] = Counter()
    tiffs: list[int] = []
    for i in range(len(names)):
        name = names.path(i)
        if _TIFF.search(name):
            tiffs.append(i)
        else:
            counts["volumes" if _VOLUME.search(name) else "images"] += 1
    if len(tiffs) > abs(counts["volumes"] - counts["images"]):
        count = min(len(tiffs), _LOOKED_AT)
        looked = [tiffs[k * len(tiffs) // count] for k in range(count)]
        stacks = sum(is_stack(os.path.join(root, names.path(i))) for i in looked)
        counts["volumes" if 2 * stacks > len(looked) else "images"] += len(tiffs)
    return "volumes" if counts["volumes"] > counts["images"] else "images"


def all_may_be(names: Names, kind: str) -> bool:
    """Whether each name may be that of a sample of a kind.

    >>> names = Names.of(["a.jpg", "b.tif"])
    >>> all_may_be(names, "images"), all_may_be(names, "volumes")
    (True, False)
    """
    return all(is_sample_name(names.path(i), kind) for i in range(len(names)))


def is_stack(path: str) -> bool:
    """Whether a TIFF holds a volume as it would be read; not one that is damaged.

    Without tifffile, which reads them, those with several pages of one size are taken for volumes.
    """
    if importlib.util.find_spec("tifffile") is not None:
        return holds_stack(path)
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            if not getattr(image, "is_animated", False):
                return False
            first = image.size
            image.seek(1)
            return bool(image.size == first)
    except Exception:  # a damaged file can raise anything; reading it will say what is wrong
        return False
