"""Which vectors lie near one another: all compared in blocks, or through an index of faiss.

    cosine     s = q.v / (|q| |v|)          dot   s = q.v          euclidean   s = -|q - v|

A larger score is nearer. The exact search compares 1,024 queries with 65,536 vectors at a time and
keeps the best k, so that its memory does not grow with either. The index is a navigable small
world graph: quick for millions of vectors, and not always right; `index_recall` says how often.

References:
    Malkov, Yashunin (2016), "Efficient and robust approximate nearest neighbor search using
    hierarchical navigable small world graphs", arXiv:1603.09320, algorithms 1 and 5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convarium import files, seeds
from convarium.errors import DataError, OptionError, import_extra
from convarium.files import atomic

METRICS: Final = ("cosine", "dot", "euclidean")
_QUERIES, _BLOCK = 1024, 65_536
_LINKS, _BUILD, _SEARCH = 32, 80, 128  # of the graph: M, efConstruction, efSearch
_ASKED = 1000  # queries of `index_recall`
_ROUNDING = 1e-5  # of a score, which faiss and torch compute in different ways


class Neighbours(NamedTuple):
    """The nearest others of some vectors.

    Args:
        places: rows of the vectors, nearest first, int64 `(Q, k)`.
        scores: of them, larger is nearer, float32 `(Q, k)`.
    """

    places: NDArray[np.int64]
    scores: NDArray[np.float32]


def nearest(
    vectors: NDArray[np.float32],
    queries: NDArray[np.int64] | None = None,
    k: int = 10,
    *,
    metric: str = "cosine",
    index: Any = None,
) -> Neighbours:
    """The k nearest others of each vector that is asked for; fewer where there are no more.

    Args:
        vectors: `(N, D)`, two or more.
        queries: rows that are asked for, `(Q,)`; None asks for all.
        k: how many.
        metric: "cosine", "dot" or "euclidean".
        index: what `build_index` gave for these vectors; None compares all.

    Raises:
        OptionError: an unknown metric, or a k below 1.
        DataError: fewer than two vectors, numbers that are not finite, or an index of others.

    >>> found = nearest(np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32), k=1)
    >>> found.places.tolist()
    [[1], [0], [1]]
    """
    ready = _ready(vectors, metric, k)
    rows = np.arange(len(vectors)) if queries is None else np.asarray(queries, np.int64)
    k = min(k, len(vectors) - 1)
    if index is not None:
        return _through(index, ready, rows, k, metric)
    return _compared(ready, rows, k, metric)


def build_index(
    vectors: NDArray[np.float32], *, metric: str = "cosine", path: str | Path | None = None
) -> Any:
    """A graph of faiss over the vectors.

    Args:
        vectors: `(N, D)`.
        metric: "cosine" or "euclidean".
        path: where it is read from if it is there, and written to if not, with `path`.json beside
            it, which says of which vectors and metric it is; None keeps it in memory.

    Raises:
        OptionError: another metric: a graph needs distances.
        DataError: the file holds an index of other vectors or another metric, or does not say.
        MissingExtraError: faiss is not installed.
    """
    if metric not in ("cosine", "euclidean"):
        raise OptionError(f"metric (={metric!r}) must be cosine or euclidean for an index.")
    faiss = import_extra("faiss", "neighbours")
    ready = _ready(vectors, metric, 1)
    told = {"format_version": 1, "metric": metric, "vectors": _digest(vectors)}
    if path is not None and Path(path).exists():
        return _kept(faiss, path, ready, told)
    index = faiss.IndexHNSWFlat(ready.shape[1], _LINKS)
    index.hnsw.efConstruction = _BUILD
    index.add(ready.numpy())
    if path is not None:
        with atomic(path) as temporary:
            faiss.write_index(index, str(temporary))
        files.write_json(_beside(path), told)
    return index


def index_recall(
    vectors: NDArray[np.float32], index: Any, k: int = 10, *, metric: str = "cosine"
) -> float:
    """Share of the k nearest that an index finds, for 1,000 vectors that are drawn.

    What it finds is right where it is as near as the true kth, since of equal vectors any will do.
    """
    asked = seeds.permutation(len(vectors), 0, "index")[:_ASKED]
    farthest = nearest(vectors, asked, k, metric=metric).scores[:, -1:]
    found = nearest(vectors, asked, k, metric=metric, index=index).scores
    rounding = _ROUNDING * np.maximum(np.abs(farthest), metric == "cosine")
    return float((found >= farthest - rounding).mean())


def _kept(faiss: Any, path: str | Path, ready: Tensor, told: Mapping[str, Any]) -> Any:
    """The index in a file, if it is of these vectors."""
    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise DataError(f"{path} is no index of faiss; remove it, or name another.") from error
    if (index.ntotal, index.d) != ready.shape:
        raise DataError(
            f"{path} is an index of {index.ntotal} vectors of {index.d}, and there are "
            f"{len(ready)} of {ready.shape[1]}; remove it, or name another."
        )
    before = files.read_json(_beside(path)) if _beside(path).exists() else {}
    differing = [name for name in told if before.get(name) != told[name]]
    if differing:
        other = f"of other {differing[-1]}" if differing[-1] in before else "of unknown vectors"
        raise DataError(f"{path} is an index {other}; remove it, or name another.")
    return index


def _beside(path: str | Path) -> Path:
    return Path(f"{path}.json")


def _digest(vectors: NDArray[np.float32]) -> str:
    return hashlib.blake2b(np.ascontiguousarray(vectors, np.float32).data).hexdigest()[:32]


def _ready(vectors: NDArray[np.float32], metric: str, k: int) -> Tensor:
    """The vectors as they are compared: of length 1 for the cosine."""
    if metric not in METRICS:
        raise OptionError(f"metric (={metric!r}) must be one of {', '.join(METRICS)}.")
    if k < 1:
        raise OptionError(f"k (={k}) must be 1 or more.")
    if vectors.ndim != 2 or len(vectors) < 2:
        raise DataError(f"vectors {vectors.shape} must be (N, D) with N of 2 or more.")
    if not np.isfinite(vectors).all():
        raise DataError("A vector holds a number that is not finite; leave it out.")
    found = torch.from_numpy(np.ascontiguousarray(vectors, np.float32))
    return torch.nn.functional.normalize(found, dim=1) if metric == "cosine" else found


def _compared(ready: Tensor, rows: NDArray[np.int64], k: int, metric: str) -> Neighbours:
    """The best k of all others, some queries at a time."""
    places = np.empty((len(rows), k), np.int64)
    scores = np.empty((len(rows), k), np.float32)
    for start in range(0, len(rows), _QUERIES):
        some = slice(start, start + _QUERIES)
        best, where = _exact(ready, torch.from_numpy(rows[some]), k, metric)
        places[some], scores[some] = where.numpy(), best.numpy()
    return Neighbours(places, scores)


def _exact(ready: Tensor, rows: Tensor, k: int, metric: str) -> tuple[Tensor, Tensor]:
    """Scores and places of the best k of all blocks, each query's own row left out."""
    queries = ready[rows]
    best = torch.full((len(rows), k), -torch.inf)
    where = torch.full((len(rows), k), -1)
    for start in range(0, len(ready), _BLOCK):
        block = ready[start : start + _BLOCK]
        if metric == "euclidean":
            scores = -torch.cdist(queries, block, compute_mode="donot_use_mm_for_euclid_dist")
        else:
            scores = queries @ block.T
        own = (rows >= start) & (rows < start + len(block))
        scores[own, rows[own] - start] = -torch.inf
        found, places = scores.topk(min(k, len(block)), dim=1)
        both = torch.cat([best, found], 1)
        best, taken = both.topk(k, dim=1)
        where = torch.cat([where, places + start], 1).gather(1, taken)
    return best, where


def _through(index: Any, ready: Tensor, rows: NDArray[np.int64], k: int, metric: str) -> Neighbours:
    """What the graph finds; where it leads to fewer, as among equal vectors, all are compared."""
    if (index.ntotal, index.d) != tuple(ready.shape):
        raise DataError(f"The index is of {index.ntotal} other vectors; build it anew.")
    index.hnsw.efSearch = max(_SEARCH, 2 * k)
    squares, found = index.search(ready.numpy()[rows], k + 1)
    kept = found != rows[:, None]
    kept[kept.all(1), -1] = False  # its own row was not found: the farthest goes
    places = found[kept].reshape(len(rows), k)
    square = squares[kept].reshape(len(rows), k)
    scores = 1 - square / 2 if metric == "cosine" else -np.sqrt(square.clip(min=0))
    told = Neighbours(places.astype(np.int64), scores.astype(np.float32))
    fewer = np.flatnonzero((found < 0).any(1))
    if len(fewer):
        told.places[fewer], told.scores[fewer] = _compared(ready, rows[fewer], k, metric)
    return told
