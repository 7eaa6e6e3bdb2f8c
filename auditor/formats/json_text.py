"""JSON with a record a line: quick to write, small, and compared line by line from run to run. Pure."""

import io
import json
from collections.abc import Iterator
from typing import Any


def json_text(content: Any, levels: int) -> str:
    """The content with its outer levels spread over lines, and what is within them on one line each."""
    return "".join(json_pieces(content, levels))


def json_lines(content: Any, levels: int) -> bytes:
    """The same as a file's bytes, made piece by piece: lists of the outer levels may be iterators."""
    target = io.BytesIO()
    for piece in json_pieces(content, levels):
        target.write(piece.encode())
    target.write(b"\n")
    return target.getvalue()


def json_pieces(content: Any, levels: int, indent: str = "") -> Iterator[str]:
    """The same piece by piece, so that what an iterator gives is not all in memory at once."""
    inner = f"\n{indent}  "
    if levels and isinstance(content, dict) and content:
        for number, (name, value) in enumerate(content.items()):
            yield f"{',' if number else '{'}{inner}{json.dumps(name)}: "
            yield from json_pieces(value, levels - 1, inner[1:])
        yield f"\n{indent}}}"
    elif levels and isinstance(content, list | Iterator):
        number = 0
        for number, value in enumerate(content, 1):
            yield f"{',' if number > 1 else '['}{inner}"
            yield from json_pieces(value, levels - 1, inner[1:])
        yield f"\n{indent}]" if number else "[]"
    else:
        yield json.dumps(content, ensure_ascii=False, allow_nan=False)
