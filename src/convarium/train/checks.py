"""What is refused before anything is trained or written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from convarium.data import Batch, Part, Parts, Preprocessing
from convarium.errors import OptionError, ShapeError
from convarium.measure import layers_for_receptive_field
from convarium.models import Network
from convarium.models.ensemble import Ensemble
from convarium.models.sequence import SequenceClassifier
from convarium.models.tcn import TCN
from convarium.predict import Predictor
from convarium.train.config import TrainConfig
from convarium.train.growing import sides_at


def check_network(
    model: nn.Module, config: TrainConfig, card: Mapping[str, Any], device: torch.device
) -> None:
    """Refuse a network that cannot learn a task, by one forward pass.

    Args:
        model: on `device`.
        config: how it is to be trained.
        card: the data's part of a card.
        device: where to compute.

    Raises:
        ShapeError: its outputs do not fit the task.
        OptionError: parts of a batch would be too small for its batch norms, or images for crops;
            its members' probabilities are averaged where the task has none over the classes.
    """
    predictor = Predictor(model, card, device=device)
    example, beside = predictor.preprocessing.example(), predictor.preprocessing.beside()
    empty = torch.zeros(1, dtype=torch.int64)
    batch = Batch((example,), target=None, mask=None, index=empty, weight=None, named=beside)
    outputs = predictor.outputs(batch)
    size = predictor.task.head_size
    placed = outputs.ndim > 2 and predictor.preprocessing.kind != "grids"
    if outputs.ndim < 2 or outputs.shape[1] != size or placed:
        remedy = f"create it with num_classes={size}"
        if placed:
            remedy = "let it read out one position, or their mean, as tcn does by readout='last'"
        raise ShapeError(
            f"The network gives outputs {tuple(outputs.shape)} where the task needs {size} per "
            f"sample; {remedy}."
        )
    _check_average(model, predictor)
    _check_growth(predictor, config)
    _check_crop(predictor, config)
    norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    if norms and config.batch_size == 1:
        raise OptionError(
            "batch_size (=1) is too small for batch norm, which needs two samples; use 2 or more, "
            "or a network with another norm."
        )
    if norms and config.batch_size < 2 * config.accumulate:
        raise OptionError(
            f"accumulate (={config.accumulate}) leaves parts of one sample of batch_size "
            f"(={config.batch_size}), too small for batch norm; use at most "
            f"{config.batch_size // 2}."
        )


def check_lengths(model: nn.Module, parts: Parts) -> None:
    """Refuse series of unequal lengths for a network that takes no mask.

    Raises:
        OptionError: so.
    """
    dataset = parts.train.dataset
    masked = not isinstance(model, Network) or isinstance(model, SequenceClassifier)
    if dataset.kind != "series" or masked:
        return
    lengths = dataset.survey().widths
    lengths = lengths[lengths > 0]
    if lengths.min() < lengths.max():
        raise OptionError(
            f"The series have {lengths.min()} to {lengths.max()} time steps, and {model.name} "
            "takes series of one length; choose inception_time, fcn, resnet1d, temporal_cnn or "
            "tcn, or cut windows with --window."
        )


def check_drawing(config: TrainConfig, part: Part) -> None:
    """Refuse to draw samples from a stream.

    Raises:
        OptionError: so.
    """
    if config.balance == "sampling" and not part.listed:
        raise OptionError(
            "balance (='sampling') draws samples at will, and a stream has an order of its own; "
            "use balance='weights'."
        )


def field_advice(model: nn.Module, preprocessing: Preprocessing) -> str | None:
    """What to do where a TCN sees less of the past than the longest series has, else None.

    Args:
        model: any network.
        preprocessing: fitted on the training series, whose rate it has.
    """
    if not isinstance(model, TCN) or preprocessing.kind != "series":
        return None
    size, dilations = model.config["kernel_size"], model.config["dilations"]
    field, longest = 1 + 2 * (size - 1) * sum(dilations), preprocessing.input_shape[-1]
    if field >= longest or size == 1:
        return None
    blocks = layers_for_receptive_field(longest, size)
    channels = [model.config["channels"][-1]] * blocks
    doubled = [2**i for i in range(blocks)]
    return (
        f"{model.name or 'The TCN'} sees {field} time steps, and the longest series has {longest}; "
        f"{blocks} blocks see all: channels={channels} and dilations={doubled}"
    )


def members_advice(model: nn.Module, config: TrainConfig) -> str | None:
    """What to do where members of an ensemble get fewer than two samples of a batch, else None.

    Args:
        model: any network.
        config: how it is to be trained.
    """
    members = getattr(model, "turns", 1)
    if members == 1 or config.batch_size >= 2 * members * config.accumulate:
        return None
    return (
        f"batches of {config.batch_size} leave each of {members} members a sample or so, whose own "
        "mean and deviation its norms take, and that costs accuracy; batches and epochs of "
        f"{members} times those of one network give each what one would get"
    )


def _check_average(model: nn.Module, predictor: Predictor) -> None:
    """Refuse members whose softmax is averaged where outputs are no logits of one class of many."""
    own = model.config if isinstance(model, Ensemble) else {}
    averaged = own.get("members", 1) > 1 and own["average"] == "probabilities"
    if averaged and predictor.task.head_size > 1 and predictor.task.name != "classification":
        raise OptionError(
            f"average (='probabilities') of {own['members']} members needs one class of several, "
            f"and the task is {predictor.task.name}; set average=outputs."
        )


def _check_crop(predictor: Predictor, config: TrainConfig) -> None:
    """Refuse crops that are larger than what they are cut from."""
    sides = predictor.preprocessing.input_shape[1:]
    if not sides:
        return
    volumes = len(sides) == 3
    side = max(sides) if volumes else min(sides)
    if config.pad_crop >= side:
        what = f"the volumes, {side} voxels" if volumes else f"the images, {side} pixels"
        raise OptionError(f"pad_crop (={config.pad_crop}) must be smaller than {what}.")


def _check_growth(predictor: Predictor, config: TrainConfig) -> None:
    """Refuse inputs that grow where the network takes one size only."""
    if config.start_size is None:
        return
    channels, *whole = predictor.preprocessing.input_shape
    smallest = getattr(predictor.forward, "smallest_input", 1)
    sides = sides_at(0, 4, whole, start=config.start_size, smallest=smallest)
    empty = torch.zeros(1, dtype=torch.int64)
    example = torch.zeros(1, channels, *sides)
    batch = Batch(inputs=(example,), target=None, mask=None, index=empty, weight=None)
    try:
        predictor.outputs(batch)
    except (ShapeError, RuntimeError) as error:
        raise OptionError(
            f"start_size (={config.start_size}) begins with inputs of {sides}, which the network "
            f"does not take ({str(error).splitlines()[0]}); leave it out."
        ) from error
