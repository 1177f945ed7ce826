"""What the figures of stored results on texts and series are, in words; see `results_known.py`."""

from __future__ import annotations

from results_figures import Figure, Known, Result, number, percent, row

_MINUTES = 30
_COUNTING = ("bag of words", "TF-IDF and logistic regression")
_SQUARES, _UNDER_CHANCE = 1e-3, 100  # asked of the TCN: an error, and how many times under chance


def series(result: Result) -> list[Figure]:
    """Accuracy on each data set beside MiniRocket, and time beside aeon's InceptionTime."""
    rows: list[Figure] = []
    for name, found in result["data_sets"].items():
        scores = [run["accuracy"] for run in found["runs"]]
        told = {"n": len(scores), "mean": found["mean_accuracy"]}
        told |= {"lowest": min(scores), "highest": max(scores)}
        asked = f"at least {percent(found['bound'])}"
        rows.append(row(f"{name}: the default command", told, shown=percent, asked=asked))
        peer = found["minirocket"]
        n, mean = len(peer["runs"]), peer["mean_accuracy"]
        rows.append(row(f"{name}: MiniRocket of aeon", mean, shown=percent, n=n))
        took = row(f"{name}: a run of the command, time of a core", found["seconds"], unit=" s")
        race = found.get("aeon_inception_time")
        rows += [took] if race is None else [took._replace(asked=_as_quick(race))]
    return rows


def _as_quick(race: Result) -> str:
    """What aeon's InceptionTime took to the bound, or had not reached in its longest training."""
    if race["seconds_to_bound"] is not None:
        return f"at most {number(race['seconds_to_bound'])} s, aeon's InceptionTime to that bound"
    most = max(each["seconds"] for each in race["budgets"])
    return f"aeon's InceptionTime: not at that bound in {number(most)} s"


def series_recipes(result: Result) -> list[Figure]:
    """Ways of training few series: right answers, and what changes against the rule."""
    rows: list[Figure] = []
    for way, found in result["summary"].items():
        what = f"{way}, {number(found['seconds'])} s each"
        rows.append(row(what, found["accuracy"], shown=percent))
        if "against_rule" in found:
            rows.append(row(f"{way} less the rule", found["against_rule"], shown=percent))
    return rows


def sequence_memory(result: Result) -> list[Figure]:
    """What networks of equal parameters remember."""
    chances = {run["task"]: run["chance"] for run in result["runs"]}
    most = {"adding_600": _SQUARES}
    if "copying_1000" in chances:
        most["copying_1000"] = chances["copying_1000"] / _UNDER_CHANCE
    rows: list[Figure] = []
    for task, networks in result["summary"].items():
        words = f"under {number(most[task])}" if task in most else ""
        for network, found in networks.items():
            asked = words if network == "tcn_far" else ""
            name = f"{task}, {network}".replace("_", " ")
            what = f"{name} (chance {number(chances[task])})"
            rows.append(row(what, found, asked=asked))
            if asked:
                minutes = row(f"{what}: minutes of a core", found["seconds"] / 60, n=found["n"])
                rows.append(minutes._replace(asked=f"at most {_MINUTES}"))
    return rows


def catalogue_words(result: Result) -> list[Figure]:
    """Networks and counting on texts whose order says nothing, or something."""
    return [
        row(f"{case}: {method.replace('_', ' ')}", found, shown=percent)
        for case, methods in result["summary"].items()
        for method, found in methods.items()
    ]


def texts(result: Result) -> list[Figure]:
    """Accuracy beside classifiers that count words, texts a second, and memory by items."""
    rows: list[Figure] = []
    for part, words in (("bbc", "BBC news"), ("descriptions", "package descriptions")):
        if part in result:
            rows += _beside_counting(words, result[part])
    if "speed" in result:
        found = result["speed"]
        words = f"texts of {found['tokens']} tokens embedded a second"
        goal = {"default": f"at least {number(found['goal'])}"}
        for name, whose in (("default", "command"), ("paper", "paper")):
            own = row(f"{words}, the network of the {whose}", found[name]["embed"])
            rows.append(own._replace(asked=goal.get(name, "")))
    for it in result.get("memory", {}).get("rows", ()):
        what = f"`embed` of {number(it['items'])} items: the most memory held"
        rows.append(row(what, it["peak_mib"], unit=" MiB", n="1 run"))
        rows[-1] = rows[-1]._replace(asked=f"a table of {number(it['table_mib'])} MiB")
    return rows


def _beside_counting(words: str, found: Result) -> list[Figure]:
    goal = found["goal"].get("accuracy")
    asked = _COUNTING[1] if goal is None else percent(goal)
    rows = [row(f"{words}: text_cnn", found["text_cnn"], shown=percent, asked=f"at least {asked}")]
    rows += [row(f"{words}: {name}", found[name], shown=percent) for name in _COUNTING]
    gaps = found["gaps"].items()
    return rows + [row(f"{words}: text_cnn less {name}", it, shown=percent) for name, it in gaps]


def transformer(result: Result) -> list[Figure]:
    """TextCNN against an encoder of equal parameters."""
    rows: list[Figure] = []
    if "accuracy" in result:
        found = result["accuracy"]
        for name, words in (("text_cnn", "TextCNN"), ("encoder", "transformer encoder")):
            rows.append(row(f"BBC news: {words}", found[name], shown=percent))
        rows.append(row("BBC news: TextCNN less encoder", found["gap"], shown=percent))
    for it in result.get("latency", {}).get("rows", ()):
        n = it["ms"]["encoder"]["n"]
        for name, words in (("text_cnn", "TextCNN"), ("looked_up", "TextCNN looked up")):
            what = f"{it['tokens']} tokens, batch {it['batch']}: encoder / {words}"
            rows.append(row(what, it["times_faster"][name], n=n))
    return rows


KNOWN = {
    "series": Known(
        "Time series",
        "Default splits of the archives, `convarium train NAME_TRAIN.ts`; the range is of seeds.",
        series,
    ),
    "series_recipes": Known(
        "Recipes for few series",
        "Of 36 series of OSULeaf, 406 others are answered; seconds are of a core; n is draws.",
        series_recipes,
    ),
    "sequence_memory": Known(
        "What is remembered",
        "Scores on test sequences after the last step, smaller is better; n is seeds.",
        sequence_memory,
    ),
    "catalogue_words": Known(
        "Words of a made-up catalogue",
        "Accuracy by the share of tokens that tell a category, and where order tells; n is seeds.",
        catalogue_words,
    ),
    "texts": Known("Texts", "Accuracy on test texts; differences on the same texts.", texts),
    "transformer": Known(
        "TextCNN and a transformer encoder",
        "torch's own layers, equal parameters; accuracy over seeds, latency in turns.",
        transformer,
    ),
}
