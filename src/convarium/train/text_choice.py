"""What to train on texts where nobody says: network and recipe, from how many texts there are."""

from __future__ import annotations

from typing import Any

import numpy as np

from convarium.data import Dataset

_FEW = 20_000


def text_choice(n: int) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Name and options of a network, and the options of a training, for n texts.

    Windows of one, two and three words, since a single word often tells most; the mean of the
    words' vectors beside the maxima, since many words tell a little; vectors that are counted in
    the training texts first, since few texts say little about a word. Few texts get smaller
    batches, more epochs and a larger rate.

    >>> model, options, config = text_choice(40_000)
    >>> model, config["batch_size"], config["epochs"]
    ('text_cnn', 128, 6)
    """
    batch = min(128, max(16, 1 << max(0, (n // 40).bit_length() - 1)))
    config = {
        "epochs": min(20, max(5, 240_000 // max(1, n))),
        "batch_size": batch,
        "optimizer": "adamw",
        "learning_rate": 4e-3 if n < _FEW else 2e-3,
        "weight_decay": 0.01,
        "warmup": 0.1,
        "flip": False,
        "word_dropout": 0.1,
        "vectors": "counted",
    }
    options = {"embedding": "fine_tuned", "kernel_sizes": [1, 2, 3], "mean": True}
    return "text_cnn", options, config


def texts_in_words(dataset: Dataset) -> str:
    """How long the texts are, for the line that says what is trained on."""
    survey = dataset.survey()
    lengths = survey.widths[survey.digests != 0]
    return f"median length {np.median(lengths):g} characters" if len(lengths) else "none readable"
