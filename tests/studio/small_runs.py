"""Untrained runs of each kind, as small as they go, for the tests of what serves and shows them."""

from __future__ import annotations

import torch

from convarium import models
from convarium.data import (
    Preprocessing,
    SeriesPreprocessing,
    TextPreprocessing,
    TokenOptions,
    VolumePreprocessing,
)
from convarium.data.texts.tokens import learn_tokens

TEXTS = ["a red shoe", "a blue hat", "a green coat and a red hat"]


def save(folder, name, steps, **options):
    """A run of a network with initial weights."""
    torch.manual_seed(0)
    model = models.create(name, num_classes=len(steps.classes), **options)
    return models.save(model, folder, {"task": "classification", **steps.to_card()})


def save_photos(folder, classes):
    """A run that takes colour images."""
    steps = Preprocessing((3, 32, 32), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), classes=classes)
    return save(folder, "convnet", steps)


def save_reviews(folder, classes):
    """A run that takes texts."""
    tokenizer = learn_tokens(TEXTS, TokenOptions(least=1))
    steps = TextPreprocessing((12,), classes=classes, tokenizer=tokenizer)
    return save(folder, "text_cnn", steps, vocabulary=len(steps.tokens))


def save_curves(folder, classes):
    """A run that takes series of two channels."""
    steps = SeriesPreprocessing((2, 40), (0.0, 1.0), (1.0, 2.0), classes=classes)
    return save(folder, "fcn", steps, in_channels=2, spatial_dims=1)


def save_scans(folder, classes):
    """A run that takes volumes."""
    steps = VolumePreprocessing((1, 8, 10, 12), (0.0,), (1.0,), classes=classes)
    return save(folder, "convnet", steps, in_channels=1, spatial_dims=3, channels=[4, 8])
