"""Write docs/families: a page and a drawing for each family, from its docstring and its rows.

What is written here stands nowhere else: to change a page, change the family's file, the catalogue
(`tools/write_catalogue.py`) or the published weights, and run this again.

Run by `make families`, or: python tools/write_families.py
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from convarium import report
from convarium.models import catalogue, docstrings, options, registry, weights
from convarium.models.structure import Part
from convarium.report.network import shape_words

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "families"
Row = Mapping[str, Any]


def main() -> int:
    """Write every file, and drop those of families that are gone."""
    wanted = files()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


def files() -> dict[str, str]:
    """File name -> content of everything in the folder."""
    found = {"README.md": index()}
    for family in registry.FAMILIES:
        name = family.__name__.rpartition(".")[2]
        rows = rows_of(name)
        found[f"{name}.md"] = page(family, rows)
        drawing = report.draw_network(parts_of(rows[0]), rows[0]["name"])
        found[f"{name}.svg"] = drawing + "\n"
    return found


def index() -> str:
    """The list of the families."""
    lines = ["# The families", "", "| family | what it is | networks |", "|---|---|---|"]
    for family in registry.FAMILIES:
        name = family.__name__.rpartition(".")[2]
        title = docstrings.family_text(family.__doc__ or "").title
        lines.append(f"| [{name}]({name}.md) | {running(title)} | {len(rows_of(name))} |")
    words = (
        "Each page follows from the family's file in `src/convarium/models`, by `make families`."
    )
    return "\n".join([*lines, "", words, "", "## How weights start", "", starts(), ""])


def starts() -> str:
    """One table of the initial weights of every family, by the networks that share them."""
    cells = []
    for family in registry.FAMILIES:
        rows = rows_of(family.__name__.rpartition(".")[2])
        tables = list(dict.fromkeys(json.dumps(row["initial"]) for row in rows))
        for initial in tables:
            sharing = [row["name"] for row in rows if json.dumps(row["initial"]) == initial]
            first = sharing[0] if len(sharing) == 1 else f"{sharing[0]} ... {sharing[-1]}"
            rules = (f"{kind['layers']}: {running(kind['rule'])}" for kind in json.loads(initial))
            cells.append((first, "<br>".join(rules)))
    return table(("networks", "layers and their start"), cells)


def page(family: ModuleType, rows: Sequence[Row]) -> str:
    """The page of one family."""
    text = docstrings.family_text(family.__doc__ or "")
    classes = list(
        dict.fromkeys(v.cls for v in registry.VARIANTS if v.cls.__module__ == family.__name__)
    )
    name, first = rows[0]["family"], rows[0]
    blocks = [
        f"# {' and '.join(cls.__name__ for cls in classes)}",
        running(text.title),
        f"```text\n{text.flow}\n```" if text.flow else "",
        *(running(paragraph) for paragraph in text.paragraphs),
        *(bold_start(running(paragraph)) for paragraph in text.differs),
        "## Networks",
        table(NETWORKS, [network_cells(row) for row in rows]),
        "`convarium show NAME` tells more about each.",
        f"## {first['name']} by parts",
        f"![{first['name']} as blocks, from the input to the head]({name}.svg)",
        table(("part", "gives", "parameters"), [part_cells(part) for part in parts_of(first)]),
        "## Use",
        f"```python\n{example(first)}\n```",
        "## Options",
        *options_tables(classes),
        "## Initial weights",
        *initial_tables(rows),
        "## References",
        "\n".join(f"- {running(entry)}" for entry in text.references),
        f"Written by `make families` from [{name}.py](../../src/convarium/models/{name}.py).",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


NETWORKS = ("name", "what it is", "parameters", "input", "year", "follows", "published accuracy")


def network_cells(row: Row) -> tuple[str, ...]:
    """A row of the table of networks."""
    size = shape_words(row["parts"][0]["shape"])
    found = [f"{w.accuracy:.2f} % ({w.accuracy_source})" for w in weights.rows(row["name"])]
    return (
        f"`{row['name']}`",
        running(row["summary"]),
        f"{row['parameters']:,}",
        size,
        str(row["year"] or ""),
        running(row["source"]),
        "<br>".join(found),
    )


def default_words(default: Any) -> str:
    """A default as Python writes it; nothing for an option that must be given."""
    return "" if type(default) is object else f"`{options.plain(default)!r}`"


def part_cells(part: Part) -> tuple[str, ...]:
    """A row of the table of parts."""
    count = f"{part.parameters:,}" if part.parameters else ""
    return (f"`{part.name}`", shape_words(part.shape), count)


def options_tables(classes: Sequence[type]) -> list[str]:
    """The options with defaults and allowed values; classes that have the same share a table."""
    groups: dict[str, list[str]] = {}
    for cls in classes:
        words = docstrings.option_words(cls)
        cells = [
            (
                f"`{name}`",
                default_words(default),
                running(options.describe(kind)),
                running(words.get(name, "")),
            )
            for name, (kind, default) in options.signature(cls).items()
        ]
        heads = ("option", "default", "allowed", "meaning")
        groups.setdefault(table(heads, cells), []).append(f"`{cls.__name__}`")
    blocks = ["A network's row sets what makes it that network; `create` and `--option` change it."]
    for text, names in groups.items():
        blocks += [f"{' and '.join(names)}:"] if len(groups) > 1 else []
        blocks.append(text)
    return blocks


def initial_tables(rows: Sequence[Row]) -> list[str]:
    """How weights start: one table, or one for each group of networks that differ in it."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(json.dumps(row["initial"]), []).append(row)
    blocks = []
    for group in groups.values():
        names = ", ".join(f"`{row['name']}`" for row in group)
        kinds = group[0]["initial"]
        cells = [(kind["layers"], running(kind["rule"])) for kind in kinds]
        blocks += [f"{names}:"] if len(groups) > 1 else []
        blocks.append(table(("layers", "start"), cells))
    return blocks


def example(row: Row) -> str:
    """Lines that run: a network for other classes, its maps, and the same network in 1-D.

    Of one that reads sequences only, sequences of unequal lengths; of one that makes fields finer,
    a constrained field.
    """
    name = row["name"]
    if row["input_kind"] == "fields":
        return f"""import torch
import convarium
from convarium import layers

network = convarium.create("{name}", constraint="additive")
x = network.example_input(batch=2)
y = network(x)
print(y.shape)  # (2, 1, 64, 64)
means = layers.block_mean(y, network.factor)
print(torch.allclose(means, x, atol=1e-5))  # True

quantiles = convarium.create("{name}", factor=[2, 4], parts="quantiles", wrap=True)
print(quantiles.parts, quantiles(x).shape)  # 5 quantiles, (2, 5, 32, 64)"""
    size = "" if max(row["input_size"]) <= 64 else ", size=64"
    if "spatial_dims" in row["choices"]:
        return f"""import torch
import convarium

network = convarium.create("{name}", num_classes=5)
x = network.example_input(batch=2{size})
print(network(x).shape)  # (2, 5)
for stage, y in zip(network.stages, network.features(x)):
    print(stage.name, stage.reduction, tuple(y.shape))

lengths = torch.tensor([x.shape[-1], 20])  # the second one has 20 steps, and padding behind them
mask = torch.arange(x.shape[-1]) < lengths[:, None]
y = network.eval()(x, mask)
print(y.shape)  # (2, 5)
print(torch.allclose(y[1:], network(x[1:, ..., :20]), atol=1e-5))  # True"""
    return f"""import convarium

network = convarium.create("{name}", num_classes=5)
x = network.example_input(batch=2{size})
print(network(x).shape)  # (2, 5)
for stage, y in zip(network.stages, network.features(x)):
    print(stage.name, stage.reduction, tuple(y.shape))

signals = convarium.create("{name}", spatial_dims=1, in_channels=6, num_classes=5)
print(signals(signals.example_input(batch=2)).shape)  # (2, 5)"""


def rows_of(family: str) -> list[Row]:
    """The catalogue's rows of one family."""
    return [row for row in catalogue.read() if row["family"] == family]


def parts_of(row: Row) -> list[Part]:
    """The stored parts of a row."""
    return [Part.from_row(part) for part in row["parts"]]


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def running(text: str) -> str:
    """Running text as Markdown: marks outside of code stand for themselves."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece
        if piece.startswith("`")
        else re.sub(r"([*_\[\]])", r"\\\1", html.escape(piece, False))
        for piece in pieces
    )


def bold_start(text: str) -> str:
    """The words up to the first colon in bold."""
    start, colon, rest = text.partition(":")
    return f"**{start}{colon}**{rest}"


if __name__ == "__main__":
    sys.exit(main())
