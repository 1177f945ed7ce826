"""Weights that others published, put into our networks, with a report of every key.

    file or dict -> read, never unpickled -> named as we name them -> fitted -> loaded

Known sources are those of the network's `layouts` (torchvision, timm and others) and our own names.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from convarium.errors import ConvariumError, DataError, OptionError, did_you_mean
from convarium.files import read_tensors
from convarium.models.contract import Network
from convarium.models.layouts import OWN, Layout, ours, paths

Adapt = Literal["error", "sum", "repeat"]

_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")
_PREFIXES = ("module.", "_orig_mod.")  # of DistributedDataParallel and of torch.compile
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class KeyReport:
    """What became of each key of a published state dict.

    Attributes:
        source: whose names they were.
        used: their keys that were loaded.
        unused: their keys that the network has no place for.
        missing: our keys that nothing was loaded into; they keep what they had.
        adapted: our keys whose weights were fitted to another number of input channels.
    """

    source: str
    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    adapted: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.source}: {len(self.used)} keys used, {len(self.unused)} unused, "
            f"{len(self.missing)} missing, {len(self.adapted)} adapted"
        )


def load_published(
    model: Network,
    weights: str | Path | Mapping[str, Any],
    source: str = "auto",
    *,
    adapt: Adapt = "error",
    partial: bool = False,
) -> KeyReport:
    """Load weights that another library published.

    Nothing is loaded unless everything fits, or `partial` says that a part is enough.

    Args:
        model: the network; its weights and running statistics are overwritten in place.
        weights: a .safetensors, .pth, .pt or .bin file, or a state dict (also wrapped as
            `{"state_dict": ...}`). Pickled files are read with `weights_only=True`: they run
            no code.
        source: whose names the keys are: "torchvision", "timm", ...; "auto" takes the one that
            fits most keys.
        adapt: what to do where only the input channels of the first convolution differ: "error",
            "sum" (every new channel gets the sum over the published ones, divided by the number
            of new channels: one grey channel sees what three equal ones saw) or "repeat" (the
            published ones in turn, scaled so that the outputs keep their size).
        partial: load what fits, and leave the rest of the network as it is.

    Returns:
        A report of which keys were used, unused and missing.

    Raises:
        OptionError: the network has no such source, or no memory, or `adapt` is unknown.
        DataError: the file is missing, damaged or no state dict, or the keys do not all fit.

    Example:
        >>> from convarium.models import create
        >>> state = create("resnet20_cifar").state_dict()
        >>> str(load_published(create("resnet20_cifar"), state))
        'convarium: 116 keys used, 0 unused, 0 missing, 0 adapted'
    """
    if adapt not in get_args(Adapt):
        raise OptionError(f"adapt (={adapt!r}) must be one of {', '.join(get_args(Adapt))}.")
    state = read_state(weights)
    place = str(weights) if isinstance(weights, str | Path) else "The state dict"
    source, names = _named(model, state, source)
    own = model.state_dict()
    if any(tensor.is_meta for tensor in own.values()):
        raise OptionError(
            f"{_name(model)} is on torch's meta device and has no memory for weights; "
            "say model.to_empty(device='cpu') first, or create it on another device."
        )
    found: dict[str, Tensor] = {}
    used, unused, wrong, adapted = [], [], [], []
    for key, tensor in state.items():
        name = names[key]
        if name not in own or name in found:
            unused.append(key)
            continue
        fitted = _fitted(tensor, own[name])
        if fitted is None and name == _first_convolution(model):
            fitted = _other_channels(tensor, own[name], adapt)
            adapted += [] if fitted is None else [name]
        if fitted is None:
            unused.append(key)
            wrong.append(f"{key} is {_form(tensor, own[name])}, not {_form(own[name], tensor)}")
            continue
        found[name] = fitted
        used.append(key)
    missing = [n for n in own if n not in found and not n.endswith(_COUNTER)]
    if not partial:
        _refuse(place, model, source, wrong, unused, missing)
    if not found:
        raise DataError(f"{place} has no weights of {_name(model)}: no key and shape fits.")
    model.load_state_dict(found, strict=False)
    return KeyReport(source, tuple(used), tuple(unused), tuple(missing), tuple(adapted))


def read_state(weights: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dict or of a file that holds one.

    Raises:
        DataError: the file is missing, cannot be read without running code, or holds no tensors.
    """
    place, content = "The state dict", weights
    if isinstance(weights, str | Path):
        place, content = str(weights), _read_file(Path(weights))
    while isinstance(content, Mapping) and (inner := _wrapped(content)):
        content = inner
    if not isinstance(content, Mapping) or not content:
        raise DataError(f"{place} is no state dict: give names with tensors.")
    others = [key for key, value in content.items() if not _holds_numbers(value)]
    if others or not all(isinstance(key, str) for key in content):
        raise DataError(f"{place} is no state dict: {others[:1] or 'a key'} is no named tensor.")
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in content):
            content = {key.removeprefix(prefix): tensor for key, tensor in content.items()}
    return dict(content)


def _holds_numbers(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta


def _wrapped(content: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The state dict inside, where a checkpoint holds one under a usual name."""
    inside = (content.get(wrapper) for wrapper in _WRAPPERS)
    return next((inner for inner in inside if isinstance(inner, Mapping)), None)


def _read_file(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"There is no file {path}; give a .safetensors or .pth file.")
    if path.suffix == ".safetensors":
        try:
            return read_tensors(path)
        except ConvariumError as error:
            raise DataError(str(error)) from error
    try:
        with warnings.catch_warnings():  # about the protocol of the pickle
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"{path} holds more than tensors, or is damaged; it was refused and nothing of it "
            "was run. Ask for a .safetensors file, or for a plain state dict."
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, LookupError, AttributeError) as error:
        raise DataError(
            f"{path} cannot be read as a state dict ({type(error).__name__}); download it again."
        ) from error


def _named(model: Network, state: Mapping[str, Tensor], source: str) -> tuple[str, dict[str, str]]:
    """The source, and our name for each of its keys."""
    known = {"convarium": OWN, **model.layouts}
    if source != "auto" and source not in known:
        raise OptionError(
            f"source (={source!r}) must be auto or one of {', '.join(known)} for {_name(model)}."
            + did_you_mean(source, known)
        )
    own, places = model.state_dict(), paths(model)

    def translated(layout: Layout) -> dict[str, str]:
        return {key: ours(key, layout, places) for key in state}

    if source != "auto":
        return source, translated(known[source])
    candidates = {name: translated(layout) for name, layout in known.items()}
    best = max(candidates, key=lambda name: _score(candidates[name], state, own))
    return best, candidates[best]


def _score(names: Mapping[str, str], state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> int:
    return sum(
        1 + (_fitted(state[key], own[name]) is not None)
        for key, name in names.items()
        if name in own
    )


def _fitted(theirs: Tensor, own: Tensor) -> Tensor | None:
    """Their tensor in our shape: where last axes of length 1 differ, or a kernel is a linear layer.

    Floating numbers of any width fit; whole and complex ones are no weights.
    """
    if own.is_floating_point() and not theirs.is_floating_point():
        return None
    if theirs.shape == own.shape:
        return theirs
    if own.ndim == 2 and theirs.ndim > 2 and theirs.flatten(1).shape == own.shape:
        return theirs.flatten(1)  # a convolution over its whole map
    few, many = sorted((theirs.shape, own.shape), key=len)
    ones = (1,) * (len(many) - len(few))
    return theirs.reshape(own.shape) if (*few, *ones) == tuple(many) else None


def _form(tensor: Tensor, other: Tensor) -> str:
    """Its shape, or its kind of numbers where only that differs from the other's."""
    alike = tensor.shape == other.shape
    return str(tensor.dtype).removeprefix("torch.") if alike else str(tuple(tensor.shape))


def _other_channels(theirs: Tensor, own: Tensor, adapt: Adapt) -> Tensor | None:
    """Their first convolution for our number of input channels."""
    same = (
        theirs.ndim == own.ndim
        and theirs.shape[:1] + theirs.shape[2:] == own.shape[:1] + (own.shape[2:])
    )
    if adapt == "error" or not same:
        return None
    given, wanted = theirs.shape[1], own.shape[1]
    if adapt == "sum":
        return theirs.sum(1, keepdim=True).expand_as(own) / wanted
    return theirs[:, [k % given for k in range(wanted)]] * (given / wanted)


def _first_convolution(model: Network) -> str:
    """The key of the first weight that reads the input: the first of more than one axis."""
    return next((name for name, p in model.named_parameters() if p.ndim > 2), "")


def _refuse(
    place: str,
    model: Network,
    source: str,
    wrong: list[str],
    unused: list[str],
    missing: list[str],
) -> None:
    """Raise if anything is left over on either side."""
    if not unused and not missing:
        return
    words = []
    if wrong:
        words.append(_few("other shapes", wrong))
    if len(unused) > len(wrong):
        shapes = {entry.partition(" ")[0] for entry in wrong}
        words.append(_few("unused", [key for key in unused if key not in shapes]))
    if missing:
        words.append(_few("missing", missing))
    raise DataError(
        f"{place} does not fit {_name(model)} as {source} names it: {'; '.join(words)}. Create the "
        "network as it was trained (num_classes, in_channels or adapt=, options), or say "
        "partial=True to load what fits."
    )


def _few(what: str, entries: list[str], shown: int = 5) -> str:
    more = f" and {len(entries) - shown} more" if len(entries) > shown else ""
    return f"{len(entries)} {what} ({', '.join(entries[:shown])}{more})"


def _name(model: Network) -> str:
    return model.name or type(model).__name__
