"""How messages name a key and tell a value."""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, TypeVar

KeyPath = tuple[str | int, ...]
"""Where a value stands: names of tables and keys, and positions in lists."""

Problem = tuple[KeyPath, str]
"""What is wrong, and where."""


def found(value: object) -> str:
    """A value as a message tells it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {quoted(value)}"
    if isinstance(value, int | float):
        return "a huge number" if abs(value) >= 10**15 else f"the number {value}"
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a date or time"


def quoted(text: str) -> str:
    """A text in quotes: short, and without anything that a terminal would obey."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:60])
    return f'"{shown}{"" if len(text) <= 60 else "…"}"'  # noqa: PLR2004 - what fits on a line


def dotted(path: KeyPath) -> str:
    """A key path as it would be written: `accounts.list[0].id`."""
    names = (
        step if isinstance(step, int) or re.fullmatch("[A-Za-z0-9_-]{1,60}", step) else quoted(step) for step in path
    )
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names).removeprefix(".")


_T = TypeVar("_T")


def repeated(values: list[Any], path: KeyPath, *last: str) -> Iterator[Problem]:
    """Values that are given twice, each with where it was given first."""
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        if value and isinstance(value, str) and first.setdefault(value, index) != index:
            yield (*path, index, *last), f"{quoted(value)} is given twice, first in {dotted((*path, first[value]))}"


def at(data: Any, kind: type[_T], *names: str) -> _T:
    """What stands in `data` at a path of names, or an empty value where something else or nothing does."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, kind) else kind()


def is_one_of(kind: type[StrEnum], value: object) -> bool:
    """Whether the value is a text of the enumeration; it may be anything else, a list or a table as well."""
    return isinstance(value, str) and value in {*kind}
