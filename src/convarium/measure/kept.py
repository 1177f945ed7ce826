"""What was measured or worked out before on this machine, one small file each.

key (network, input, conditions, versions) -> SHA-256 -> FOLDER/<digest>.json

A file is whole or absent and belongs to one fact, so processes that run side by side cannot lose or
spoil what another one found. A file that is damaged, or whose key is another, does not count and is
written anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from convarium.errors import OptionError, RunError
from convarium.files import read_json, write_json
from convarium.measure.arguments import shown

_FORMAT: Final = 1
_PACKAGE: Final = Path(__file__).parents[1]


class Kept:
    """The facts kept in a folder.

    Args:
        where: True for `convarium/measured` in the user's cache folder, False for nowhere, or a
            folder, which is made when the first fact is kept.
        fresh: whether what is there does not count, and is replaced.

    Raises:
        OptionError: it is neither, or the folder has no name.
    """

    def __init__(self, where: bool | str | Path = True, *, fresh: bool = False) -> None:
        given: Any = where
        if not isinstance(given, bool | str | Path) or given == "":
            raise OptionError(f"cache (={shown(where)}) must be True, False or a folder.")
        self.folder = _usual() if where is True else None if where is False else Path(where)
        self.fresh = fresh
        self._warned = False

    def get(self, kind: str, key: Mapping[str, Any]) -> Any:
        """What was kept under this key, or None."""
        if self.folder is None or self.fresh:
            return None
        try:
            found = read_json(self._path(kind, key))
        except RunError:
            return None
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            return None
        return found.get("value") if found.get("key") == _plain(key) else None

    def put(self, kind: str, key: Mapping[str, Any], value: Any) -> None:
        """Keep a fact; where nothing can be written, one warning says so."""
        if self.folder is None:
            return
        try:
            write_json(self._path(kind, key), {"format": _FORMAT, "key": key, "value": value})
        except RunError as error:
            if not self._warned:
                warnings.warn(f"What was measured is not kept. {error}", stacklevel=2)
            self._warned = True

    def _path(self, kind: str, key: Mapping[str, Any]) -> Path:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return Path(self.folder or "") / f"{kind}-{digest[:32]}.json"


@cache
def code(*rooms: str) -> str:
    """A digest of the source files of some rooms: what a fact about their networks depends on."""
    digest = hashlib.sha256()
    for room in rooms:
        for path in sorted((_PACKAGE / room).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _usual() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "convarium" / "measured"


def _plain(key: Mapping[str, Any]) -> Any:
    """The key as JSON gives it back."""
    return json.loads(json.dumps(key))
