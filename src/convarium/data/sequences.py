"""What sequences that are ready for batches share, whether texts or series."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from convarium.data.dataset import Dataset
from convarium.data.pictures import Gathered
from convarium.data.preprocessing import Preprocessing
from convarium.errors import DataError

Steps = TypeVar("Steps", bound=Preprocessing)


class ReadySequences(ABC, Generic[Steps]):
    """The sequences of a data set as a network takes them, one behind the other in memory.

    Args:
        dataset: the root data set.
        preprocessing: whose steps are used.
        keep: whether what they give may be kept.

    Raises:
        DataError: the preprocessing is another kind's.
    """

    steps_class: ClassVar[type[Preprocessing]]

    def __init__(self, dataset: Dataset, preprocessing: Steps, *, keep: bool) -> None:
        if not isinstance(preprocessing, self.steps_class):
            kind = self.steps_class.kind
            raise DataError(
                f"{kind.capitalize()} take a preprocessing of {kind}; give the run's own."
            )
        self.dataset, self.preprocessing = dataset, preprocessing
        self._lock = threading.Lock()
        self._starts = np.zeros(1, np.int64)  # where each begins, and the last one ends
        self._reasons: dict[int, str] = {}
        self._keep = keep

    @abstractmethod
    def gather(self, ids: NDArray[np.int64]) -> Gathered:
        """Some sequences, padded to the longest of them; safe in threads."""

    def gather_crops(self, ids: NDArray[np.int64], draws: Any) -> Gathered:
        """The same: what is cut out of a sequence is cut when it is changed."""
        return self.gather(ids)
