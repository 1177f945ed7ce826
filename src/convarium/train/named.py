"""Recipes by name: complete sets of options, put over what a data set's facts lead to.

This file does not import torch, so that `convarium train --help` stays quick.

References:
    He, Zhang, Ren, Sun (2015), arXiv:1512.03385, section 4.2 (`cifar2015`); Zhang et al. (2018),
    "mixup", arXiv:1710.09412, section 3; Yun et al. (2019), "CutMix", arXiv:1905.04899, section 3;
    Cubuk et al. (2020), "RandAugment", arXiv:1909.13719, section 4; Zhong et al. (2017), "Random
    erasing", arXiv:1708.04896, section 4 (`strong`); Howard, Ruder (2018), arXiv:1801.06146,
    section 3 (`finetune`); Smith, Topin (2018), arXiv:1708.07120, section 4 (`quick`); Jordan
    (2024), arXiv:2404.00498, section 3 (`speedrun`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from convarium.errors import OptionError, did_you_mean


@dataclass(frozen=True)
class Recipe:
    """A named way to train.

    Args:
        purpose: what it is for, in a few words.
        options: keywords of `TrainConfig`; those that are missing follow from the data.
        crop_share: `pad_crop` as a share of the images' side; None leaves it to the data.
        model: the network where none is asked for; None leaves it to the data.
        size: side in pixels where none is asked for; None leaves it to the data.
        pretrained: whether it supposes published weights.
    """

    purpose: str
    options: Mapping[str, Any]
    crop_share: float | None = None
    model: str | None = None
    size: int | None = None
    pretrained: bool = False

    def config_options(self, side: int) -> dict[str, Any]:
        """The options for images of a side in pixels.

        >>> RECIPES["cifar2015"].config_options(32)["pad_crop"]
        4
        """
        if self.crop_share is None:
            return dict(self.options)
        return {**self.options, "pad_crop": max(1, round(self.crop_share * side))}


_SGD = {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "batch_size": 128}

RECIPES: Mapping[str, Recipe] = {
    "quick": Recipe(
        "a first look in few epochs",
        {
            "epochs": 5,
            "optimizer": "adamw",
            "weight_decay": 0.02,
            "schedule": "one_cycle",
            "warmup": 0.3,
            "label_smoothing": 0.0,
            "pad_crop": 0,
        },
    ),
    "baseline": Recipe(
        "the plain reference that others are compared with",
        {
            **_SGD,
            "epochs": 30,
            "nesterov": True,
            "weight_decay": 1e-4,
            "schedule": "cosine",
            "warmup": 0.1,
            "label_smoothing": 0.0,
        },
        crop_share=1 / 8,
    ),
    "strong": Recipe(
        "the best network where time is no matter",
        {
            **_SGD,
            "epochs": 100,
            "nesterov": True,
            "weight_decay": 5e-4,
            "schedule": "cosine",
            "warmup": 0.05,
            "label_smoothing": 0.1,
            "policy": "randaugment",
            "policy_ops": 2,
            "policy_magnitude": 9,
            "erasing": 0.25,
            "mixup": 0.2,
            "cutmix": 1.0,
            "ema": 0.999,
        },
        crop_share=1 / 8,
    ),
    "finetune": Recipe(
        "published weights for other classes, with few samples",
        {
            "epochs": 12,
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "weight_decay": 0.05,
            "layer_decay": 0.6,
            "schedule": "cosine",
            "warmup": 0.1,
            "label_smoothing": 0.1,
            "freeze_epochs": 1,
            "unfreeze_epochs": 1,
        },
        crop_share=1 / 16,
        pretrained=True,
    ),
    "cifar2015": Recipe(
        "the residual networks' paper: 64,000 steps on 45,000 images of CIFAR-10",
        {
            **_SGD,
            "epochs": 182,
            "nesterov": False,
            "weight_decay": 1e-4,
            "schedule": "step",
            "gamma": 0.1,
            "warmup": 0.0,
            "label_smoothing": 0.0,
        },
        crop_share=1 / 8,
        model="resnet20_cifar",
        size=32,
    ),
    "speedrun": Recipe(
        "small images learnt in minutes, by all that shortens the way",
        {
            "epochs": 5,
            "batch_size": 256,
            "optimizer": "muon",
            "learning_rate": 0.01,
            "momentum": 0.95,
            "weight_decay": 0.02,
            "schedule": "linear",
            "warmup": 0.15,
            "label_smoothing": 0.1,
            "alternate_flip": True,
            "start_size": 0.57,
            "layout": "channels_last",
        },
        crop_share=1 / 14,
        model="speednet",
    ),
}


def recipe_named(recipe: str) -> Recipe:
    """The recipe of a name.

    Raises:
        OptionError: there is none; the text names the close match.
    """
    if recipe not in RECIPES:
        raise OptionError(
            f"recipe (={recipe!r}) must be one of {', '.join(RECIPES)}."
            f"{did_you_mean(recipe, RECIPES)}"
        )
    return RECIPES[recipe]
