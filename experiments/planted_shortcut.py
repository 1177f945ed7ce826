"""Does an audit find a shortcut that was planted, and nothing in the clean twin?

    python experiments/planted_shortcut.py --jobs 2
    python experiments/planted_shortcut.py --table

Real digits (8x8, enlarged to 32x32) and 4,000 images of Fashion-MNIST. In 99 % of one class's
images, and in 0.11 % of the others', so that 99 % of the marked images are of that class, a white
square of 6x6 pixels stands in a corner. A small network is trained on that, and one on the clean
twin: the same images, split and seeds without squares. Class and corner change with the seed.

Each network is audited twice on test images like those it was trained on: without regions, where
the audit has to guess what the objects are; and with the clean image's own pixels as the region,
so that what lies beside them is known. A shortcut is found where a claim about it is supported; a
false alarm is any other supported claim of a place or background.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import evidence
from convarium import data, explain, models, report, seeds, train
from convarium.data.samples import ArraySamples
from convarium.files import read_json, write_json
from convarium.predict import Predictor

RESULT = evidence.RESULTS / "planted_shortcut.json"
NETWORK, IMAGES, SHARE, LEAK, SIDE = "convnet", 4_000, 0.99, 0.0011, 6
PLANTED = {0: (2, "upper left"), 1: (5, "upper right"), 2: (7, "lower right")}
SOURCES = ("digits", "fashion-mnist")
RECIPE = {
    "batch_size": 64,
    "learning_rate": 3e-3,
    "flip": False,
    "pad_crop": 0,
    "precision": "fp32",
    "layout": "contiguous",
    "device": "cpu",
}
EPOCHS = {"digits": 8, "fashion-mnist": 6}


def clean(source: str) -> data.Dataset:
    """The images that squares are planted in."""
    found = evidence.opened(source)
    images, targets = found.samples.images, found.targets
    if source == "digits":
        images = images.repeat(4, axis=2).repeat(4, axis=3)
    else:
        chosen = np.sort(seeds.permutation(len(images), 0, "planted", source)[:IMAGES])
        images, targets = images[chosen], targets[chosen]
    return made(images, targets, found.classes, source)


def made(
    images: NDArray[np.uint8], targets: NDArray[np.int64], classes: Sequence[str], source: str
) -> data.Dataset:
    """Images of one size as a data set."""
    samples = ArraySamples(images, [(source, len(images))])
    return data.Dataset(samples, source=source, classes=classes, targets=targets, mirrored=False)


def corner(size: int, name: str) -> tuple[slice, slice]:
    """Rows and columns of the square, one pixel from the edges."""
    low, high = slice(1, 1 + SIDE), slice(size - 1 - SIDE, size - 1)
    return (low if "upper" in name else high), (low if "left" in name else high)


def marked(whole: data.Dataset, label: int, where: str, seed: int) -> data.Dataset:
    """The same images with squares."""
    images, targets = whole.samples.images.copy(), whole.targets
    draws = seeds.uniform(np.arange(len(images)), seed, "square")
    squares = np.where(targets == label, draws < SHARE, draws < LEAK)
    rows, columns = corner(images.shape[2], where)
    images[squares, :, rows, columns] = 255
    return made(images, targets, whole.classes, whole.source)


def trained(
    whole: data.Dataset, seed: int, epochs: int, network: str = NETWORK
) -> tuple[Predictor, data.Part]:
    """A small network, and the test images."""
    parts = data.split(whole, validation=0.15, test=0.35, seed=seed)
    steps = data.fit_preprocessing(parts.train)
    torch.manual_seed(seed)
    model = models.create(network, in_channels=1, num_classes=len(whole.classes))
    train.fit(
        model, parts, train.TrainConfig(epochs=epochs, seed=seed, **RECIPE), preprocessing=steps
    )
    return Predictor(model, data.build_card(parts, steps)), parts.test


def one_run(source: str, seed: int, planted: bool, pages: Path | None) -> dict[str, Any]:
    """Plant, train, audit without and with regions."""
    torch.set_num_threads(1)
    whole = clean(source)
    label, where = PLANTED[seed]
    regions = whole.samples.images[:, 0] > 32
    if planted:
        whole = marked(whole, label, where, seed)
    start = time.perf_counter()
    predictor, test = trained(whole, seed, EPOCHS[source])
    middle = time.perf_counter()
    alone = explain.audit(predictor, test, seed=seed)
    with_regions = explain.audit(predictor, test, regions=regions[test.ids], seed=seed)
    end = time.perf_counter()
    if pages is not None:
        name = f"{source}-{'planted' if planted else 'clean'}-{seed}"
        report.write_audit(pages / name, with_regions, name)
        report.write_audit(pages / f"{name}-alone", alone, f"{name}, without regions")
    class_name = whole.classes[label]
    square = corner(whole.samples.images.shape[2], where)
    found = [
        judged(each, class_name if planted else None, square) for each in (alone, with_regions)
    ]
    return {
        "source": source,
        "seed": seed,
        "planted": planted,
        "class": class_name if planted else None,
        "corner": where if planted else None,
        "n": alone.accuracy.n,
        "accuracy": evidence.digits(alone.accuracy.value),
        "sanity": alone.sanity.verdict,
        "without_regions": found[0],
        "with_regions": found[1],
        "train_seconds": round(middle - start, 1),
        "audit_seconds": round((end - middle) / 2, 1),
    }


def judged(
    audit: explain.Audit, planted: str | None, square: tuple[slice, slice]
) -> dict[str, Any]:
    """Whether the planted square was found, and how many other shortcuts were claimed."""
    claims = [claim for claim in audit.claims if claim.kind == "place"]
    places = [
        {
            "prediction": place.cluster.label,
            "place": place.cluster.box.words,
            "planted": place.cluster.label == planted and _meet(place.cluster.box.slices, square),
            "verdict": claim.verdict,
            "pasted": evidence.digits(place.pasted.first.value),
            "elsewhere": evidence.digits(place.pasted.second.value),
            "foreign": evidence.digits(place.foreign.second.value),
            "lift": _mean(place.lift),
            "over_objects": None
            if place.whole is None
            else evidence.digits(place.whole.first.value),
            "on_object": evidence.digits(place.on_object),
        }
        for claim, place in zip(claims, audit.places, strict=True)
    ]
    supported = [place["planted"] for place in places if place["verdict"] == "supported"]
    backgrounds = [
        claim.text for claim in audit.claims if claim.kind == "background" and claim.shortcut
    ]
    own, any_label = f"decides for {planted}.", "decides."  # both are true where a square is
    false = [text for text in backgrounds if planted is None or not text.endswith((own, any_label))]
    return {
        "place_found": any(supported),
        "false_places": supported.count(False),
        "places": places,
        "background_found": any(text.endswith(own) for text in backgrounds),
        "false_backgrounds": len(false),
        "taken": _taken(audit, planted),
        "verdicts": [[claim.verdict, claim.text] for claim in audit.claims],
    }


def _meet(box: tuple[slice, ...], square: tuple[slice, slice]) -> bool:
    """Whether a place has a position of the square."""
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(box, square, strict=True))


def _mean(mean: explain.SampleMean) -> list[float | None]:
    """The mean and its interval."""
    return [evidence.digits(number) for number in (mean.value, *mean.interval)]


def _taken(audit: explain.Audit, planted: str | None) -> list[float | None] | None:
    """Samples called by the planted label on its backgrounds, and on those of their own label."""
    donors = [] if audit.regions is None else audit.regions.donors
    found = next((donor.taken for donor in donors if donor.label == planted), None)
    if found is None:
        return None
    return [evidence.digits(found.first.value), evidence.digits(found.second.value)]


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Hits, misses and false alarms over all runs."""
    planted = [run for run in runs if run["planted"]]
    twins = [run for run in runs if not run["planted"]]
    return {
        "planted": len(planted),
        "clean": len(twins),
        "found_without_regions": sum(run["without_regions"]["place_found"] for run in planted),
        "found_with_regions": sum(run["with_regions"]["place_found"] for run in planted),
        "background_found": sum(run["with_regions"]["background_found"] for run in planted),
        "false_places": sum(
            run[kind]["false_places"]
            for run in runs
            for kind in ("without_regions", "with_regions")
        ),
        "false_backgrounds": sum(run["with_regions"]["false_backgrounds"] for run in runs),
    }


def table(result: Mapping[str, Any]) -> str:
    """The runs as rows of Markdown."""
    heads = (
        *("data", "seed", "planted in", "accuracy", "without masks", "pasted in, elsewhere"),
        *("with masks", "background", "on its background, on their own"),
    )
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for run in result["runs"]:
        alone, both, planted = run["without_regions"], run["with_regions"], run["planted"]
        where = f"{run['class']}, {run['corner']}" if planted else "nothing"
        cells = [run["source"], str(run["seed"]), where, f"{run['accuracy']:.1%}"]
        cells.append(_places(planted, alone))
        strongest = max(
            (
                place
                for place in alone["places"]
                if place["planted"] and place["pasted"] is not None
            ),
            key=lambda place: place["pasted"],
            default={"pasted": None, "elsewhere": None},
        )
        cells.append(_pair(strongest["pasted"], strongest["elsewhere"]))
        cells.append(_places(planted, both))
        cells.append(_words(planted, both["background_found"], both["false_backgrounds"]))
        cells.append(_pair(*(both["taken"] or (None, None))))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _places(planted: bool, audit: Mapping[str, Any]) -> str:
    told = _words(planted, audit["place_found"], audit["false_places"])
    is_open = any(p["planted"] and p["verdict"] == "undecided" for p in audit["places"])
    return told.replace("not found", "undecided") if is_open else told


def _words(planted: bool, found: bool, false: int) -> str:
    told = ("found" if found else "not found") if planted else "nothing" if not false else ""
    return ", ".join(filter(None, (told, f"{false} false" if false else "")))


def _pair(one: float | None, other: float | None) -> str:
    return "" if one is None or other is None else f"{one:.0%}, {other:.0%}"


def main() -> int:
    """Run what is missing, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="runs side by side, one thread each")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--pages", type=Path, help="a folder for the audits' pages")
    parser.add_argument("--table", action="store_true", help="print what --out holds")
    arguments = parser.parse_args()
    if arguments.table:
        evidence.say(table(read_json(arguments.out)))
        return 0
    os.environ["OMP_NUM_THREADS"] = "1"
    runs: list[dict[str, Any]] = []
    wanted = [(s, seed, p) for p in (True, False) for seed in PLANTED for s in SOURCES]
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(one_run, *each, arguments.pages) for each in wanted]
        for future in as_completed(waiting):
            runs.append(future.result())
            runs.sort(
                key=lambda run: (SOURCES.index(run["source"]), run["seed"], not run["planted"])
            )
            told = {
                "experiment": "planted_shortcut",
                "network": NETWORK,
                "recipe": RECIPE | {"epochs": EPOCHS},
                "square": {"side": SIDE, "share": SHARE, "others": LEAK},
                "summary": summary(runs),
                "runs": runs,
            }
            write_json(arguments.out, told | evidence.provenance())
            evidence.say(table({"runs": [future.result()]}).splitlines()[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
