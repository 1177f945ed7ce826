"""What the figures of each stored experiment are, in words; beside `results_known.py`."""

from __future__ import annotations

from collections.abc import Mapping

from results_figures import Figure, Known, Result, counted, number, percent, row, spread_of

_STRONG = 0.945  # of Fashion-MNIST, asked of all the recipe's epochs


def blur_pooling(result: Result) -> list[Figure]:
    """Accuracy and answers that stay, with and without."""
    words = {"stride": "by stride", "blur": "by blur pooling", "blur_minus_stride": "difference"}
    return [
        row(f"{kind}, {words[way]}", it, shown=percent)
        for kind, ways in result["summary"].items()
        for way, it in ways.items()
    ]


def families_compared(result: Result) -> list[Figure]:
    """What each family is worth."""
    rows = []
    for it in result["rows"]:
        size = f"{it['parameters'] / 1e6:.2f} M parameters, {it['macs'] / 1e9:.3f} GMACs"
        top = f"; top-1 {it['accuracy']:.2f} % ({it['accuracy_source']})" if it["accuracy"] else ""
        figure = f"{size}, field {it['fields'][-1]}, {number(it['latency_ms'])} ms{top}"
        rows.append(Figure(it["name"], figure, "1 image", "", ""))
    return rows


def plain_against_residual(result: Result) -> list[Figure]:
    """Errors of plain and residual networks."""
    rows = []
    for name, found in result["summary"].items():
        for kind, it in found.items():
            if isinstance(it, Mapping) and "error" in kind:
                what = f"{name.replace('_', ' ')}: {kind.replace('_', ' ')}"
                rows.append(row(what, it, shown=percent))
    return rows


def planted_shortcut(result: Result) -> list[Figure]:
    """What the audits found."""
    found = result["summary"]
    of = {
        **dict.fromkeys(("found_without_regions", "found_with_regions"), found["planted"]),
        "background_found": found["planted"],
        **dict.fromkeys(("false_places", "false_backgrounds"), found["planted"] + found["clean"]),
    }
    words = {name: name.replace("_", " ").replace("regions", "masks") for name in of}
    return [counted(words[name], found[name], n, share=False) for name, n in of.items()]


def recipe_results(result: Result) -> list[Figure]:
    """Test accuracy and time of each recipe."""
    rows: list[Figure] = []
    for run in result["rows"]:
        asked = " ".join([run["recipe"], *run["flags"]])
        what = f"{asked}, {run['network']} on {run['data']}, {run['epochs']} epochs"
        n, interval = f"{run['n']:,}", spread_of(run, percent)
        full = (run["recipe"], run["data"], run["epochs"]) == ("strong", "fashion-mnist", 100)
        bound = f"at least {percent(_STRONG)}" if full else ""
        rows.append(Figure(f"{what}: test accuracy", percent(run["accuracy"]), n, interval, bound))
        if "accuracy_with_flips" in run:
            right = round(run["accuracy_with_flips"] * run["n"])
            rows.append(counted("the same with --tta flip", right, run["n"]))
        rows.append(row("its minutes", run["seconds"] / 60, n="1 run"))
        if "epoch_seconds" in run:
            rows.append(
                row("an epoch's seconds, median", run["epoch_seconds"], n=str(run["epochs"]))
            )
    return rows


def augmentation_ablation(result: Result) -> list[Figure]:
    """What each augmentation gives, and what it does to confidence."""
    rows: list[Figure] = []
    for name, found in result["summary"].items():
        rows.append(row(f"{name}: test accuracy", found["accuracy"], shown=percent))
        if "gain" in found:
            rows.append(row(f"{name}: gain over flip and crop", found["gain"], shown=percent))
        rows.append(row(f"{name}: calibration error", found["ece"]))
        rows.append(row(f"{name}: confidence on clip art", found["confidence_clipart"]))
    return rows


KNOWN = {
    "blur_pooling": Known(
        "Blur pooling",
        "Blurring before a map is halved makes answers more stable under shifts (Zhang 2019).",
        blur_pooling,
    ),
    "families_compared": Known(
        "The families compared",
        "One image at 224x224; published accuracies with their source.",
        families_compared,
    ),
    "plain_against_residual": Known(
        "Plain against residual networks",
        "Deeper plain networks fit worse, deeper residual ones do not (He et al. 2015).",
        plain_against_residual,
    ),
    "planted_shortcut": Known(
        "Planted shortcuts",
        "What `convarium audit` found; n is networks, a planted one and a clean twin each time.",
        planted_shortcut,
    ),
    "recipe_results": Known(
        "Recipes",
        "What a recipe gave by the command; test images, one seed.",
        recipe_results,
    ),
    "augmentation_ablation": Known(
        "Augmentation, one by one",
        "A small network on 10,000 images of Fashion-MNIST; n is seeds.",
        augmentation_ablation,
    ),
}
