"""What the figures of each stored result are, in words: the sections of `write_results.py`."""

from __future__ import annotations

import numpy as np
import results_deploy
import results_experiments
import results_fields
import results_sequences
from results_figures import (
    Figure,
    Known,
    Result,
    counted,
    number,
    percent,
    row,
    spread_of,
    within,
)

from convarium.intervals import of_mean


def augmentation(result: Result) -> list[Figure]:
    """Each operation against kornia's."""
    asked = f"at most {result['limit']}"
    return [
        row(
            f"{it['operation']}, {'x'.join(map(str, it['batch']))}: ours / kornia",
            it["ratio"],
            n=it["n"],
            asked=asked,
            spread=spread_of(it),
        )
        for it in result["operations"]
    ]


def bookkeeping(result: Result) -> list[Figure]:
    """Megabytes of a million files."""
    asked = f"at most {number(result['bounds']['highest_rise_mb'])} MB"
    n = f"{result['n_files']:,} files"
    found = result["highest_rise_mb"].items()
    return [
        row(what, value, n=n, unit=" MB", asked="" if what.startswith("list") else asked)
        for what, value in found
    ]


def conv_matrix(result: Result) -> list[Figure]:
    """The matrix of a convolution against scipy's Kronecker products."""
    bounds, rows = result["bounds"], []
    for name, way in result["ways"].items():
        ours = name == "convarium"
        for kind, unit in (("seconds", " s"), ("growth_mb", " MB")):
            asked = f"at most {number(bounds[kind])}{unit}" if ours else ""
            rows.append(row(f"{name}: {kind.split('_')[0]}", way[kind], unit=unit, asked=asked))
    return rows


def densenet_memory(result: Result) -> list[Figure]:
    """Memory of training, in all ways."""
    rows = []
    for mode, found in result["modes"].items():
        for kind, unit in (("resident_mib", " MiB"), ("allocated_mib", " MiB"), ("seconds", " s")):
            what = f"{mode.replace('_', ' ')}: {kind.split('_')[0]}"
            share = f"{number(found['ratio'][kind])} of plain"
            rows.append(row(what, found[kind], unit=unit)._replace(asked=share))
    return rows


def explaining(result: Result) -> list[Figure]:
    """Grad-CAM against the forward pass and other libraries."""
    asked = {name: f"at most {number(bound)}" for name, bound in result["bounds"].items()}
    rows = [row(f"{name}, seconds", found) for name, found in result["seconds"].items()]
    n = result["seconds"]["ours"]["n"]
    for name, value in result["ratios"].items():
        sides = [result["seconds"].get(side) for side in name.split(" / ")]
        spread = within(*sides) if all(sides) else ""
        rows.append(row(name, value, n=n, asked=asked.get(name, ""), spread=spread))
    memory = row("memory: ours / forward", result["memory"]["ours / forward"], n="1 call each")
    return [*rows, memory]


def families(result: Result) -> list[Figure]:
    """A training step of each family against its peer's."""
    asked = f"at most {result['bound']}"
    return [
        row(f"{it['network']}: ours / {it['peer']}", it["ratio to plain"], asked=asked)
        for it in result["rows"]
    ]


def fashion_mnist(result: Result) -> list[Figure]:
    """Test accuracy of each seed and on average."""
    asked = f"at least {percent(result['bounds']['mean_accuracy'])}"
    rows = [
        Figure(
            f"seed {run['seed']}",
            percent(run["accuracy"]),
            f"{run['n']:,}",
            spread_of(run, percent),
            "",
        )
        for run in result["runs"]
    ]
    n = f"{len(rows)} seeds"
    low, high = of_mean(np.array([run["accuracy"] for run in result["runs"]]))
    spread = f"({percent(low)} to {percent(high)})"
    mean = Figure("mean of the seeds", percent(result["mean_accuracy"]), n, spread, asked)
    images = result["runs"][0]["n"]
    right = round(result["linear_reference"] * images)
    return [mean, *rows, counted("a linear classifier on the pixels", right, images)]


def loader(result: Result) -> list[Figure]:
    """Epochs from JPEG files against Pillow, torchvision and DataLoader."""
    bounds, n = result["bounds"], result["seconds"]["files"]["n"]
    seconds = result["seconds"]
    rows = [row(f"{name}: seconds an epoch", it) for name, it in seconds.items()]
    for name, value in result["times_the_peer"].items():
        rows.append(row(f"{name}: times the peer's speed", value, n=n))
        spread = within(seconds["peer"], seconds[name])
        rows[-1] = rows[-1]._replace(asked=f"at least {bounds[name]}", spread=spread)
    return rows


def measuring(result: Result) -> list[Figure]:
    """Time of field and cost."""
    rows = []
    for it in result["rows"]:
        size = "x".join(map(str, it["shape"][2:]))
        for kind, found in it["seconds from name to result"].items():
            asked = "" if kind == "torchinfo" else f"at most {result['bounds']['seconds']} s"
            what = f"{it['network']} at {size}: {kind.replace('_', ' ')}, from name to result"
            rows.append(row(what, found, unit=" s", asked=asked))
        what = f"{it['network']}: cost of a built network / torchinfo {it['torchinfo']}"
        ratio, times = it["ratio of cost to torchinfo"], it["seconds without building"]
        spread = within(times["cost"], times["torchinfo"])
        asked = f"at most {number(it['bound'])}"
        rows.append(row(what, ratio, n=times["cost"]["n"], asked=asked, spread=spread))
    return rows


def probe_share(result: Result) -> list[Figure]:
    """Seconds of a run and of the probe in it."""
    asked = f"at most {percent(result['bounds']['share'])}"
    return [
        row("the probe's share of the run", result["share"], shown=percent, asked=asked, n="1 run"),
        row("the run, from the command to the report", result["run_seconds"], unit=" s", n="1 run"),
        row("the probe", result["probe_seconds"], unit=" s", n="1 run"),
    ]


def neighbour(result: Result) -> list[Figure]:
    """Time of a training as the command sets its threads, by what OpenMP does by itself."""
    usual, ours = result["rows"][0]["seconds"]
    return [
        row(
            f"{it['kind']}: seconds, of those that OpenMP's own waiting takes",
            it["ratio"],
            n=it["seconds"][ours]["n"],
            asked=f"at most {number(it['bound'])}",
            spread=within(it["seconds"][ours], it["seconds"][usual]),
        )
        for it in result["rows"]
    ]


def startup(result: Result) -> list[Figure]:
    """Seconds until something can be done."""
    bounds = result["bounds"]
    rows = [
        row(name, it, unit=" s", asked=f"under {bounds[name]} s" if name in bounds else "")
        for name, it in result["seconds"].items()
    ]
    beyond = "seconds_beyond_import_torch"
    n = result["seconds"]["import torch"]["n"]
    rows.append(row("beyond `import torch`", result[beyond], unit=" s", n=n))
    rows[-1] = rows[-1]._replace(asked=f"at most {bounds[beyond]} s")
    slow = result["build_on_meta"]
    what = f"slowest of {slow['networks']} networks built without memory ({slow['slowest']})"
    return [
        *rows,
        row(what, slow["seconds"], unit=" s", n="best of 3")._replace(
            asked=f"under {bounds['slowest build']} s"
        ),
    ]


def streaming(result: Result) -> list[Figure]:
    """A step of live data against the window anew and a peer."""
    goals, rows = result["goals"], []
    for it in result["rows"]:
        start, times = f"batch {it['batch']}", it["seconds"]
        n = times["ours"]["n"]
        for name, words in (("window", "the window anew"), ("peer", "pytorch-tcn")):
            asked, spread = f"at least {number(goals[name])}", within(times[name], times["ours"])
            rows.append(row(f"{start}: {words} / a step", it["times_faster"][name], n=n))
            rows[-1] = rows[-1]._replace(asked=asked, spread=spread)
        asked, spread = f"at most {number(goals['history'])}", within(times["old"], times["ours"])
        rows.append(row(f"{start}: after a hundredfold history / at first", it["history"], n=n))
        rows[-1] = rows[-1]._replace(asked=asked, spread=spread)
    return rows


def training(result: Result) -> list[Figure]:
    """Images a second against Lightning and timm."""
    bounds, rows = result["bounds"], []
    for it in result["rows"]:
        speeds = it["images_per_second"]
        for peer, value in it["ratios"].items():
            spread = within(speeds["ours"], speeds[peer])
            what = f"{it['network']}: ours / {peer}"
            rows.append(row(what, value, n=result["rounds"], spread=spread))
    for peer, value in result["geometric means"].items():
        asked = f"at least {bounds['defaults']}"
        rows.append(row(f"geometric mean: ours / {peer}", value, n=result["rounds"], asked=asked))
    least = row("lowest against their best flags", result["lowest to best"], n=result["rounds"])
    return [*rows, least._replace(asked=f"at least {bounds['best']}")]


def training_overhead(result: Result) -> list[Figure]:
    """A training step against a bare loop."""
    return [
        Figure(
            f"{it['network']}: ours / bare PyTorch loop",
            number(it["ratio"]),
            f"{it['rounds']} rounds",
            f"{number(min(it['ratios']))} to {number(max(it['ratios']))}",
            f"at most {it['limit']}",
        )
        for it in result["cases"]
    ]


def studio(result: Result) -> list[Figure]:
    """How long the studio lets somebody wait."""
    words = {"first view": "first view", "search": "a search in the catalogue"}
    return [
        row(
            words.get(what, f"a heatmap of {what}, from the photograph to the picture"),
            it,
            unit=" s",
            asked=f"at most {number(result['bounds'][what])} s",
        )
        for what, it in result["seconds"].items()
    ]


KNOWN = {
    "augmentation": Known(
        "Augmentation", "Each operation of augmentation beside kornia's.", augmentation
    ),
    "bookkeeping": Known("A million files", "Memory by which a process grows.", bookkeeping),
    "conv_matrix": Known(
        "A convolution as a matrix", "A 64 to 64 convolution of 3x3 on 32x32.", conv_matrix
    ),
    "densenet_memory": Known(
        "Memory of DenseNet", "DenseNet-121 training, batch 32 at 224x224.", densenet_memory
    ),
    "explaining": Known("Heatmaps", "Grad-CAM of ResNet-50, batch 8 at 224x224.", explaining),
    "families": Known(
        "Training steps of the families",
        "Batch 4 at 128x128, one thread, against the same architecture with plain activations.",
        families,
    ),
    "fashion_mnist": Known(
        "Fashion-MNIST in five epochs", "Defaults, no test-time flips; test images.", fashion_mnist
    ),
    "loader": Known("Loading images", "Random resized crops at 224 from JPEG files.", loader),
    "measuring": Known("Measuring networks", "Field and cost of two large networks.", measuring),
    "neighbour": Known(
        "Training beside another program",
        "Digits, by the command, on all cores; the other program takes one.",
        neighbour,
    ),
    "probe_share": Known(
        "The probe in a real run",
        "Recipe `speedrun` on Fashion-MNIST, by the command.",
        probe_share,
    ),
    "startup": Known("Starting", "Processes from their start on.", startup),
    "streaming": Known("Live sequences", "A TCN with a field of 253 steps.", streaming),
    "studio": Known("The studio", "In chromium, on the cores of the studio.", studio),
    "training": Known(
        "Training from files", "Images a second of whole trainings, defaults.", training
    ),
    "training_overhead": Known(
        "Overhead of training", "A training step of batch 128 at 32x32.", training_overhead
    ),
    **results_deploy.KNOWN,
    **results_experiments.KNOWN,
    **results_fields.KNOWN,
    **results_sequences.KNOWN,
}
