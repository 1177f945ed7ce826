"""The figure of `sequence_memory.py`, from its JSON alone.

    python experiments/sequence_memory.py --figure

A panel for each task: the score on test sequences while the networks learn, on a logarithmic axis
where the score is a loss. Lines are means over the seeds, bands reach from the lowest to the
highest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convarium.report.panels import Line, draw_key, draw_panel
from convarium.report.svg import Drawing
from figures import spread

WIDTH, MARGIN, GAP, TOP, HIGH = 820.0, 20.0, 20.0, 84.0, 230.0
STYLES = {
    "tcn": Line("TCN", (), "accent"),
    "tcn_far": Line("TCN, far", (), "accent", "2 4"),
    "lstm": Line("LSTM", (), "miss"),
    "gru": Line("GRU", (), "miss", "6 5"),
}
WORDS = {"mse": "squared error", "loss": "loss of a step", "error": "wrong answers"}
TITLE = "What is remembered: TCN, LSTM and GRU of equal parameters"


def draw(result: Mapping[str, Any]) -> str:
    """The figure as SVG."""
    tasks = list(result["summary"])
    height = TOP + -(-len(tasks) // 2) * (HIGH + GAP) + MARGIN
    told = ", ".join(f"{name}: {_scores(own)}" for name, own in result["summary"].items())
    drawing = Drawing(WIDTH, height, f"{TITLE}. {told}", least=0.6)
    drawing.rectangle((0, 0, WIDTH, height), "card", corner=6)
    drawing.words(MARGIN, 28, TITLE, size=16, weight=600)
    wide = (WIDTH - 2 * MARGIN - GAP) / 2
    for k, style in enumerate(STYLES.values()):
        draw_key(drawing, MARGIN + k * 120, 56, style)
    for k, task in enumerate(tasks):
        mine = [run for run in result["runs"] if run["task"] == task]
        lines = [
            style._replace(points=spread(_rows(run) for run in mine if run["network"] == network))
            for network, style in STYLES.items()
        ]
        first = mine[0]
        draw_panel(
            drawing,
            (MARGIN + k % 2 * (wide + GAP), TOP + k // 2 * (HIGH + GAP), wide, HIGH),
            lines,
            heading=f"{task}, {first['length']} steps: {WORDS[first['measure']]}",
            across=f"steps of Adam (chance: {first['chance']:.3g})",
            logarithmic=(False, first["measure"] != "error"),
            shares=first["measure"] == "error",
        )
    return drawing.text()


def _rows(run: Mapping[str, Any]) -> list[tuple[float, float | None]]:
    return [(row["step"], row["score"]) for row in run["history"]]


def _scores(networks: Mapping[str, Any]) -> str:
    return " ".join(f"{name} {own['mean']:.3g}" for name, own in networks.items())
