"""Writing files that hold secrets: whole or not at all, through to the disk, and for their owner alone."""

import glob
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

LEFT_SECONDS = 3600
"""After which nobody is still writing a small file."""


def put_beside(path: Path, content: bytes, *, alone: bool = False) -> Path:
    """Write content under a name of its own beside a path, whose place it is to take; the name.

    Args:
        path: the path.
        content: what is written.
        alone: a lock keeps others from it, so that what lies beside it was left by a process that is no more.

    Raises:
        OSError: it cannot be written; nothing stays behind.
    """
    _clear(path, 0 if alone else LEFT_SECONDS)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    file = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    return partial


def _clear(path: Path, seconds: int) -> None:
    """Remove what a process left beside the path that was killed before its content could take the place."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.partial"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime >= seconds:
                left.unlink()


def replace_whole(path: Path, content: bytes) -> None:
    """Put a file in place of what is there, if anything is; raises OSError."""
    partial = put_beside(path, content)
    try:
        partial.replace(path)
        keep_folder(path.parent)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise


def keep_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; raises OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
