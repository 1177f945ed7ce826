"""`convarium neighbours VECTORS [--of ID] -k 10`: like items, and what the vectors are worth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convarium.cli.parsing import Parser, positive, write, write_json
from convarium.errors import DataError, OptionError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from convarium.predict import Neighbours, VectorQuality

_SAID = ("1", "true", "yes", "cold")


def add_arguments(parser: Parser) -> None:
    """The verb's own arguments."""
    parser.add_argument(
        "vectors", metavar="VECTORS", help="a .parquet file or folder of 'convarium embed'"
    )
    parser.add_argument(
        "--of", action="append", metavar="ID", help="an item; may be given several times (all)"
    )
    parser.add_argument("-k", type=positive, default=10, help="neighbours of each (10)")
    parser.add_argument(
        "--metric", choices=("cosine", "dot", "euclidean"), default="cosine", help="(cosine)"
    )
    parser.add_argument(
        "--index",
        choices=("none", "graph"),
        default="none",
        help="compare all, or search a graph of faiss, for very many vectors (none)",
    )
    parser.add_argument("--index-file", metavar="FILE", help="where the graph is kept")
    parser.add_argument("-o", "--output", metavar="FILE", help="write a .csv or .parquet file")
    group = parser.add_argument_group("what the vectors are worth")
    group.add_argument("--items", metavar="TABLE", help="a table with the items' classes")
    group.add_argument("--label", metavar="COLUMN", help="its column of classes")
    group.add_argument("--id", metavar="COLUMN", help="its column of ids (id)")
    group.add_argument("--cold", metavar="COLUMN", help="its column that says 1 of cold items")


def run(arguments: argparse.Namespace) -> int:
    """Search, and print, write or measure."""
    from convarium import predict

    _refuse_clashes(arguments)
    ids, vectors = predict.read_vectors(arguments.vectors)
    rows = None if arguments.of is None else _rows_of(ids, arguments.of)
    told: dict[str, Any] = {"n": len(ids), "length": vectors.shape[1], "k": arguments.k}
    index = None
    if arguments.index == "graph":
        index = predict.build_index(vectors, metric=arguments.metric, path=arguments.index_file)
        told["index_recall"] = predict.index_recall(
            vectors, index, arguments.k, metric=arguments.metric
        )
    found = predict.nearest(vectors, rows, arguments.k, metric=arguments.metric, index=index)
    quality = None
    if arguments.items is not None:
        quality = _quality(arguments, ids, vectors, found)
        told["quality"] = quality.to_json()
    asked = ids if rows is None else [ids[row] for row in rows]
    if arguments.output:
        predict.write_table(arguments.output, _lines(ids, asked, found))
        told["output"] = arguments.output
    elif quality is None:
        told["neighbours"] = list(_lines(ids, asked, found))
    _tell(arguments, told, quality)
    return 0


def _refuse_clashes(arguments: argparse.Namespace) -> None:
    """Flags that make no sense together, or without another."""
    from convarium import predict

    if arguments.output:
        predict.check_table_name(arguments.output)
    if arguments.index_file is not None and arguments.index == "none":
        raise OptionError("--index-file belongs to --index graph; add that, or leave it out.")
    for name in ("label", "id", "cold"):
        if getattr(arguments, name) is not None and arguments.items is None:
            raise OptionError(f"--{name} is a column of --items TABLE; add that.")
    if arguments.items is not None and arguments.label is None:
        raise OptionError("--items needs --label COLUMN, the items' classes.")
    if arguments.items is not None and arguments.of is not None:
        raise OptionError("--items measures all vectors; leave --of out.")
    if arguments.of is None and arguments.items is None and not arguments.output:
        raise OptionError("Say --of ID for some items, or -o FILE for the neighbours of all.")


def _rows_of(ids: Sequence[str], asked: Sequence[str]) -> NDArray[np.int64]:
    """Where the items stand."""
    import numpy as np

    places = {name: row for row, name in enumerate(ids)}
    for name in asked:
        if name not in places:
            raise DataError(f"There is no vector of {name!r}.{did_you_mean(name, ids[:10_000])}")
    return np.array([places[name] for name in asked], np.int64)


def _quality(
    arguments: argparse.Namespace,
    ids: Sequence[str],
    vectors: NDArray[np.float32],
    found: Neighbours,
) -> VectorQuality:
    """Measured by the table's classes, which every vector needs."""
    import numpy as np

    from convarium import predict

    labels, cold = _classes(arguments)
    missing = [name for name in ids if not labels.get(name)]
    if missing:
        raise DataError(
            f"{arguments.items} has no class for {len(missing)} of the {len(ids)} vectors, such as "
            f"{missing[0]!r}; embed the items of the table, or name its ids with --id."
        )
    marks = np.array([name in cold for name in ids]) if arguments.cold is not None else None
    return predict.vector_quality(vectors, [labels[name] for name in ids], found.places, cold=marks)


def _classes(arguments: argparse.Namespace) -> tuple[dict[str, str], set[str]]:
    """The class of each id, and the ids of cold items."""
    from convarium.data.table_rows import SUFFIXES, Columns, header_of, read_rows

    path = Path(arguments.items)
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        raise DataError(f"There is no table {path}; give a .csv, .tsv or .parquet file.")
    header = header_of(path)
    wanted = [arguments.id or "id", arguments.label, *filter(None, [arguments.cold])]
    for name in wanted:
        if name not in header:
            raise DataError(
                f"{path} has no column {name!r}, only {', '.join(header)}."
                + did_you_mean(name, header)
            )
    columns = Columns("", (wanted[1],), None, None, (wanted[0], *wanted[2:]))
    labels: dict[str, str] = {}
    cold: set[str] = set()
    for number, row in enumerate(read_rows(path, columns), start=1):
        name = row.get(wanted[0], "") or f"row {number}"
        labels[name] = row.get(wanted[1], "")
        if arguments.cold is not None and row.get(arguments.cold, "").lower() in _SAID:
            cold.add(name)
    return labels, cold


def _lines(
    ids: Sequence[str], asked: Sequence[str], found: Neighbours
) -> Iterator[dict[str, str | int | float]]:
    """One row for each pair."""
    for name, places, scores in zip(asked, found.places, found.scores, strict=True):
        for rank, (place, score) in enumerate(zip(places, scores, strict=True), start=1):
            yield {"id": name, "rank": rank, "neighbour": ids[place], "score": float(score)}


def _tell(
    arguments: argparse.Namespace, told: dict[str, Any], quality: VectorQuality | None
) -> None:
    """For programs or people."""
    if arguments.json:
        write_json(told)
        return
    if "index_recall" in told:
        write(f"the graph finds {told['index_recall']:.1%} of the true {arguments.k} nearest")
    for row in told.get("neighbours", ()):
        write(f"{row['id']}  {row['rank']:>3}  {row['score']:.4f}  {row['neighbour']}")
    for sentence in quality.sentences() if quality is not None else ():
        write(sentence)
    if "output" in told:
        write(f"neighbours of {told['n']} vectors of {told['length']}: {told['output']}")
