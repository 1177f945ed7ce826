"""What simple classifiers reach on the same texts: counts of words, and means of word vectors.

    bag of words   mean of the tokens' vectors -> 128 -> relu -> dropout -> classes, trained alike
    TF-IDF         weighted counts of words -> logistic regression (scikit-learn)

References:
    Iyyer et al. (2015), "Deep unordered composition rivals syntactic methods for text
    classification", ACL, section 2 (means of vectors); Newcombe (1998), Statistics in Medicine 17,
    2635-2650, method 10 (the interval of a difference on the same samples).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convarium import seeds
from convarium.data import Part, Parts, TextPreprocessing, build_card
from convarium.errors import OptionError, import_extra
from convarium.intervals import Interval, newcombe_pairs, wilson
from convarium.predict import Predictor
from convarium.tasks import ClassEvaluation, Evaluation
from convarium.train.config import TrainConfig
from convarium.train.learner import Learner
from convarium.train.loop import fit

_STRENGTHS = (1.0, 10.0)  # inverse of the regularisation, of which the validation samples choose
_WIDTH = 128


@dataclass(frozen=True)
class Baseline:
    """A simple classifier beside the network, on the same samples.

    Args:
        name: what it is.
        n: samples.
        correct: of them.
        interval: of its accuracy (Wilson, 95 %).
        gap: accuracy of the network minus its own.
        gap_interval: of that (Newcombe, paired, 95 %).
    """

    name: str
    n: int
    correct: int
    interval: Interval
    gap: float
    gap_interval: Interval

    @property
    def accuracy(self) -> float:
        """Share of the samples that it names rightly."""
        return self.correct / self.n if self.n else math.nan

    @property
    def verdict(self) -> str:
        """Which of the two is better: "network", "baseline", or "undecided"."""
        low, high = self.gap_interval
        return "network" if low > 0 else "baseline" if high < 0 else "undecided"

    def sentence(self) -> str:
        """Its accuracy, and who won."""
        low, high = self.interval
        words = {
            "network": "the network is better",
            "baseline": "it is better than the network",
            "undecided": "which of the two is better is not decided",
        }
        below, above = self.gap_interval
        return (
            f"{self.name}: accuracy {self.accuracy:.1%} ({low:.1%} to {high:.1%}); "
            f"{words[self.verdict]} (the network's minus its own: {self.gap:+.1%}, {below:+.1%} to "
            f"{above:+.1%})"
        )

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        own = dataclasses.asdict(self)
        return {**own, "accuracy": self.accuracy, "verdict": self.verdict}


def text_baselines(
    parts: Parts, preprocessing: TextPreprocessing, config: TrainConfig, evaluation: Evaluation
) -> tuple[Baseline, ...]:
    """Train both on the training texts, and compare them with a network on its test texts.

    Args:
        parts: of the network's run.
        preprocessing: its tokens, which the bag of words reads; TF-IDF has words of its own.
        config: its training, which the bag of words gets too.
        evaluation: of the network on `parts.test`.

    Raises:
        OptionError: another task than one class a text.
        MissingExtraError: scikit-learn is not installed.
    """
    if not isinstance(evaluation, ClassEvaluation):
        raise OptionError("Baselines are for one class a text; leave them out.")
    network = evaluation.labels == evaluation.targets
    order = {int(i): place for place, i in enumerate(parts.test.ids)}
    places = np.array([order[int(i)] for i in evaluation.ids], np.int64)
    bag = bag_of_words(parts, preprocessing, config)[places]
    linear = word_counts(parts)[places]
    targets = evaluation.targets
    named = {"bag of words": bag, "TF-IDF and logistic regression": linear}
    return tuple(compared(name, network, said == targets) for name, said in named.items())


def check_baselines(parts: Parts, preprocessing: TextPreprocessing, config: TrainConfig) -> None:
    """Refuse what `text_baselines` cannot be trained on, before a network is.

    Args:
        parts: of the network's run.
        preprocessing: its tokens.
        config: its training.

    Raises:
        OptionError: no texts of one class each, or an option that needs a network of ours.
        MissingExtraError: scikit-learn is not installed.
    """
    dataset = parts.train.dataset
    if dataset.kind != "texts" or dataset.task != "classification":
        raise OptionError("--baselines is for texts of one class each; leave it out.")
    import_extra("sklearn.feature_extraction.text", "texts")
    Learner(_bag(preprocessing, config), parts, _plain(config), preprocessing)


def compared(name: str, network: NDArray[np.bool_], own: NDArray[np.bool_]) -> Baseline:
    """A baseline from which samples the network and it name rightly."""
    n, right, correct = len(own), int(network.sum()), int(own.sum())
    gap = (right - correct) / n if n else math.nan
    interval = newcombe_pairs(network, own)
    return Baseline(name, n, correct, wilson(correct, n), gap, interval)


def bag_of_words(
    parts: Parts, preprocessing: TextPreprocessing, config: TrainConfig
) -> NDArray[np.int64]:
    """Classes that a mean of word vectors gives for the test texts, in their order."""
    model = _bag(preprocessing, config)
    fit(model, parts, _plain(config), preprocessing=preprocessing)
    predictor = Predictor(model, build_card(parts, preprocessing))
    found = cast("ClassEvaluation", predictor.evaluate(parts.test))
    return found.labels


def word_counts(parts: Parts) -> NDArray[np.int64]:
    """Classes that TF-IDF and logistic regression give for the test texts, in their order.

    Words that stand in two training texts or more, 1 + log of their counts, L2 penalty; the
    strength of the penalty that is best on the validation texts, of two.
    """
    texts = import_extra("sklearn.feature_extraction.text", "texts")
    linear = import_extra("sklearn.linear_model", "texts")
    counts = texts.TfidfVectorizer(sublinear_tf=True, min_df=2)
    try:
        train = counts.fit_transform(_texts(parts.train))
    except ValueError as error:  # no word stands in two texts
        raise OptionError(f"The texts are too few for TF-IDF ({error}).") from error
    validation = counts.transform(_texts(parts.validation))
    best, most = None, -1.0
    for strength in _STRENGTHS:
        model = linear.LogisticRegression(C=strength, max_iter=1000)
        model.fit(train, parts.train.targets)
        score = float(model.score(validation, parts.validation.targets))
        best, most = (model, score) if score > most else (best, most)
    found: NDArray[np.int64] = cast("Any", best).predict(counts.transform(_texts(parts.test)))
    return found


class BagOfWords(nn.Module):
    """The mean of the tokens' vectors, a hidden layer, and the classes.

    Shape:
        int64 `(B, T)` with 0 for padding -> `(B, K)`.

    >>> BagOfWords(10_000, 20)(torch.tensor([[2, 3, 0], [4, 0, 0]])).shape
    torch.Size([2, 20])
    """

    def __init__(self, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, _WIDTH, padding_idx=0)
        self.layers = nn.Sequential(
            nn.Linear(_WIDTH, _WIDTH), nn.ReLU(), nn.Dropout(0.3), nn.Linear(_WIDTH, classes)
        )

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits of each text."""
        real = (tokens != 0 if mask is None else mask).unsqueeze(2)
        vectors = self.vectors(tokens) * real
        logits: Tensor = self.layers(vectors.sum(1) / real.sum(1).clamp(min=1))
        return logits


def _bag(preprocessing: TextPreprocessing, config: TrainConfig) -> BagOfWords:
    with torch.random.fork_rng(devices=[]):
        seeds.torch_seed(torch.device("cpu"), config.seed, "bag of words")
        return BagOfWords(len(preprocessing.tokens), len(preprocessing.classes))


def _plain(config: TrainConfig) -> TrainConfig:
    """The training without what only networks with stages and vectors of tokens have."""
    stages: dict[str, Any] = {"layer_decay": 1.0, "freeze_epochs": 0, "unfreeze_epochs": 0}
    return dataclasses.replace(config, vectors="drawn", word_dropout=0.0, **stages)


def _texts(part: Part) -> Sequence[str]:
    return [part.dataset.read(int(i)) for i in part.ids]
