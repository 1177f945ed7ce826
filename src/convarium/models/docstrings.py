"""What the docstring of a family says, taken apart: the pages and the catalogue are made of it.

first line -> flow (indented) -> paragraphs -> "Differs from the paper: ..." -> References
"""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

DIFFERS = "Differs from"
REFERENCES = "References:"


@dataclass(frozen=True)
class FamilyText:
    """The parts of a family module's docstring, each as it stands there.

    Attributes:
        title: the first paragraph: what the family is.
        flow: the drawing of the flow, with its line breaks; "" if there is none.
        paragraphs: the running text, one line each.
        differs: where it differs from the paper, one line each.
        references: one line each.
    """

    title: str
    flow: str
    paragraphs: tuple[str, ...]
    differs: tuple[str, ...]
    references: tuple[str, ...]


def family_text(docstring: str) -> FamilyText:
    """Take the docstring of a family's module apart.

    Example:
        >>> text = family_text('''A net.
        ...
        ...     x -> y
        ...
        ... It works.
        ...
        ... References:
        ...     Doe 1999, "A net",
        ...     table 1.
        ...     Roe 2001, "Another".
        ... ''')
        >>> text.title, text.flow, text.paragraphs
        ('A net.', 'x -> y', ('It works.',))
        >>> text.references
        ('Doe 1999, "A net", table 1.', 'Roe 2001, "Another".')
    """
    title, *rest = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
    flows = [part for part in rest if part.startswith(" ")]
    prose = [part for part in rest if not part.startswith(" ")]
    running = [_one_line(part) for part in prose if not part.startswith(REFERENCES)]
    listed = [part for part in prose if part.startswith(REFERENCES)]
    return FamilyText(
        title=_one_line(title),
        flow=inspect.cleandoc("\n" + "\n\n".join(flows)),
        paragraphs=tuple(part for part in running if not part.startswith(DIFFERS)),
        differs=tuple(part for part in running if part.startswith(DIFFERS)),
        references=tuple(entry for part in listed for entry in _entries(part)),
    )


def cited(source: str, references: tuple[str, ...]) -> list[str]:
    """The references that a row's `source` names: by first author and year.

    Where several fit, those whose authors are written as in `source` are meant.

    Example:
        >>> cited("Doe and Roe 1999, table 1", ("Doe, Roe 1999, A net.", "Doe 2001, Another."))
        ['Doe, Roe 1999, A net.']
    """
    found = [entry for entry in references if _key(source) and _key(entry) == _key(source)]
    exact = [entry for entry in found if _authors(entry) == _authors(source)]
    return exact or found


def option_words(cls: type) -> dict[str, str]:
    """Name -> words of each argument of a class; a subclass adds to what its bases say.

    Example:
        >>> from convarium.models.lenet import LeNet
        >>> option_words(LeNet)["in_channels"]
        'channels of the input.'
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        found |= arguments(base.__dict__.get("__doc__") or "")
    return found


def arguments(docstring: str) -> dict[str, str]:
    """Name -> words of each argument in a docstring's Args section.

    Example:
        >>> arguments('''A net.
        ...
        ... Args:
        ...     depths: blocks in
        ...         each stage.
        ...     dropout: probability.
        ... ''')
        {'depths': 'blocks in each stage.', 'dropout': 'probability.'}
    """
    text = inspect.cleandoc(docstring)
    section = re.search(r"^Args:\n((?:    .*\n?|\n)+)", text, re.MULTILINE)
    lines = section[1] if section else ""
    entries = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", lines, re.MULTILINE)
    return {name: _one_line(words) for name, words in entries}


def _entries(section: str) -> list[str]:
    """One line for each reference: an entry ends where a line ends with a full stop."""
    lines = inspect.cleandoc(section.removeprefix(REFERENCES)).splitlines()
    entries = re.split(r"(?<=\.)\n", "\n".join(line.strip() for line in lines if line.strip()))
    return [_one_line(entry) for entry in entries]


def _key(text: str) -> tuple[str, str] | None:
    """First author and year, as both a row's source and a reference name them."""
    found = re.match(r"(\w[\w'-]*).*?\b((?:19|20)\d\d)\b", text)
    return (found[1], found[2]) if found else None


def _authors(text: str) -> str:
    """What stands before the year."""
    return re.split(r"\b(?:19|20)\d\d\b", text)[0]


def _one_line(text: str) -> str:
    return " ".join(text.split())
