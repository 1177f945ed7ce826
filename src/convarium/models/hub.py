"""The Hugging Face Hub: a network's folder up, a folder or one file down.

    network + card -> model.safetensors, card.json, README.md -> repository -> the same folder

Of a run of fields its patterns for draws go along, if its folder is given. Only safetensors and
JSON are read. What was fetched once is found again without the network.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, cast

from convarium.errors import DataError, OptionError, import_extra
from convarium.files import write_text
from convarium.models.checkpoint import CARD, SCATTER, WEIGHTS, read_card, save
from convarium.models.contract import Network

EXTRA: Final = "hub"
_BESIDE: Final = (SCATTER,)


def push_to_hub(
    model: Network,
    repo_id: str,
    card: Mapping[str, Any] | None = None,
    *,
    licence: str | None = None,
    private: bool = False,
    message: str = "Network saved by convarium",
    folder: str | Path | None = None,
) -> str:
    """Upload what `save` writes, and a README that says how to use it, as one commit.

    Who may write is settled by the Hub's own log-in (`hf auth login`); no secret is asked for here.

    Args:
        model: a network built by `create`.
        repo_id: "owner/name"; made if it is not there.
        card: further entries of card.json, such as classes and preprocessing.
        licence: of the weights, as the Hub abbreviates it ("apache-2.0"); None states none.
        private: whether a repository that is made now is visible to its owner alone.
        message: of the commit.
        folder: of the run that the network is of: what it keeps for draws of fields goes along.

    Returns:
        The repository's address.

    Raises:
        OptionError: the network was not built by name, or the card holds what JSON cannot.
        DataError: the Hub cannot be reached, or refuses.
        MissingExtraError: huggingface_hub is not installed.
    """
    beside = [] if folder is None else [n for n in _BESIDE if (Path(folder) / n).exists()]
    with tempfile.TemporaryDirectory() as sent:
        plain = {key: value for key, value in (card or {}).items() if key != "beside"}
        save(model, sent, {**plain, "beside": beside} if beside else plain)
        write_text(Path(sent) / "README.md", readme(model, repo_id, card or {}, licence))
        for name in beside:
            shutil.copyfile(Path(cast("Path", folder)) / name, Path(sent) / name)
        with _explained(f"Cannot upload to {repo_id}", "log in with: hf auth login"):
            api = _client().HfApi()
            made = api.create_repo(repo_id, private=private or None, exist_ok=True)
            api.upload_folder(repo_id=made.repo_id, folder_path=sent, commit_message=message)
    return str(made)


def pull_from_hub(repo_id: str, revision: str | None = None) -> Path:
    """Fetch a network that `push_to_hub` uploaded; the folder is one for `load` and `open_run`.

    Args:
        repo_id: "owner/name".
        revision: branch, tag or commit; None takes the newest.

    Raises:
        DataError: the repository cannot be reached or has no such network.
        RunError: its card is not one of convarium, or of a newer version.
        MissingExtraError: huggingface_hub is not installed.
    """
    folder = fetch(repo_id, CARD, revision).parent
    beside = read_card(folder).get("beside") or ()
    # The same commit, even if the branch has moved on in between.
    for name in (each for each in _BESIDE if each in beside):
        fetch(repo_id, name, folder.name)
    return fetch(repo_id, WEIGHTS, folder.name).parent


def fetch(
    repo_id: str, filename: str, revision: str | None = None, *, offline: bool = False
) -> Path:
    """One file of a repository, from the Hub or from its cache.

    Args:
        repo_id: "owner/name".
        filename: the file's path in it.
        revision: branch, tag or commit; None takes the newest.
        offline: look into the cache only.

    Raises:
        DataError: it is neither there nor here.
        MissingExtraError: huggingface_hub is not installed.
    """
    client = _client()
    remedy = (
        f"connect to the network, or fetch {repo_id}/{filename} of the Hugging Face Hub on another "
        "machine and give its path instead"
    )
    with _explained(f"Cannot fetch {filename} of {repo_id}", remedy):
        if not offline:
            _check_reachable(client, repo_id, filename, revision)
        found = client.hf_hub_download(
            repo_id, filename, revision=revision, local_files_only=offline
        )
        return Path(found)


def fetch_either(repo_id: str, first: str, second: str) -> Path:
    """The first of two files where the repository has it, else the second.

    Raises:
        DataError: neither is there or here.
        MissingExtraError: huggingface_hub is not installed.
    """
    errors = _client("huggingface_hub.errors")
    try:
        return fetch(repo_id, first)
    except DataError as error:
        if not isinstance(error.__cause__, errors.EntryNotFoundError):
            raise
        unreachable = error if isinstance(error.__cause__, errors.LocalEntryNotFoundError) else None
    try:
        return fetch(repo_id, second, offline=unreachable is not None)
    except DataError as error:
        raise unreachable or error from None  # why the Hub was not reached, if it was not


def readme(model: Network, repo_id: str, card: Mapping[str, Any], licence: str | None) -> str:
    """The repository's page: what the network is and how it is used."""
    fields = model.input_kind == "fields"
    parameters = sum(p.numel() for p in model.parameters())
    images = model.input_kind == "maps" and model.spatial_dims == 2
    tags = ["convarium", *(["image-classification"] if images else [])]
    head = ["library_name: convarium", f"tags: [{', '.join(tags)}]"]
    if licence:
        head.append(f"license: {json.dumps(licence)}")
    classes = [str(name) for name in card.get("classes", ())]
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if classes[20:] else "")
    facts = [
        f"- network: `{model.name}` ({type(model).__name__}), {parameters:,} parameters",
        f"- takes: {model.in_channels} channels, {model.spatial_dims} spatial axes",
        *([f"- {'variables' if fields else 'classes'}: {shown}"] if classes else []),
    ]
    use = [
        "import convarium",
        "",
        f'folder = convarium.models.pull_from_hub("{repo_id}")',
        "model = convarium.load(folder)",
        *(["run = convarium.open_run(folder)"] if {"task", "preprocessing"} <= set(card) else []),
    ]
    front = ["---", *head, "---", "", f"# {repo_id.rpartition('/')[2]}", ""]
    return "\n".join([*front, *facts, "", "```python", *use, "```", ""])


def _check_reachable(client: ModuleType, repo_id: str, filename: str, revision: str | None) -> None:
    """Fail at once without a network: for a file not kept, the client tries half a minute long."""
    if isinstance(client.try_to_load_from_cache(repo_id, filename, revision=revision), str):
        return
    errors = _client("huggingface_hub.errors")
    try:
        client.get_hf_file_metadata(client.hf_hub_url(repo_id, filename, revision=revision))
    except errors.HfHubHTTPError:
        return  # the Hub answered; the client knows what its answer means
    except (errors.HTTPError, OSError) as error:
        raise errors.LocalEntryNotFoundError(f"{filename} is not in the cache") from error


def _client(module: str = "huggingface_hub") -> ModuleType:
    import_extra("huggingface_hub", EXTRA)
    return import_extra(module, EXTRA)


@contextmanager
def _explained(what: str, remedy: str) -> Iterator[None]:
    """Turn the client's errors into one sentence with a remedy."""
    errors = _client("huggingface_hub.errors")
    try:
        yield
    except errors.HFValidationError as error:
        first = str(error).splitlines()[0]
        raise OptionError(f"{what}: {first}; give 'owner/name'.") from error
    except (errors.EntryNotFoundError, errors.HTTPError, OSError, RuntimeError) as error:
        unreachable = isinstance(error, errors.LocalEntryNotFoundError)
        told = (error.__cause__ if unreachable else None) or error
        reason = str(told).strip() or type(told).__name__
        first = reason.splitlines()[0].partition(". ")[0].rstrip(".:")
        raise DataError(f"{what} ({first}); {remedy}.") from error
