"""A network as a folder that a stranger can read: model.safetensors and card.json. Never pickle.

    card["format_version"]   1
    card["model"]            {"name": a name `create` knows, "options": every keyword}

The rest of the card belongs to the caller. Weights are written first and the card last, so a folder
with a card is whole.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Container, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from convarium.errors import ConvariumError, OptionError, RunError, UnknownModelError
from convarium.files import read_json, read_tensors, write_bytes, write_tensors
from convarium.models.contract import Network
from convarium.models.registry import build

CARD: Final = "card.json"
WEIGHTS: Final = "model.safetensors"
SCATTER: Final = "scatter.safetensors"  # of a run of fields, beside its network
FORMAT_VERSION: Final = 1


def save(model: Network, folder: str | Path, card: Mapping[str, Any] | None = None) -> Path:
    """Write a network's weights and card into a folder, each file atomically.

    Args:
        model: a network built by `create`.
        folder: made if it is not there; files of the same names in it are replaced.
        card: further entries of card.json (JSON values), such as classes and preprocessing.

    Returns:
        The folder.

    Raises:
        OptionError: the network was not built by name, so that `load` could not rebuild it; or the
            card holds what JSON cannot, and nothing was written.
        RunError: the disk is full, or the place cannot be written.
    """
    if model.name is None:
        raise OptionError(
            f"This {type(model).__name__} has no name to be loaded by; build it with "
            "convarium.create, after convarium.register for a row of your own."
        )
    folder = Path(folder)
    whole = {
        **(card or {}),
        "format_version": FORMAT_VERSION,
        "model": {"name": model.name, "options": model.config},
    }
    whole.setdefault("library", _library())
    text = _text(whole)
    write_tensors(folder / WEIGHTS, model.state_dict())
    write_bytes(folder / CARD, text)
    return folder


def load(folder: str | Path) -> Network:
    """Rebuild a saved network, in eval mode, on the CPU; torch's random state is left alone.

    Raises:
        RunError: a file is missing, damaged, from a newer convarium, or does not fit the other.

    Example:
        >>> import tempfile
        >>> from convarium.models import create
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     twin = load(save(create("lenet5"), folder))
        >>> twin.name
        'lenet5'
    """
    folder = Path(folder)
    described, tensors, twin = _read(folder)
    if _has_nothing_else(twin, tensors):
        # Copies, since what was read is a view of the file, which others may write.
        twin.load_state_dict({name: t.clone() for name, t in tensors.items()}, assign=True)
        return twin.eval()
    model = _build(folder, described, "cpu")
    dtypes = {t.dtype for t in tensors.values() if t.is_floating_point()}
    if len(dtypes) == 1:
        model.to(dtypes.pop())
    model.load_state_dict(tensors)
    return model.eval()


def check(folder: str | Path) -> None:
    """Refuse a folder that `load` would refuse, without memory for the network it describes.

    Raises:
        RunError: as for `load`.
    """
    _read(Path(folder))


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], Network]:
    """What the card says of the network, the tensors that fit it, and its twin without memory."""
    described = read_card(folder)["model"]
    tensors = read_tensors(folder / WEIGHTS)
    twin = _build(folder, described, "meta")
    _check_fit(folder, twin.state_dict(), tensors)
    return described, tensors, twin


def _build(folder: Path, described: Mapping[str, Any], device: str) -> Network:
    """The card's network; on "meta" it takes no memory, whatever sizes the card asks for."""
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            return build(described["name"], described["options"])
    except UnknownModelError as error:
        raise RunError(
            f"{folder / CARD} names a network that is not known here: {error} "
            "If it is your own, convarium.register it before loading."
        ) from error
    except ConvariumError as error:
        raise RunError(
            f"{folder / CARD} does not describe a network of this version: {error}"
        ) from error
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{folder / CARD} describes a network that cannot be built ({reason}); "
            "restore the file or save the network again."
        ) from error


def _has_nothing_else(network: Network, names: Container[str]) -> bool:
    """Whether assigning tensors of these names makes a network whole.

    Not so where tensors are tied, or left out of the state dict, or kept as plain attributes.
    """
    held: dict[str, Tensor] = dict(network.named_parameters(remove_duplicate=False))
    held.update(network.named_buffers(remove_duplicate=False))
    memories = {tensor.untyped_storage()._cdata for tensor in held.values()}
    values = [value for module in network.modules() for value in vars(module).values()]
    lists = [value if isinstance(value, list | tuple) else (value,) for value in values]
    hidden = any(isinstance(item, Tensor) for items in lists for item in items)
    return len(memories) == len(held) and all(name in names for name in held) and not hidden


def read_card(folder: str | Path) -> dict[str, Any]:
    """Read and check card.json.

    Raises:
        RunError: the card is missing, damaged, incomplete or from a newer convarium.
    """
    path = Path(folder) / CARD
    if not path.is_file():
        raise RunError(
            f"There is no {path}; give the folder that convarium.save or `convarium train --out` "
            "wrote."
        )
    value = read_json(path)
    card: dict[str, Any] = value if isinstance(value, dict) else {}
    found = card.get("format_version")
    if type(found) is not int or found < 1:
        raise RunError(
            f"{path} is not a card of convarium: it has no format_version of 1 or more; "
            "restore the file or save the network again."
        )
    if found > FORMAT_VERSION:
        raise RunError(
            f"{path} has format_version {found}, newer than {FORMAT_VERSION}, "
            "which this version reads; update with: pip install -U convarium"
        )
    described = card.get("model")
    if not isinstance(described, dict) or not _describes_network(described):
        raise RunError(
            f"{path} lacks model.name (a text) or model.options (keywords); "
            "restore the file or save the network again."
        )
    return card


def _describes_network(described: dict[str, Any]) -> bool:
    options = described.get("options")
    named = isinstance(described.get("name"), str)
    return named and isinstance(options, dict) and "name" not in options


def _check_fit(folder: Path, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Name what is missing, too much, of another shape or no such numbers, three at most."""
    problems = [f"{key} is missing" for key in expected if key not in found]
    problems += [f"{key} is not part of the network" for key in found if key not in expected]
    problems += [
        f"{key} is {tuple(found[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    problems += [
        f"{key} holds {found[key].dtype} instead of {tensor.dtype}"
        for key, tensor in expected.items()
        if key in found and _kind(found[key].dtype) != _kind(tensor.dtype)
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise RunError(
            f"{folder / WEIGHTS} does not fit {folder / CARD}: {', '.join(problems[:3])}{more}; "
            "the two files come from different networks, save them again together."
        )


def _kind(dtype: torch.dtype) -> str:
    """Floating types stand for each other, since a network may be saved in any; others do not."""
    return "floating" if dtype.is_floating_point else str(dtype)


def _text(card: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(card, indent=2, ensure_ascii=False, allow_nan=False)
        return f"{text}\n".encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise OptionError(
            f"card cannot be written as JSON ({error}); "
            "it takes texts, finite numbers, true, false, None, and lists and dicts of these."
        ) from error


def _library() -> dict[str, str]:
    try:
        own = version("convarium")
    except PackageNotFoundError:
        own = "unknown"
    return {"convarium": own, "torch": torch.__version__, "python": platform.python_version()}
