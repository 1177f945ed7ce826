"""Does a network that reads words in order beat counting them? On texts where order says nothing.

    python experiments/catalogue_words.py
    python experiments/catalogue_words.py --items 5000 --epochs 4 --cases 0.1 order --seeds 0

It is told that a 1-D convolutional network beats a bag of words on such a catalogue because it sees
phrases. The tokens are shuffled, so there are none: what is left is how well each method counts.
For shares of signature tokens of .6, .1 and .05, and once where only the order of neighbours tells
two categories apart (see `catalogue.py`): TextCNN (128 numbers a token, windows 3, 4 and 5, 100
filters each, batch norm, dropout .3), a bag of words (masked mean, 128-128, ReLU, dropout .3), both
by Adam at .001 and batches of 256; TF-IDF with logistic regression; and counting signature tokens,
which no method that learns can be told. Everything runs on one thread. Finished runs are kept:
called again with the same settings, it goes on with what is missing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import catalogue
import evidence
import learning
from convarium import models
from convarium.files import read_json, write_json
from convarium.intervals import wilson
from convarium.train.text_baselines import BagOfWords

RESULT = evidence.RESULTS / "catalogue_words.json"
CASES = {"0.6": (0.6, False), "0.1": (0.1, False), "0.05": (0.05, False), "order": (0.6, True)}
METHODS = ("text_cnn", "bag_of_words", "tfidf", "counting")
_BATCH, _RATE = 256, 1e-3


def text_cnn() -> nn.Module:
    """1,440,520 parameters."""
    return models.create(
        "text_cnn",
        vocabulary=catalogue.VOCABULARY,
        num_classes=catalogue.CATEGORIES,
        norm="batch",
        dropout=0.3,
    )


def bag_of_words() -> nn.Module:
    """1,299,092 parameters."""
    return BagOfWords(catalogue.VOCABULARY, catalogue.CATEGORIES)


def one_run(method: str, case: str, seed: int, items: int, epochs: int) -> dict[str, Any]:
    """Train on four fifths of the items, and measure on the others."""
    share, ordered = CASES[case]
    made = catalogue.drawn(items, share, ordered=ordered)
    learning.set_seed(seed)
    told: dict[str, Any] = {"method": method, "case": case, "seed": seed}
    if method in ("text_cnn", "bag_of_words"):
        model = text_cnn() if method == "text_cnn" else bag_of_words()
        told["parameters"] = sum(p.numel() for p in model.parameters())
        tokens, classes = torch.from_numpy(made.tokens), torch.from_numpy(made.categories)
        n = made.training
        batch = min(_BATCH, n)
        told["seconds"] = learning.learn(
            model,
            learning.shuffled(tokens[:n], classes[:n], batch, seed),
            nn.functional.cross_entropy,
            steps=epochs * (n // batch),
            rate=_RATE,
        )
        said = learning.outputs(model, tokens[n:]).argmax(1).numpy()
    else:
        said = (
            tfidf(made)
            if method == "tfidf"
            else catalogue.counted(made, slice(made.training, None))
        )
    right = int((said == made.categories[made.training :]).sum())
    told["n"] = len(said)
    return told | {"accuracy": right / len(said), "interval": list(wilson(right, len(said)))}


def tfidf(made: catalogue.Catalogue) -> np.ndarray:
    """TF-IDF of the tokens, and logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = [" ".join(f"w{token}" for token in row if token) for row in made.tokens]
    counts = TfidfVectorizer(sublinear_tf=True)
    train = counts.fit_transform(texts[: made.training])
    model = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(train, made.categories[: made.training])
    return model.predict(counts.transform(texts[made.training :]))


def summary(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean accuracy over the seeds, by case and method."""
    found: dict[str, Any] = {}
    for case in CASES:
        for method in METHODS:
            mine = [r["accuracy"] for r in runs if (r["case"], r["method"]) == (case, method)]
            if mine:
                found.setdefault(case, {})[method] = evidence.over_seeds(mine)
    return found


def main() -> int:
    """Run what is missing, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    settings = {"items": arguments.items, "epochs": arguments.epochs}
    runs: list[dict[str, Any]] = []
    if arguments.out.exists():
        before = read_json(arguments.out)
        if before["settings"] != settings:
            raise SystemExit(f"{arguments.out} was made with other settings; give another --out.")
        runs = list(before["runs"])
    done = {(run["case"], run["method"], run["seed"]) for run in runs}
    for case in arguments.cases:
        for method in arguments.methods:
            learns = method in ("text_cnn", "bag_of_words")
            for seed in arguments.seeds if learns else arguments.seeds[:1]:
                if (case, method, seed) in done:
                    continue
                runs.append(one_run(method, case, seed, arguments.items, arguments.epochs))
                told = {
                    "experiment": "catalogue_words",
                    "claim": "On shuffled tokens a convolutional network cannot gain by phrases; "
                    "where neighbours' order tells, it does.",
                    "settings": settings,
                    "summary": summary(runs),
                    "runs": runs,
                }
                write_json(arguments.out, told | evidence.provenance())
                last = runs[-1]
                evidence.say(f"{case} {method} seed {seed}: {last['accuracy']:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
