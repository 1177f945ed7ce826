"""The kinds of samples: what each does in a way of its own, and of which kind files are.

Whatever differs between kinds is named in `KINDS` and looked up there. Files are images or volumes
by their names, and TIFFs by their content, and so are .wav files series; texts, and other series,
are what the user says are such.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from PIL import Image

from convarium.data.decode import is_image_name
from convarium.data.names import Names
from convarium.data.samples import FileSamples
from convarium.data.volumes.tiff import holds_stack
from convarium.errors import OptionError, did_you_mean


@dataclass(frozen=True)
class Kind:
    """What one kind of samples does in a way of its own; `module:name` is loaded when it is used.

    Args:
        name: of the kind.
        dots: what a sample is made of.
        step: the first step of its preprocessing, by which a card is known.
        steps: the class of its preprocessing.
        fit: makes that from a training part: `(part, ids, **settings)`.
        settings: keywords of `fit_preprocessing` that it takes.
        survey: reads every sample once: `(samples, progress)`.
        ready: keeps samples ready for batches, as `data.pictures.Pictures` does.
        inputs: opens what is to be predicted: `(inputs, kind, columns)`.
        files: samples from files: `(root, names)`.
        suffixes: of the names of its files; of images and volumes other rules decide.
        split: divides a data set into parts where the usual rules do not hold.
        grouped: whether what is alike stays in one part without being asked for.
    """

    name: str
    dots: str
    step: str
    steps: str
    fit: str
    settings: tuple[str, ...] = ("size", "channels")
    survey: str = "convarium.data.surveying:survey_samples"
    ready: str = "convarium.data.pictures:Pictures"
    inputs: str = "convarium.data.opening:file_inputs"
    files: str = "convarium.data.samples:FileSamples"
    suffixes: tuple[str, ...] = ()
    split: str = ""
    grouped: bool = False

    def load(self, what: str) -> Any:
        """The class or function that one of the fields names.

        >>> KINDS["images"].load("steps").__name__
        'Preprocessing'
        """
        return _loaded(getattr(self, what))


_ALL = (
    Kind(
        "images",
        "pixels",
        "decode",
        "convarium.data.preprocessing:Preprocessing",
        "convarium.data.fitting:fit_images",
    ),
    Kind(
        "volumes",
        "voxels",
        "read_volume",
        "convarium.data.volumes.steps:VolumePreprocessing",
        "convarium.data.volumes.fitting:fit_volumes",
        settings=("size", "channels", "spacing"),
        files="convarium.data.volumes.samples:VolumeFiles",
    ),
    Kind(
        "texts",
        "tokens",
        "read_text",
        "convarium.data.texts.steps:TextPreprocessing",
        "convarium.data.texts.fitting:fit_texts",
        settings=("tokens",),
        survey="convarium.data.texts.surveying:survey_texts",
        ready="convarium.data.texts.ready:ReadyTexts",
        inputs="convarium.data.texts.opening:text_inputs",
        files="convarium.data.texts.samples:TextFiles",
        suffixes=(".txt",),
        grouped=True,
    ),
    Kind(
        "series",
        "time steps",
        "read_series",
        "convarium.data.series.steps:SeriesPreprocessing",
        "convarium.data.series.fitting:fit_series",
        settings=("series",),
        survey="convarium.data.series.surveying:survey_series",
        ready="convarium.data.series.ready:ReadySeries",
        inputs="convarium.data.series.opening:series_inputs",
        files="convarium.data.series.samples:SeriesFiles",
        suffixes=(".wav", ".npy"),
    ),
    Kind(
        "grids",
        "cells",
        "read_fields",
        "convarium.data.grids.steps:FieldPreprocessing",
        "convarium.data.grids.fitting:fit_grids",
        settings=("grids",),
        survey="convarium.data.grids.samples:survey_grids",
        ready="convarium.data.grids.ready:ReadyGrids",
        inputs="convarium.data.grids.samples:grid_inputs",
        suffixes=(".nc", ".nc4", ".cdf", ".netcdf", ".grib"),
        split="convarium.data.grids.splitting:split_grids",
    ),
)
KINDS: Final[Mapping[str, Kind]] = MappingProxyType({kind.name: kind for kind in _ALL})
_VOLUME = re.compile(r"\.(npy|npz|nii|nii\.gz)$", re.IGNORECASE)
_SOUND = re.compile(r"\.wav$", re.IGNORECASE)
_TIFF = re.compile(r"\.tiff?$", re.IGNORECASE)
_LOOKED_AT = 32


def steps_class(first: str) -> Any:
    """The class of the preprocessing that begins with a step; images' where no kind has it."""
    found = next((kind for kind in _ALL if kind.step == first), _ALL[0])
    return found.load("steps")


def check_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a preprocessing that are not None, if the kind takes them.

    Raises:
        OptionError: one belongs to other kinds.
    """
    said = {key: value for key, value in given.items() if value is not None}
    for key, value in said.items():
        if key not in KINDS[name].settings:
            owners = " and ".join(kind.name for kind in _ALL if key in kind.settings)
            raise OptionError(f"{key} (={value}) belongs to {owners}, and these are {name}.")
    return said


def check_kind(kind: str | None) -> None:
    """Refuse a word that is no kind.

    Raises:
        OptionError: so.
    """
    if kind is not None and kind not in KINDS:
        near = did_you_mean(kind, KINDS)
        raise OptionError(f"kind (={kind!r}) must be None or one of {', '.join(KINDS)}.{near}")


def is_sample_name(name: str, kind: str | None = None) -> bool:
    """Whether a file's name ends like that of a kind; without one, an image's, volume's or sound's.

    A TIFF may be both. Files of other kinds, such as texts, are taken where they are asked for.

    >>> is_sample_name("a.nii.gz"), is_sample_name("a.nii.gz", "images"), is_sample_name("a.tif")
    (True, False, True)
    """
    if kind is not None and KINDS[kind].suffixes:
        return name.lower().endswith(KINDS[kind].suffixes)
    image = kind != "volumes" and is_image_name(name)
    volume = kind != "images" and bool(_VOLUME.search(name) or _TIFF.search(name))
    return image or volume or (kind is None and bool(_SOUND.search(name)))


def file_samples(root: str, names: Names, kind: str | None) -> FileSamples:
    """Samples from files of one kind; without a kind, that of most names.

    What is of the other kind by its content cannot be read, and is skipped or stops the run like
    any file that is damaged.
    """
    found = kind_of(root, names) if kind is None else kind
    samples: FileSamples = KINDS[found].load("files")(root, names)
    return samples


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
            counts[_by_name(name)] += 1
    if len(tiffs) > abs(counts["volumes"] - counts["images"]):
        count = min(len(tiffs), _LOOKED_AT)
        looked = [tiffs[k * len(tiffs) // count] for k in range(count)]
        stacks = sum(is_stack(os.path.join(root, names.path(i))) for i in looked)
        counts["volumes" if 2 * stacks > len(looked) else "images"] += len(tiffs)
    return max(("images", "volumes", "series"), key=lambda kind: counts[kind])


def _by_name(name: str) -> str:
    if _SOUND.search(name):
        return "series"
    return "volumes" if _VOLUME.search(name) else "images"


def all_may_be(names: Names, kind: str) -> bool:
    """Whether each name may be that of a sample of a kind.

    >>> names = Names.of(["a.jpg", "b.tif"])
    >>> all_may_be(names, "images"), all_may_be(names, "volumes")
    (True, False)
    """
    return all(is_sample_name(names.path(i), kind) for i in range(len(names)))


@functools.cache
def _loaded(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


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
