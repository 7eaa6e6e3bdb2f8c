"""Files written whole or not at all, and what a full or forbidden disk says."""

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from auditor.errors import OutputError


def write_whole(target: Path, content: bytes) -> Path:
    """Write a file under another name, then give it its own; `target`.

    Raises:
        OutputError: it cannot be written; what was there before is still there.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with writing(target):
            partial.write_bytes(content)
            return partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What fails in this block is an OutputError at `path`, with what to do."""
    try:
        yield
    except OSError as error:
        step = "Free space on this disk" if error.errno == errno.ENOSPC else "Check the folder and its permissions"
        what = f"Cannot write ({error.strerror or error})."
        raise OutputError(what, where=str(path), next_step=f"{step}, or name another with --output.") from error
