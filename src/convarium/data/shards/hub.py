"""Data sets of the Hugging Face Hub by their addresses: `hf:OWNER/NAME[@REVISION][:CONFIG]`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from convarium.data.shards.library import EXTRA, explained, library, quiet
from convarium.errors import DataError, OptionError, import_extra

_ADDRESS = re.compile(r"hf:([\w.-]+/[\w.-]+|[\w.-]+)(?:@([\w./-]+))?(?::([\w.,+= -]+))?")
_SECONDS = 10


class Address(NamedTuple):
    """What an address names; None where it leaves it open."""

    name: str
    revision: str | None
    config: str | None


def parse_address(text: str) -> Address | None:
    """The parts of an address; None for a text that is none.

    Raises:
        OptionError: it begins like one and is none.

    >>> parse_address("hf:cifar/cifar10@main:plain_text")
    Address(name='cifar/cifar10', revision='main', config='plain_text')
    """
    if not text.startswith("hf:"):
        return None
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise OptionError(
            f"{text!r} is no address of a data set; it looks like hf:OWNER/NAME, "
            "hf:OWNER/NAME:CONFIG or hf:OWNER/NAME@REVISION."
        )
    return Address(*found.groups())


def load_hub(address: Address, *, streaming: bool = False) -> tuple[Any, str | None]:
    """The library's object and the commit it is of; without a network what the library has kept.

    Args:
        address: what is asked for.
        streaming: read over the network as it is needed, and keep nothing.

    Raises:
        DataError: the Hub cannot be reached and nothing is kept, it refuses, or has no such data.
        MissingExtraError: the library is not installed.
    """
    commit = _commit(address)
    what = f"Cannot read the data set {address.name} of the Hugging Face Hub"
    remedy = (
        "connect to the network, or fetch it on another machine, save it with save_to_disk and "
        "give that folder instead"
    )
    if commit is not None:
        remedy = "look at its page on the Hub for its configurations, and name one after a colon"
    with _offline(commit is None), explained(what, remedy), quiet():
        loaded = library().load_dataset(
            address.name,
            address.config,
            revision=commit or address.revision,
            streaming=streaming,
        )
    return loaded, commit


def _commit(address: Address) -> str | None:
    """The commit that the Hub names; None where it cannot be reached.

    The library alone tries half a minute and more before it gives up.
    """
    client = import_extra("huggingface_hub", EXTRA)
    errors = import_extra("huggingface_hub.errors", EXTRA)
    if library().config.HF_HUB_OFFLINE:
        return None
    try:
        api = client.HfApi()
        found = api.dataset_info(address.name, revision=address.revision, timeout=_SECONDS)
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        first = " ".join(str(error).split("\n\n")[-1].split()).partition(". ")[0].rstrip(".")
        raise DataError(
            f"The Hugging Face Hub does not give the data set {address.name} ({first}); check its "
            "name, or log in with: hf auth login."
        ) from error
    except (errors.HTTPError, OSError):
        return None
    return str(found.sha)


@contextlib.contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Let the library look into its cache alone, for the time of the block."""
    config = library().config
    before = config.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = wanted or before
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE = before
