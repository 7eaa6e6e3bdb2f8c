"""A file's bytes → text → TOML table; what stands in the way is told with its place."""

import re
import tomllib
from pathlib import Path
from typing import Any

from auditor.errors import UsageError


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark; UsageError where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"line {line} holds the byte 0x{error.object[error.start]:02x}, which is not UTF-8"
        step = "Save the file in the encoding UTF-8."
    except (OSError, ValueError) as error:
        what = f"the file cannot be read: {getattr(error, 'strerror', None) or error}"
        step = "Check the path, and that you may read it."
    raise UsageError(what, where=str(path), next_step=step)


def table_of(text: str, origin: str, next_step: str) -> dict[str, Any]:
    """The table that a TOML text is; UsageError at `origin` with line and column where it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"(at line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}, the end)"
        hint = "; an account id stands in quotes" if re.search(r"(?m)^[^#\"'\n]*\b0[0-9]{11}\b", text) else ""
        what = str(error).replace("(at end of document)", end) + hint
    except (RecursionError, ValueError):
        what = "it is nested too deeply, or has a number of thousands of digits"
    raise UsageError(f"not valid TOML: {what}", where=origin, next_step=next_step)
