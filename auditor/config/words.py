"""How messages name a key and tell a value."""

import re

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
