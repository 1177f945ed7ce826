"""A variant is a row: a name, a class and the keywords that make the published network of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from convarium.models.contract import Network


@dataclass(frozen=True)
class Variant:
    """One named network.

    Attributes:
        name: what `create` knows it by, in lower case.
        cls: the class that builds it.
        keywords: the constructor's keywords; what is not named keeps its default.
        source: paper and table that the row follows.
        parameters: number of trainable parameters with these keywords; None if not stated.
        summary: what it is, in a few words.
        year: of the paper; None if there is none.
    """

    name: str
    cls: type[Network]
    keywords: Mapping[str, Any]
    source: str
    parameters: int | None = None
    summary: str = ""
    year: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "keywords", MappingProxyType(dict(self.keywords)))

    @property
    def family(self) -> str:
        """The file that the class lives in."""
        return self.cls.__module__.rpartition(".")[2]
