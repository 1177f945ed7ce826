"""The reference of the book: a page a room, from the public names, their source and docstrings.

The public names are those of each room's `__init__.pyi`; the tests hold that list. A docstring is
taken apart by its sections, as in `convarium.models.docstrings`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from write_families import running, table

import convarium
from convarium.models.docstrings import arguments

SECTIONS = re.compile(
    r"^(Args|Attributes|Shape|Returns|Yields|Raises|Examples?|References|Note|Differs[^\n]*?):$",
    re.MULTILINE,
)
LISTED = ("Args", "Attributes", "Raises")


def pages() -> dict[str, str]:
    """Name in the book -> text of each page."""
    rooms = {room.__name__.rpartition(".")[2]: room for room in modules()}
    index = ["# Reference", "", "Every public name, from its docstring.", ""]
    found = {}
    for name, room in rooms.items():
        words = first_line(room)
        index.append(f"- [{name}]({name}.md): {running(words)}")
        found[f"reference/{name}.md"] = page(room)
    return found | {"reference/index.md": "\n".join(index) + "\n"}


def modules() -> Iterator[ModuleType]:
    """The package and every room with public names, in the order of the package's list."""
    yield convarium
    for name in convarium.__all__:
        found = getattr(convarium, name)
        if isinstance(found, ModuleType):
            yield found


def names(room: ModuleType) -> list[str]:
    """The public names that are no rooms."""
    listed = getattr(room, "__all__", None) or [
        name
        for name, value in vars(room).items()
        if getattr(value, "__module__", "") == room.__name__ and not name.startswith("_")
    ]
    return [name for name in listed if not isinstance(getattr(room, name), ModuleType)]


def page(room: ModuleType) -> str:
    """The page of one room."""
    blocks = [f"# {room.__name__}", running(first_line(room))]
    for name in names(room):
        blocks += entry(f"{room.__name__}.{name}", name, getattr(room, name))
    return "\n\n".join(block for block in blocks if block) + "\n"


def entry(full: str, name: str, value: Any) -> list[str]:
    """The blocks of one name."""
    blocks = [f"## {name.replace('_', chr(92) + '_')}"]
    if not callable(value):
        return [*blocks, f"`{full}`: {type(value).__name__}"]
    blocks.append(f"```python\n{signature(name, value)}\n```")
    blocks += docstring(own_docstring(value))
    if inspect.isclass(value):
        blocks += members(value)
    return blocks


def members(cls: type) -> list[str]:
    """A line for each public method and property that the class itself has."""
    lines = []
    for name, member in vars(cls).items():
        found = inspect.unwrap(member.fget) if isinstance(member, property) else member
        found = getattr(found, "__func__", found)
        if name.startswith("_") or not inspect.isfunction(found) or not found.__doc__:
            continue
        shown = name if isinstance(member, property) else called(name, found, limit=1000)
        lines.append(f"- `{shown}`: {running(paragraph(inspect.cleandoc(found.__doc__)))}")
    return ["\n".join(lines)]


def signature(name: str, value: Any) -> str:
    """How it is called, with annotations, one argument a line where it is long."""
    if inspect.isclass(value):
        if dataclasses.is_dataclass(value):
            fields = [f for f in dataclasses.fields(value) if not f.name.startswith("_")]
            lines = "".join(f"    {field.name}: {words_of(field.type)}\n" for field in fields)
            return f"class {name}:\n{lines}".rstrip() if fields else f"class {name}"
        start = vars(value).get("__init__")
        shown = called(name, start, skip_self=True) if inspect.isfunction(start) else name
        return f"class {shown}"
    return f"def {called(name, value)}" if inspect.isfunction(value) else name


def called(
    name: str, function: Callable[..., Any], *, skip_self: bool = False, limit: int = 88
) -> str:
    """Name and arguments as they stand in the source; one a line beyond `limit` characters."""
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(inspect.unwrap(function))))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    (definition,) = (node for node in tree.body if isinstance(node, kinds))
    given = definition.args
    if given.args and (skip_self or given.args[0].arg in ("self", "cls")):
        given.args = given.args[1:]
    words = ast.unparse(given)
    back = f" -> {ast.unparse(definition.returns)}" if definition.returns and not skip_self else ""
    if len(name) + len(words) + len(back) > limit:
        pieces = split(given)
        words = "\n" + "".join(f"    {piece},\n" for piece in pieces)
    return f"{name}({words}){back}"


def split(given: ast.arguments) -> list[str]:
    """The arguments one by one."""
    found, defaults = [], [None] * (len(given.args) - len(given.defaults)) + given.defaults
    for arg, default in zip(given.posonlyargs + given.args, defaults, strict=False):
        found.append(ast.unparse(arg) + (f" = {ast.unparse(default)}" if default else ""))
    if given.vararg or given.kwonlyargs:
        found.append("*" + (ast.unparse(given.vararg) if given.vararg else ""))
    for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        found.append(ast.unparse(arg) + (f" = {ast.unparse(default)}" if default else ""))
    return found + ([f"**{ast.unparse(given.kwarg)}"] if given.kwarg else [])


def docstring(text: str) -> list[str]:
    """Blocks of Markdown: paragraphs, tables of arguments, examples as code."""
    opening, *rest = SECTIONS.split(text)
    blocks = prose(opening)
    for title, body in zip(rest[::2], rest[1::2], strict=True):
        listed = arguments(f"-\n\nArgs:\n{body.strip(chr(10))}\n") if title in LISTED else {}
        if listed:
            cells = [(f"`{name}`", running(words)) for name, words in listed.items()]
            head = "argument" if title == "Args" else title.lower()
            blocks.append(table((head, "meaning"), cells))
        elif title != "Args":
            blocks += [f"**{running(title)}**", *prose(inspect.cleandoc("\n" + body))]
    return blocks


def prose(text: str) -> list[str]:
    """Paragraphs; examples and indented pieces as code, as they stand."""
    blocks = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        if part.lstrip().startswith(">>>"):
            blocks.append(f"```pycon\n{inspect.cleandoc(chr(10) + part)}\n```")
        elif part.startswith(" "):
            blocks.append(f"```text\n{inspect.cleandoc(chr(10) + part)}\n```")
        elif part.strip():
            blocks.append(running(part))
    return blocks


def own_docstring(value: Any) -> str:
    """Its docstring; of a dataclass without one, nothing rather than its signature."""
    found = inspect.cleandoc(value.__doc__ or "")
    return "" if found.startswith(f"{getattr(value, '__name__', '')}(") else found


def first_line(room: ModuleType) -> str:
    """The first paragraph of a module's docstring."""
    return paragraph(inspect.cleandoc(room.__doc__ or ""))


def paragraph(text: str) -> str:
    """The first paragraph as one line."""
    return " ".join(text.split("\n\n")[0].split())


def words_of(annotation: Any) -> str:
    """A field's annotation as text."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
