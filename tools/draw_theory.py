"""Draw the figures of docs/theory: each from our own code, or from what an experiment stored.

Everything drawn is exact or a closed form, so that every machine draws the same file.

Run by `make figures` and, for the book, by `make docs`, or: python tools/draw_theory.py [FOLDER]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

import convarium
from convarium import explain, layers, measure, report
from convarium.models import catalogue, weights
from convarium.report.panels import Line, draw_key, draw_panel
from convarium.report.svg import Axis, Drawing

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "theory"
WIDTH = 820.0
LANDMARKS = ("lenet5", "alexnet", "vgg16", "resnet50", "densenet121", "efficientnet_b0")
Places = Sequence[tuple[float, float]]


def main() -> int:
    """Write every figure."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, draw in FIGURES.items():
        (folder / f"{name}.svg").write_text(draw() + "\n", encoding="utf-8")
    return 0


def sheet(title: str, words: str, high: float) -> Drawing:
    """An empty card with a title and a line of words under it."""
    drawing = Drawing(WIDTH, high, f"{title}. {words}", least=0.6)
    drawing.rectangle((0, 0, WIDTH, high), "card", corner=6)
    drawing.words(20, 28, title, size=16, weight=600)
    drawing.words(20, 48, words, "soft", size=12)
    return drawing


def curve(name: str, points: Places, colour: str = "accent", dashes: str = "") -> Line:
    """A line without a spread."""
    return Line(name, [(x, y, y, y) for x, y in points], colour, dashes)


def panel(
    drawing: Drawing,
    lines: Sequence[Line],
    heading: str,
    across: str,
    *,
    logarithmic: tuple[bool, bool] = (False, False),
    ticks: Sequence[float] = (),
) -> str:
    """One panel under a key of its lines, on the whole sheet."""
    x = 20.0
    for line in lines:
        x = draw_key(drawing, x, 74, line)
    draw_panel(
        drawing,
        (20, 92, WIDTH - 40, drawing.height - 104),
        lines,
        heading=heading,
        across=across,
        logarithmic=logarithmic,
        ticks=ticks,
    )
    return drawing.text()


def cells(
    drawing: Drawing,
    corner: tuple[float, float],
    values: Sequence[Sequence[float]],
    side: float,
    *,
    words: bool = False,
) -> None:
    """A table of numbers as squares, blue above 0 and orange below, strongest at the largest."""
    most = max(abs(v) for line in values for v in line) or 1.0
    for i, line in enumerate(values):
        for j, value in enumerate(line):
            x, y = corner[0] + j * side, corner[1] + i * side
            drawing.rectangle((x, y, side - 1, side - 1), "line", strength=0.5)
            if value:
                colour = "accent" if value > 0 else "miss"
                strength = abs(value) / most * (0.5 if words else 1)
                drawing.rectangle((x, y, side - 1, side - 1), colour, strength=strength)
            if words:
                middle = (x + (side - 1) / 2, y + side / 2 + 4)
                drawing.words(*middle, f"{value:g}", size=11, anchor="middle")


def constrained_dense() -> str:
    """The matrix of a kernel in 1-D and in 2-D."""
    line, plane = nn.Conv1d(1, 1, 3, bias=False), nn.Conv2d(1, 1, 3, bias=False)
    with torch.no_grad():
        line.weight.copy_(torch.tensor([[[0.5, 1.0, 0.5]]]))
        plane.weight.copy_(torch.arange(1.0, 10).view(1, 1, 3, 3) / 9)
    drawing = sheet(
        "A convolution is a dense layer with few different weights",
        "Left: 7 inputs, 5 outputs, 3 weights. Right: a 3x3 kernel on 6x6: blocks of such bands.",
        310,
    )
    banded = measure.conv_matrix(line, (1, 1, 7)).toarray().tolist()
    cells(drawing, (30, 90), banded, 36, words=True)
    cells(drawing, (330, 90), measure.conv_matrix(plane, (1, 1, 6, 6)).toarray().tolist(), 12)
    return drawing.text()


def equivariance() -> str:
    """What a shift does to a map, by its stride."""
    x = torch.arange(48, dtype=torch.float64)
    waves = [math.tau * x * k / 48 for k in (1, 3, 7, 11)]
    signal = sum(torch.cos(w + 0.7 * k) for k, w in enumerate(waves))[None, None]
    lines = []
    for stride, (colour, dashes) in {1: ("ink", ""), 2: ("accent", ""), 4: ("miss", "6 5")}.items():
        points = []
        for amount in range(9):
            moved = signal.roll(amount, -1)[..., ::stride]
            whole = round(amount / stride)
            kept = signal[..., ::stride].roll(whole, -1)
            points.append((amount, float((moved - kept).norm() / kept.norm())))
        lines.append(curve(f"stride {stride}", points, colour, dashes))
    drawing = sheet(
        "A shift by whole strides moves the map; any other changes it",
        "A signal of four waves on a circle of 48 positions, read at strides of 1, 2 and 4.",
        340,
    )
    return panel(drawing, lines, "||f(Tx) - T'f(x)|| / ||f(x)||", "positions moved")


def receptive_field() -> str:
    """How the field of ResNet-50 grows."""
    return growth("resnet50", (1, 3, 224, 224))


def bricks() -> str:
    """How the field of ConvNeXt-T grows."""
    return growth("convnext_tiny", (1, 3, 224, 224))


def growth(name: str, shape: tuple[int, ...]) -> str:
    """The field of a network, layer by layer."""
    with torch.device("meta"):
        network = convarium.create(name)
    return report.draw_field_growth(measure.receptive_field(network, shape), name)


def landmarks() -> str:
    """Year, parameters, multiply-adds and published accuracy of the six."""
    drawing = sheet(
        "Six landmarks",
        "Parameters, on a logarithmic axis; multiply-adds; the best published top-1 on ImageNet.",
        64 + 6 * 40 + 20,
    )
    axis = Axis(1e4, 2e8, 190, 600, logarithmic=True)
    for k, name in enumerate(LANDMARKS):
        row, y = catalogue.find(name), 82 + 40 * k
        drawing.words(20, y + 15, f"{row['year']}  {name}", size=13, weight=600)
        drawing.rectangle((190, y, axis(row["parameters"]) - 190, 22), "accent", strength=0.45)
        drawing.words(198, y + 15, f"{row['parameters']:,}", size=12)
        found = [row.accuracy for row in weights.rows(name) if row.accuracy]
        words = f"{row['macs'] / 1e9:.3g} GMACs" + (f", {max(found):.1f} %" if found else "")
        drawing.words(620, y + 15, words, "soft", size=12)
    return drawing.text()


def separable() -> str:
    """Cost of a depthwise separable convolution over that of a standard one."""
    channels = [2**k for k in range(3, 11)]
    styles = {3: ("accent", ""), 5: ("miss", ""), 7: ("ink", "6 5")}
    lines = [
        curve(f"{k} x {k}", [(c, measure.depthwise_cost_ratio(c, k)) for c in channels], *style)
        for k, style in styles.items()
    ]
    drawing = sheet(
        "What is left of the cost when a convolution is separated",
        "Depthwise and 1x1 over standard: 1/C + 1/k², for C output channels and a kernel of k x k.",
        340,
    )
    return panel(
        drawing,
        lines,
        "share of weights and multiply-adds",
        "output channels",
        logarithmic=(True, False),
        ticks=channels,
    )


def augmentation() -> str:
    """Where the share of a mixture lies."""
    places = [k / 200 for k in range(2, 199)]
    lines = []
    for alpha, colour in ((0.2, "accent"), (1.0, "miss")):
        scale = math.gamma(2 * alpha) / math.gamma(alpha) ** 2
        points = [(p, scale * (p * (1 - p)) ** (alpha - 1)) for p in places]
        lines.append(curve(f"Beta({alpha:g}, {alpha:g})", points, colour))
    drawing = sheet(
        "The share of the first image in a mixture",
        "Mixup's Beta(0.2, 0.2) leaves most images nearly alone; CutMix takes every share alike.",
        320,
    )
    return panel(drawing, lines, "density", "share", ticks=(0.01, 0.25, 0.5, 0.75, 0.99))


def grad_cam() -> str:
    """A head that weighs places: what Grad-CAM averages away and HiResCAM keeps."""
    network, x = two_sided()
    maps = {"input": x[0, 0]}
    maps |= {name: getattr(explain, name)(network, x, layer="0").values[0] for name in TWO}
    drawing = sheet(
        "A mean over places forgets where they count",
        "The head adds the left half and subtracts the right one; a bright square lies left.",
        286,
    )
    for k, (name, values) in enumerate(maps.items()):
        drawing.words(30 + 260 * k, 82, name, size=13, weight=600)
        cells(drawing, (30 + 260 * k, 94), values.tolist(), 22)
    return drawing.text()


TWO = ("grad_cam", "hires_cam")


def two_sided() -> tuple[nn.Module, torch.Tensor]:
    """A convolution that hands its input on, and a dense head of +1 left and -1 right."""
    network = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Flatten(), nn.Linear(64, 1))
    x = torch.zeros(1, 1, 8, 8)
    x[..., 2:5, 1:3] = 1
    with torch.no_grad():
        network[0].weight.fill_(1)
        network[2].weight.copy_(torch.ones(8, 8).index_fill(1, torch.arange(4, 8), -1).view(1, 64))
        network[2].bias.zero_()
    return network, x


def sequences() -> str:
    """The inputs that the last step of three dilated causal convolutions sees."""
    field = measure.temporal_receptive_field(3, kernel_size=2, convs_per_layer=1)
    drawing = sheet(
        "Three causal convolutions of two taps, dilations 1, 2 and 4",
        f"The last step sees {field} inputs, none later than itself; a fourth layer doubles that.",
        300,
    )
    place = [(60 + 50 * t, 262 - 58 * layer) for layer in range(4) for t in range(15)]
    seen = {(3, 14)}
    for layer, dilation in ((3, 4), (2, 2), (1, 1)):
        for t in [t for k, t in seen if k == layer]:
            for source in (t - dilation, t):
                ends = [place[15 * (layer - 1) + source], place[15 * layer + t]]
                drawing.line(ends, "accent", thick=2)
                seen.add((layer - 1, source))
    for k, (x, y) in enumerate(place):
        drawing.dot(x, y, "accent" if divmod(k, 15) in seen else "line", 7)
    return drawing.text()


def downscaling() -> str:
    """Interpolation, and the same with its block means put right."""
    coarse = torch.tensor([[[2.0, 5.0, 4.0, 8.0, 3.0, 1.0]]])
    linear = layers.interpolate(coarse, (4,), "linear")
    held = layers.Constraint("additive", (4,))(linear, coarse)
    lines = [
        curve(
            "coarse field", list(enumerate(coarse.repeat_interleave(4, -1)[0, 0].tolist())), "soft"
        ),
        curve("interpolated", list(enumerate(linear[0, 0].tolist())), "miss", "6 5"),
        curve("with the block means of the coarse field", list(enumerate(held[0, 0].tolist()))),
    ]
    drawing = sheet(
        "Finer fields whose block means are the coarse field",
        "Interpolation smooths the means away; the additive constraint shifts each block back.",
        340,
    )
    return panel(drawing, lines, "value", "fine cell, four to a coarse one")


FIGURES: dict[str, Callable[[], str]] = {
    "constrained-dense": constrained_dense,
    "equivariance": equivariance,
    "receptive-field": receptive_field,
    "landmarks": landmarks,
    "separable": separable,
    "augmentation": augmentation,
    "grad-cam": grad_cam,
    "sequences": sequences,
    "downscaling": downscaling,
    "bricks": bricks,
}

if __name__ == "__main__":
    sys.exit(main())
