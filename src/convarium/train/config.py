"""How to train, as one frozen table of options; the command's flags are made from it.

This file does not import torch, so that `convarium train --help` stays quick.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from convarium.errors import OptionError, did_you_mean
from convarium.options import check_options, kinds_of, option
from convarium.train.named import RECIPES, recipe_named


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of a training run; None switches an option off.

    Raises:
        OptionError: a value is of the wrong type or outside its limits, options exclude each
            other, or a recipe is named without its options (`from_recipe` has them).

    >>> TrainConfig(epochs=5, optimizer="sgd").learning_rate
    0.003
    """

    epochs: int = option(20, "passes over the training data", low=1)
    batch_size: int = option(128, "samples a step", low=1)
    accumulate: int = option(
        1, "parts of a batch that pass through the network one by one, to save memory", low=1
    )
    optimizer: str = option("adamw", "update rule", choices=("adamw", "sgd", "muon"))
    learning_rate: float = option(3e-3, "peak learning rate", above=0)
    momentum: float = option(
        0.9, "momentum of sgd and muon", low=0, below=1, of=("optimizer", "sgd", "muon")
    )
    nesterov: bool = option(
        True, "Nesterov's form of the momentum", of=("optimizer", "sgd", "muon")
    )
    weight_decay: float = option(0.02, "decay of weights, not of norms and biases", low=0)
    layer_decay: float = option(
        1.0, "factor on the learning rate from each stage to the one before it", above=0, high=1
    )
    schedule: str = option(
        "auto",
        "the learning rate after the warm-up; auto is step where there are milestones, else cosine",
        choices=("auto", "cosine", "one_cycle", "linear", "step", "constant"),
    )
    warmup: float = option(0.2, "share of all steps that the rate rises", low=0, below=1)
    milestones: tuple[int, ...] | None = option(
        None,
        "steps of the step schedule; none means half and three quarters of all",
        low=1,
        of=("schedule", "step"),
    )
    gamma: float = option(
        0.1, "factor on the rate at each milestone", above=0, high=1, of=("schedule", "step")
    )
    clip_norm: float | None = option(None, "largest norm of the gradient", above=0)
    ema: float | None = option(None, "decay of averaged weights, such as 0.999", above=0, below=1)
    keep: str = option(
        "best",
        "weights that a run ends with: of the best validated epoch, or of the last",
        choices=("best", "last"),
    )
    freeze_epochs: int = option(0, "epochs at the start in which only the head learns", low=0)
    unfreeze_epochs: int = option(
        0, "epochs until one more stage learns, from the head backwards; 0 means all at once", low=0
    )
    loss: str = option(
        "auto",
        "what is minimised; auto is the task's own",
        choices=("auto", "cross_entropy", "bce", "focal", "mse", "mae", "huber"),
    )
    label_smoothing: float = option(0.0, "share of the target spread evenly", low=0, below=1)
    focal_gamma: float = option(2.0, "exponent of the focal loss", low=0, of=("loss", "focal"))
    huber_delta: float = option(
        1.0,
        "error from which on the Huber loss is linear, in deviations of the target",
        above=0,
        of=("loss", "huber"),
    )
    soft_constraint: float = option(
        0.0, "weight of block means that differ from the coarse field, in the loss of fields", low=0
    )
    balance: str = option(
        "none",
        "rare classes or labels: weigh them more; or draw classes equally often",
        choices=("none", "weights", "sampling"),
    )
    flip: bool = option(True, "mirror half of the training images")
    alternate_flip: bool = option(
        False,
        "mirror each image in every second epoch, instead of half of them by chance",
        of=("flip", True),
    )
    flip_axes: str = option(
        "width",
        "axes of volumes that flips mirror, each by itself; plane is height and width",
        choices=("width", "plane", "all"),
        of=("flip", True),
    )
    pad_crop: int = option(0, "pad by so many pixels and crop at random", low=0)
    resized_crop: float | None = option(
        None, "smallest share of an image that a random crop keeps, such as 0.08", above=0, high=1
    )
    jitter: float = option(
        0.0,
        "strength of random brightness, contrast, saturation and a quarter of hue; of series "
        "the deviation of noise on every value",
        low=0,
        high=1,
    )
    grey: float = option(0.0, "share of images that lose their colour", low=0, high=1)
    rotation: float = option(0.0, "largest rotation in degrees", low=0, high=180)
    policy: str = option(
        "none",
        "random operations on each image",
        choices=("none", "randaugment", "trivialaugment"),
    )
    policy_ops: int = option(
        2, "operations of randaugment on an image", low=1, high=14, of=("policy", "randaugment")
    )
    policy_magnitude: int = option(
        9, "strength of randaugment", low=0, high=30, of=("policy", "randaugment")
    )
    erasing: float = option(0.0, "share of images with an erased rectangle", low=0, high=1)
    mixup: float | None = option(None, "alpha of mixup, such as 0.2", above=0)
    cutmix: float | None = option(None, "alpha of CutMix, such as 1.0", above=0)
    word_dropout: float = option(
        0.0, "share of the words of training texts that become unknown", low=0, below=1
    )
    vectors: str = option(
        "drawn",
        "first vectors of a text network's tokens: drawn, counted in the training texts, or a file",
    )
    scaling: float = option(
        0.0, "deviation of the factor on each channel of training series", low=0
    )
    crop: float | None = option(
        None, "smallest share of a training series that a stretched window keeps", above=0, high=1
    )
    time_mask: float = option(
        0.0, "largest share of a training series that is set to zero", low=0, below=1
    )
    channel_mask: float = option(
        0.0, "probability that a channel of a training series is set to zero", low=0, below=1
    )
    shift: bool = option(False, "let blocks of training fields begin at any fine cell, by chance")
    start_size: float | None = option(
        None,
        "share of the images' sides that the first quarter of the steps sees; the last sees all",
        above=0,
        high=1,
    )
    precision: str = option(
        "auto",
        "arithmetic of the forward pass; auto measures long runs",
        choices=("auto", "fp32", "bf16"),
    )
    layout: str = option(
        "auto",
        "memory order of images; auto measures long runs",
        choices=("auto", "channels_last", "contiguous"),
    )
    compile: str = option(
        "auto",
        "torch.compile; auto measures long runs on GPUs, and is off elsewhere",
        choices=("auto", "on", "off"),
    )
    patience: int | None = option(
        None, "stop after so many epochs without a better validation score", low=1
    )
    time_budget: float | None = option(
        None, "time to train in, such as 10m; the epochs follow from it", above=0, unit="seconds"
    )
    time_around: float = option(
        0.0, "seconds of the time budget for what is around the training", low=0, flag=False
    )
    recipe: str | None = option(
        None, "named recipe that the options start from", choices=tuple(RECIPES)
    )
    cache: str | None = option(
        None, "folder that keeps decoded, smaller pictures, which crops are cut from"
    )
    checkpoint_seconds: float = option(60.0, "seconds between checkpoints", low=0, free=True)
    workers: int = option(1, "threads that decode images ahead", low=0, free=True)
    device: str = option("auto", "where to compute", choices=("auto", "cpu", "cuda"))
    deterministic: bool = option(False, "take algorithms of equal bits, on GPUs too")
    seed: int = option(0, "the one number that all randomness follows from", low=0)

    def __new__(cls, **given: Any) -> Self:
        """Refuse the name of a recipe that is given without what the recipe says."""
        name = given.get("recipe")
        said = recipe_named(name).config_options(1).keys() if isinstance(name, str) else set()
        if not said <= given.keys():
            raise OptionError(
                f"recipe (={name!r}) only says where options come from, and not all of them are "
                f"given; use TrainConfig.from_recipe({name!r}, side), or train.recommend."
            )
        return super().__new__(cls)

    def __post_init__(self) -> None:
        given: Any = self.milestones
        if isinstance(given, list):  # as TOML and JSON have it
            object.__setattr__(self, "milestones", tuple(given))
        check_options(self)
        _check_together(self)

    @property
    def chosen_schedule(self) -> str:
        """The schedule by name, also where `schedule` is auto."""
        if self.schedule != "auto":
            return self.schedule
        return "cosine" if self.milestones is None else "step"

    @property
    def mixing(self) -> bool:
        """Whether images are trained on in mixtures."""
        return self.mixup is not None or self.cutmix is not None

    @classmethod
    def from_recipe(cls, name: str, side: int, **options: Any) -> TrainConfig:
        """The options of a named recipe for images of a side in pixels, with others over them.

        What the recipe leaves to the data has its default; `train.recommend` looks at the data.

        Raises:
            OptionError: there is no such recipe, or an option or value is not allowed.

        >>> TrainConfig.from_recipe("strong", 32, epochs=3).mixup
        0.2
        """
        own = recipe_named(name).config_options(side)
        return cls.from_mapping({**own, **options, "recipe": name})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainConfig:
        """A configuration from names and values, as `config.toml` holds them.

        An option that is missing has its default: so a run is understood that was started before
        the option existed.

        Raises:
            OptionError: a name or value is not allowed.
        """
        known = {each.name for each in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                allowed = ", ".join(sorted(known))
                raise OptionError(
                    f"Unknown option {name!r}.{did_you_mean(name, known)} Allowed: {allowed}."
                )
        unset = {each.name: None for each in dataclasses.fields(cls) if each.default is None}
        return cls(**{**unset, **values})

    def to_mapping(self) -> dict[str, Any]:
        """Names and values; what is None is left out."""
        values = dataclasses.asdict(self)
        if self.milestones is not None:
            values["milestones"] = list(self.milestones)
        return {name: value for name, value in values.items() if value is not None}


def options() -> Iterator[tuple[str, type, bool, dataclasses.Field[Any]]]:
    """Name, type, whether None is allowed, and field of each option that has a flag.

    The type is int, float, str or bool; `tuple` stands for several whole numbers.
    """
    kinds = kinds_of(TrainConfig)
    for each in dataclasses.fields(TrainConfig):
        if each.metadata.get("flag", True):
            yield each.name, kinds[each.name].base, kinds[each.name].optional, each


def free_options() -> set[str]:
    """Names of the options that do not change the result."""
    return {each.name for each in dataclasses.fields(TrainConfig) if each.metadata.get("free")}


def _check_together(config: TrainConfig) -> None:
    """Refuse options that exclude each other, and options without effect."""
    if config.milestones is not None and config.chosen_schedule != "step":
        raise OptionError(
            f"milestones (={config.milestones}) belong to schedule='step', not to "
            f"{config.schedule!r}; set that, or leave them out."
        )
    if config.patience is not None and config.keep == "last":
        raise OptionError(
            f"patience (={config.patience}) stops where validation does not get better, and "
            "keep='last' does not ask it; use keep='best', or leave patience out."
        )
    if config.accumulate > config.batch_size:
        raise OptionError(
            f"accumulate (={config.accumulate}) must be at most batch_size (={config.batch_size}), "
            "which is the samples of all its parts together."
        )
