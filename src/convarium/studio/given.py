"""What somebody gave to be looked at: one file, or a text, as the run's kind of samples."""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from convarium.data import Dataset, Series, SeriesPreprocessing, open_inputs
from convarium.errors import DataError, OptionError
from convarium.predict import Run
from convarium.serve.bodies import PLAIN, Received
from convarium.serve.limits import Limits
from convarium.serve.samples import check_length, samples_of

_SUFFIX: Final = re.compile(r"(\.nii)?\.[a-z0-9]{1,8}$")
_SENT: Final = {"images": "", "texts": "", "series": ".wav"}  # what a server reads; "": any name
_NAMED: Final = 80


@dataclass(frozen=True)
class Given:
    """A collection of one sample, which a data set can hold.

    Args:
        kind: of the sample.
        value: what `Preprocessing.apply` takes.
        called: its name, for drawings.
        count: samples that the file holds.
    """

    kind: str
    value: Any
    called: str
    count: int = 1
    in_memory: ClassVar[bool] = True

    def __len__(self) -> int:
        return 1

    def name(self, i: int) -> str:
        """Name of the sample."""
        return self.called

    def read(self, i: int) -> Any:
        """The sample."""
        return self.value

    @property
    def size(self) -> int:
        """Bytes that it takes in memory."""
        values = getattr(self.value, "values", self.value)
        return int(getattr(values, "nbytes", 0)) or sys.getsizeof(values)

    @property
    def alone(self) -> Dataset:
        """A data set of this sample."""
        return Dataset(self, source=self.called)  # type: ignore[arg-type]


def read_given(run: Run, content: bytes, name: str, limits: Limits, which: int = 0) -> Given:
    """One sample from the bytes of a file.

    Images, texts and .wav files are read as a server reads them, other series and volumes as
    `convarium predict` does.

    Args:
        run: that takes it.
        content: of the file, or of a text.
        name: of the file; only its end is looked at.
        limits: of a request.
        which: of several samples in a file, from 0.

    Raises:
        DataError: it cannot be read.
        OptionError: the run takes gridded fields, or the file has no such sample.
        RefusedError: it is too large, or no such sample.
    """
    kind, called = run.preprocessing.kind, name[-_NAMED:] or "the sample"
    found = _SUFFIX.search(name.lower())
    suffix = found.group() if found else ""
    if kind == "grids":
        raise OptionError(
            "This run takes gridded fields, which are looked at time by time; use: "
            f"convarium downscale {run.folder} COARSE.nc -o FINE.nc"
        )
    if not content:
        raise DataError("The file is empty.")
    if kind in _SENT and _SENT[kind] in ("", suffix):
        (sent,) = samples_of(kind, Received(PLAIN, content), 1)
        return Given(kind, _checked(sent.read(sent.value, limits), run), called)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"sample{suffix}")
        path.write_bytes(content)
        columns = run.columns if kind == "series" else None
        dataset = open_inputs([str(path)], kind=kind, columns=columns)
        if not 0 <= which < len(dataset):
            raise OptionError(f"which (={which}) must be below {len(dataset)}, the file's samples.")
        try:
            value = dataset.samples.read(which)
        except DataError as error:
            raise DataError(f"The file cannot be read: {error}.") from error
        count = len(dataset)
    return Given(kind, _checked(value, run), called, count)


def _checked(value: Any, run: Run) -> Any:
    """The sample, where it does not fill the memory."""
    if isinstance(value, Series) and isinstance(run.preprocessing, SeriesPreprocessing):
        check_length(value, run.preprocessing)
    return value
