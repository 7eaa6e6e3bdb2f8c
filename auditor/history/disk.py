"""Files written whole or not at all, and what a full or forbidden disk says."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from auditor.errors import OutputError


def write_whole(target: Path, content: bytes) -> Path:
    """Write a file under another name, then give it its own; `target`.

    Raises:
        OutputError: it cannot be written; what was there before is still there.
    """
    partial = f"{target.parent}/.{target.name}.{secrets.token_hex(4)}.partial"
    try:
        with writing(target):
            with open(partial, "wb") as file:  # noqa: PTH123 - pathlib costs as much as the small writing
                file.write(content)
            os.replace(partial, target)  # noqa: PTH105
    except BaseException:
        with suppress(OSError):
            Path(partial).unlink()
        raise
    return target


@contextmanager
def writing(path: Path, option: str = "--output") -> Iterator[None]:
    """What fails in this block is an OutputError at `path`, with what to do, and the option that names another."""
    try:
        yield
    except OSError as error:
        step = "Free space on this disk" if error.errno == errno.ENOSPC else "Check the folder and its permissions"
        what = f"Cannot write ({error.strerror or error})."
        raise OutputError(what, where=str(path), next_step=f"{step}, or name another with {option}.") from error
