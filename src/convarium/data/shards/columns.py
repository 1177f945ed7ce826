"""Which columns of a Hugging Face data set are images and labels, and what a label says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from convarium.data.labels import Cells, Labels, cells_of
from convarium.data.names import shown
from convarium.errors import DataError, OptionError, did_you_mean

_IMAGE = ("image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "pixel_values")
_LABEL = ("label", "labels", "class", "target", "category", "class_name", "fine_label", "cls")


class Columns(NamedTuple):
    """The names of the columns in use; None where there is none.

    Args:
        image: holds the images' bytes or paths.
        labels: hold the labels.
        group: holds what a split keeps together.
    """

    image: str
    labels: tuple[str, ...]
    group: str | None = None

    @property
    def keywords(self) -> dict[str, str | list[str]]:
        """They as the keywords of `open_dataset`."""
        named: dict[str, str | list[str]] = {"path_column": self.image}
        named["label_column"] = list(self.labels)
        return named if self.group is None else {**named, "group_column": self.group}


def find_columns(
    source: str,
    features: Mapping[str, Any],
    *,
    image: str | None = None,
    labels: Sequence[str] = (),
    group: str | None = None,
) -> Columns:
    """The columns that are named, or those with usual names, or the only ones of their kind.

    Args:
        source: for errors.
        features: the library's feature of each column.
        image, labels, group: names that were given.

    Raises:
        DataError: a column is not there or of another kind, or none can be chosen.
    """
    images = [name for name, feature in features.items() if is_image(feature)]
    sorted_out = [name for name, feature in features.items() if _class_label(feature) is not None]
    chosen = _column(source, features, image, _IMAGE, images, "image", "--path-column")
    if chosen not in images:
        raise DataError(
            f"The column {chosen!r} of {source} holds {features[chosen]}; images must be the "
            f"library's Image, or the bytes of image files. Columns: {_listed(features)}."
        )
    found = tuple(
        _column(source, features, name, _LABEL, sorted_out, "label", "--label-column")
        for name in labels or (None,)
    )
    if group is not None:
        _column(source, features, group, (), [], "group", "--group-column")
    return Columns(chosen, found, group)


def is_image(feature: Any) -> bool:
    """Whether a column holds image files: the Image feature, bytes, or bytes beside a path."""
    if isinstance(feature, Mapping):
        return "bytes" in feature
    kind = type(feature).__name__
    return kind == "Image" or str(getattr(feature, "dtype", "")) in ("binary", "large_binary")


def image_file(cell: Any) -> str | bytes:
    """Path or bytes from a cell of an image column.

    Raises:
        DataError: the cell is empty; the text is the reason alone.
    """
    content, path = cell, None
    if isinstance(cell, Mapping):
        content, path = cell.get("bytes"), cell.get("path")
    if content is not None:
        return bytes(content)
    if not path:
        raise DataError("the row has no image")
    if "://" in path:
        return _remote(path)
    return str(path)


def image_or_none(cell: Any) -> str | bytes | None:
    """The image of a cell; None for an empty one, which reading it alone will name."""
    try:
        return image_file(cell)
    except DataError:
        return None


class LabelReader:
    """From the cells of label columns to targets, one row after the other.

    A column of the library's ClassLabel keeps its names and their order; names that no row has are
    left out. A column of lists holds several labels a sample. Others are read as tables are.

    Args:
        source: for errors.
        features: the library's feature of each column.
        columns: which are labels.
        task: "classification", "multilabel", "regression", or None.
        every: keep the names that no row has.

    Raises:
        OptionError: the task does not fit the columns.
    """

    def __init__(
        self,
        source: str,
        features: Mapping[str, Any],
        columns: Columns,
        task: str | None,
        *,
        every: bool = False,
    ) -> None:
        self.names = [_class_label(features[name]) for name in columns.labels]
        self.every = every
        lists = [_item(features[name]) is not None for name in columns.labels]
        if any(lists) and (len(lists) > 1 or task not in (None, "multilabel")):
            raise OptionError(
                f"The column {columns.labels[lists.index(True)]!r} of {source} holds lists, which "
                "are several labels a sample; say --task multilabel and name no other column."
            )
        self.task = "multilabel" if any(lists) else task or "classification"
        self._lists = any(lists)
        self._cells: Cells = (
            _Lists(columns.labels[0]) if self._lists else cells_of(task, columns.labels)
        )

    @property
    def refused(self) -> int:
        """Rows whose cells are no label of the task."""
        return self._cells.refused

    def add(self, cells: Sequence[Any]) -> str | None:
        """Take in a row's cells, or give the reason why it has to be left out."""
        words = [self._words(cell, names) for cell, names in zip(cells, self.names, strict=True)]
        return self._cells.add(words)

    def labels(self) -> Labels:
        """All that was taken in.

        Raises:
            DataError: it cannot be what the task needs.
        """
        found, names = self._cells.labels(), self.names[0]
        if names is None or self.task == "regression":
            return found
        used = set(found.classes)
        order = [name for name in map(shown, names) if self.every or name in used]
        place = np.array([order.index(name) for name in found.classes], np.int64)
        if self.task == "classification":
            return Labels(order, place[found.targets])
        targets = np.zeros((len(found.targets), len(order)), np.float32)
        targets[:, place] = found.targets
        return Labels(order, targets)

    def _words(self, cell: Any, names: Sequence[str] | None) -> Any:
        if self._lists:
            return [_word(each, names) for each in cell or ()]
        return _word(cell, names)


class _Lists:
    """Several labels a sample, from lists of words."""

    def __init__(self, column: str) -> None:
        self.refused = 0
        self._column = column
        self._rows: list[tuple[int, ...]] = []
        self._words: dict[str, int] = {}

    def add(self, cells: Sequence[Any]) -> None:
        """The words of one row; an empty list has none."""
        words = filter(None, cells[0])
        self._rows.append(tuple({self._words.setdefault(w, len(self._words)): None for w in words}))

    def labels(self) -> Labels:
        """Labels in order, and for each sample 1 where it has them."""
        if not self._words:
            raise DataError(
                f"The column {self._column!r} has no label in any row; name another column."
            )
        targets = np.zeros((len(self._rows), len(self._words)), np.float32)
        for row, numbers in enumerate(self._rows):
            targets[row, list(numbers)] = 1
        order = sorted(self._words)
        return Labels(order, targets[:, [self._words[word] for word in order]])


def _word(cell: Any, names: Sequence[str] | None) -> str:
    """A cell as text; a class number as its name, and nothing for a number without one."""
    if cell is None or cell != cell:  # not a number
        return ""
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "backslashreplace")
    if names is None or isinstance(cell, str):
        return str(cell).strip()
    return shown(names[cell]) if 0 <= int(cell) < len(names) else ""


def _class_label(feature: Any) -> Sequence[str] | None:
    """The names of a ClassLabel, or of a list of them; None for another column."""
    feature = feature if (item := _item(feature)) is None else item
    names: Sequence[str] | None = getattr(feature, "names", None)
    return names if type(feature).__name__ == "ClassLabel" else None


def _item(feature: Any) -> Any:
    """What a column of lists holds; None for another column."""
    if isinstance(feature, list):
        return feature[0]
    lists = ("List", "LargeList", "Sequence")
    return feature.feature if type(feature).__name__ in lists else None


def _column(
    source: str,
    features: Mapping[str, Any],
    wanted: str | None,
    usual: Sequence[str],
    of_kind: Sequence[str],
    what: str,
    flag: str,
) -> str:
    """One column: as named, by its usual name, or the only one of its kind."""
    if wanted is not None and wanted in features:
        return wanted
    if wanted is None:
        by_lower = {name.lower(): name for name in reversed(list(features))}
        found = [by_lower[name] for name in usual if name in by_lower]
        fitting = [name for name in found if name in of_kind] or found
        if what == "image":
            fitting = [name for name in fitting if name in of_kind]
        if fitting:
            return fitting[0]
        if len(of_kind) == 1:
            return of_kind[0]
        problem = f"{source} has no column that is plainly the {what}; name it with {flag}"
    else:
        problem = f"{source} has no column {wanted!r}"
    hint = did_you_mean(wanted or usual[0], features)
    raise DataError(f"{problem}. Columns: {_listed(features)}.{hint}")


def _listed(features: Iterable[str]) -> str:
    return ", ".join(features) or "none"


def _remote(address: str) -> bytes:
    """The bytes of a file elsewhere, by the library's own file systems."""
    import fsspec

    try:
        with fsspec.open(address, "rb") as file:
            return bytes(file.read())
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise DataError(f"{address} cannot be read ({error})") from error
