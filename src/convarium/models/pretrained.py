"""create(..., pretrained=...): from published weights to a network that holds them.

    True, a row's name -> package | cache | Hub | address -> file
    path               -> a file, or a folder that `save` wrote
    "owner/name"       -> a row's repository, a folder of convarium, or one of timm
    file               -> network as it was trained -> load_published -> reset_head

Nothing that was fetched is run: files are tensors only, and their digests are checked where known.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import os
import re
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from convarium import files
from convarium.errors import DataError, MissingExtraError, OptionError, did_you_mean
from convarium.models import hub, weights
from convarium.models.checkpoint import CARD, WEIGHTS, check, read_card
from convarium.models.contract import Classifier, Network
from convarium.models.options import at_least, whole
from convarium.models.published import Adapt, load_published
from convarium.models.weights import Weights

_REPOSITORY: Final = re.compile(r"\w[\w.-]*/[\w.-]+")
_FILES: Final = (".safetensors", ".pth", ".pt", ".bin")
_SECONDS: Final = 30  # without a byte, then a download is given up
_BLOCK: Final = 2**20


@dataclass(frozen=True)
class Source:
    """Weights that were found, and the network that they were trained in.

    Args:
        locate: gives the file, fetched if need be.
        layout: whose names its keys are.
        options: keywords of the network that it fits.
        weights: the row, where it is one.
    """

    locate: Callable[[], Path]
    layout: str = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None


def create_pretrained(
    name: str,
    build: Callable[[Mapping[str, Any]], Network],
    given: Mapping[str, Any],
    pretrained: bool | str | Path | Weights,
    adapt: Adapt,
) -> Network:
    """Build the network that the weights fit, load them, and give it the head that was asked for.

    Args:
        name: the network's.
        build: makes it from keywords.
        given: keywords that the caller named; what a row of weights needs, they may not change.
        pretrained: as `create` takes it.
        adapt: as `load_published` takes it.

    Raises:
        OptionError: the weights are unknown or of another network, or need other inputs.
        DataError: the file cannot be had, is not what it should be, or does not fit.
    """
    source = find_source(name, pretrained)
    if source.weights is not None:
        _check_inputs(source.weights, given, adapt)
        _check_needed(source.weights, given)
    wanted = given.get("num_classes")
    if wanted is not None:
        at_least(0, num_classes=whole(num_classes=wanted))
    published = source.options.get("num_classes")
    numbered = {} if published is None else {"num_classes": published}
    network = build({**source.options, **given, **numbered})
    file = source.locate()
    try:
        load_published(network, file, source.layout, adapt=adapt)
    except DataError as error:
        if published is not None or wanted is None:
            raise
        # Nobody said how many classes the file has: the row's own number before the caller's.
        network = build(
            {**source.options, **{k: v for k, v in given.items() if k != "num_classes"}}
        )
        try:
            load_published(network, file, source.layout, adapt=adapt)
        except DataError:
            raise error from None
    if wanted is not None and isinstance(network, Classifier) and network.num_classes != wanted:
        network.reset_head(wanted)
    network.published = source.weights
    return network


def find_source(name: str, pretrained: bool | str | Path | Weights) -> Source:
    """What `pretrained` names, without fetching the weights.

    Raises:
        OptionError: it names nothing, or weights of another network.
        RunError: it is a folder without a readable card.
    """
    if pretrained is True:
        return _row(name, default(name))
    if isinstance(pretrained, Weights):
        return _row(name, pretrained)
    known = {row.name: row for row in weights.rows(name)}
    text = os.fspath(pretrained) if isinstance(pretrained, str | Path) else ""
    if text in known:
        return _row(name, known[text])
    path = Path(text).expanduser()
    kind = _kind(path) if text else ""
    if kind == "folder":
        return _folder(name, path)
    if kind == "file":
        row = weights.of_file(name, path)
        return Source(lambda: path) if row is None else _row(name, row, lambda: path)
    if isinstance(pretrained, str) and _REPOSITORY.fullmatch(text) and path.suffix not in _FILES:
        return _repository(name, text)
    raise OptionError(
        f"pretrained (={pretrained!r}) must be True, a file or folder that exists, 'owner/name' on "
        f"the Hugging Face Hub, or one of {', '.join(known) or 'no listed weights'} for {name}."
        + did_you_mean(text, known)
    )


def default(name: str) -> Weights:
    """The row that `pretrained=True` takes: the first whose package is installed or needs none.

    Raises:
        OptionError: the network has no published weights.
    """
    known = weights.rows(name)
    if not known:
        raise weights.none_listed(name)
    here = [row for row in known if row.package and in_package(row) is not None]
    return [*here, *(row for row in known if row.hub_id or row.url), *known][0]


def in_package(row: Weights) -> Path | None:
    """The file in an installed package of weights; the package's code is not run."""
    found = importlib.util.find_spec(row.package.replace("-", "_"))
    folders = [] if found is None else found.submodule_search_locations or []
    return next((path for folder in folders for path in Path(folder).rglob(row.filename)), None)


def fetch(row: Weights) -> Path:
    """The file of a row: from its package, the cache, the Hub or its address; its digest checked.

    Raises:
        DataError: it cannot be had, or its digest is not the published one.
        MissingExtraError: it is on the Hub, and huggingface_hub is not installed.
    """
    path = in_package(row) if row.package else None
    if path is None and row.hub_id:
        path = _from_hub(row)
    if path is None and row.url:
        path = _cached(row)
    if path is None:
        raise DataError(
            f"{row.filename} of {row.network} comes with the package {row.package}; run: pip "
            f"install {row.package}, or give the file as pretrained='PATH'."
        )
    if row.sha256 and not files.sha256(path).startswith(row.sha256.lower()):
        raise DataError(
            f"{path} is not the file that was published: its SHA-256 does not begin with "
            f"{row.sha256}; remove it and fetch it again."
        )
    return path


def _from_hub(row: Weights) -> Path:
    try:
        return hub.fetch(row.hub_id, row.filename)
    except MissingExtraError as error:
        others = [other.name for other in weights.rows(row.network) if other.url]
        if not others:
            raise
        raise MissingExtraError(
            f"{error} Or say pretrained={others[0]!r}, which needs no package.", name=error.name
        ) from error


def _row(name: str, row: Weights, locate: Callable[[], Path] | None = None) -> Source:
    if row.network != name:
        raise OptionError(
            f"These are weights of {row.network}, not of {name}; create({row.network!r}, "
            "pretrained=...) takes them."
        )
    count = len(weights.class_names(row.classes))
    options = {**row.options, "num_classes": count, "in_channels": len(row.mean)}
    return Source(locate or (lambda: fetch(row)), row.layout, options, row)


def _folder(name: str, folder: Path) -> Source:
    """A folder that `save` wrote, of the same network."""
    described = read_card(folder)["model"]
    if described["name"] != name:
        raise OptionError(
            f"{folder} holds {described['name']}, not {name}; create({described['name']!r}, "
            "pretrained=...) takes it, and convarium.load gives it as it is."
        )
    check(folder)  # before a network of the sizes that the card asks for takes memory
    return Source(lambda: folder / WEIGHTS, "convarium", described["options"])


def _kind(path: Path) -> str:
    """What lies there: "folder", "file" or nothing."""
    try:
        return "folder" if path.is_dir() else "file" if path.is_file() else ""
    except OSError:  # no name that a file could have
        return ""


def _repository(name: str, repo_id: str) -> Source:
    """A row's repository, a folder of convarium, or a repository as timm lays it out."""
    listed = next((row for row in weights.read() if row.hub_id == repo_id), None)
    if listed is not None:
        return _row(name, listed)
    found = hub.fetch_either(repo_id, CARD, WEIGHTS)
    if found.name == CARD:
        return _folder(name, hub.pull_from_hub(repo_id))
    return Source(lambda: found)


def _check_inputs(row: Weights, given: Mapping[str, Any], adapt: Adapt) -> None:
    """Refuse inputs that the weights cannot read, before anything is fetched."""
    channels, rank = given.get("in_channels", len(row.mean)), given.get("spatial_dims", 2)
    if rank != 2:
        raise OptionError(
            f"spatial_dims (={rank!r}) must be 2: the weights {row.name} of {row.network} read "
            "images; create the network without pretrained."
        )
    if channels != len(row.mean) and adapt == "error":
        raise OptionError(
            f"in_channels (={channels!r}) differs from the {len(row.mean)} of the published "
            "weights; say adapt='sum' or adapt='repeat', or leave in_channels out."
        )


def _check_needed(row: Weights, given: Mapping[str, Any]) -> None:
    """Refuse an option under which the weights would mean something else."""
    for name, needed in row.options.items():
        if given.get(name, needed) != needed:
            raise OptionError(
                f"{name} (={given[name]!r}) contradicts the weights {row.name} of {row.network}, "
                f"which were trained with {needed!r}; leave it out, or choose other weights."
            )


def _cached(row: Weights) -> Path:
    """The file in torch's cache of checkpoints, downloaded if it is not there."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / row.filename
    if not path.is_file():
        _download(row, path)
    return path


def _download(row: Weights, path: Path) -> None:
    """Fetch an address into `path`, which is whole and of the right digest or does not appear."""
    digest = hashlib.sha256()
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        for block in _blocks(row.url, f"put it at {path}, or say pretrained='PATH'"):
            file.write(block)
            digest.update(block)
        if not digest.hexdigest().startswith(row.sha256.lower()):
            raise DataError(
                f"{row.url} sent another file than was published: its SHA-256 begins with "
                f"{digest.hexdigest()[:8]}, not {row.sha256[:8]}; nothing was kept."
            )


def _blocks(url: str, remedy: str) -> Iterator[bytes]:
    """What lies at an address, block by block, all of it or an error."""
    length, stated = 0, None
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            stated = answer.headers["Content-Length"]
            while block := answer.read(_BLOCK):
                length += len(block)
                yield block
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DataError(
            f"Cannot fetch {url} ({error}); connect to the network, or fetch it on another machine "
            f"and {remedy}."
        ) from error
    if stated is not None and int(stated) != length:
        raise DataError(f"{url} broke off after {length} of {stated} bytes; try again.")
