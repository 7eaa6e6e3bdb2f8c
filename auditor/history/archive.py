"""Writing a run: into a folder that says it is incomplete, renamed when everything is there."""

import errno
import itertools
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pandas as pd

from auditor.answers import ACCOUNT
from auditor.errors import OutputError, UsageError
from auditor.history.manifest import encode_manifest
from auditor.history.parquet import merge_parquet, write_parquet
from auditor.model import RunManifest
from auditor.tables import Snapshot

INCOMPLETE = ".incomplete"
"""The ending of the folder of a run that is under way, or was cut off."""

RAW = "raw"
"""The folder of AWS's answers, below the run's."""

PARTS = "parts"
"""The folder of tables that are not merged yet."""

TABLES = ("accounts", "users", "keys", "findings")


class RunWriter:
    """The folder of a run that is under way. Raw answers are kept as they come; `finish` makes it a run."""

    def __init__(self, output: Path, as_of: datetime) -> None:
        """Make the folder, below `output`.

        Raises:
            UsageError: `output` cannot be written; nothing has been called yet.
        """
        self.output = output
        self.as_of = as_of
        self._parts: list[str] = []
        self.folder = output / f"{_stamp(as_of)}-{secrets.token_hex(4)}{INCOMPLETE}"
        try:
            self.folder.mkdir(parents=True)
            (self.folder / RAW).mkdir()
        except OSError as error:
            step = "Name a folder that can be written with --output."
            what = f"The output folder cannot be written ({error.strerror})."
            raise UsageError(what, where=str(output), next_step=step) from error

    def save(self, account_id: str, name: str, content: bytes) -> None:
        """Keep one raw answer of one account; see `auditor.gather.RawStore`."""
        folder = self.folder / RAW / account_id
        with _writing(folder):
            folder.mkdir(exist_ok=True)
        _write_whole(folder / name, content)

    def claim_id(self, digest: str) -> str:
        """The run's id: its instant and its digest; the second such run in this folder gets a number behind it.

        The incomplete folder takes that name at once, so that two runs under way cannot take the same.

        Raises:
            OutputError: the folder cannot be renamed.
        """
        for number in itertools.count(1):
            run = f"{_stamp(self.as_of)}-{digest}" + (f"-{number}" if number > 1 else "")
            with _writing(self.output):
                if self._take(self.output / f"{run}{INCOMPLETE}") and not (self.output / run).exists():
                    return run
        raise AssertionError

    def _take(self, folder: Path) -> bool:
        """Rename the incomplete folder, unless another has that name; it is never empty, so none is overwritten."""
        try:
            self.folder = self.folder.rename(folder)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                return False
            raise
        return True

    def add_part(self, snapshot: Snapshot, findings: pd.DataFrame) -> None:
        """Write the tables of some accounts; parts are to come in the order of the accounts' ids.

        Raises:
            OutputError: the disk is full or the folder went away.
        """
        frames = (snapshot.accounts, snapshot.users, snapshot.keys, findings)
        with _writing(self.folder):
            for name, frame in zip(TABLES, frames, strict=True):
                parts = self.folder / PARTS / name
                parts.mkdir(parents=True, exist_ok=True)
                write_parquet(frame, parts / f"{len(self._parts):06}.parquet")
        self._parts.append(f"{len(self._parts):06}.parquet")

    def complete(self, manifest: RunManifest, policy_toml: str) -> None:
        """Merge the parts into the run's tables, and write policy and manifest.

        Raises:
            OutputError: the disk is full or the folder went away.
        """
        tables = self.folder / "tables"
        with _writing(self.folder):
            tables.mkdir()
            for name in TABLES:
                parts = [self.folder / PARTS / name / part for part in self._parts]
                if len(parts) == 1:
                    parts[0].rename(tables / f"{name}.parquet")
                else:
                    merge_parquet(parts, tables / f"{name}.parquet")
            shutil.rmtree(self.folder / PARTS)
            (self.folder / "policy.toml").write_text(policy_toml, encoding="utf-8")
            (self.folder / "run.json").write_bytes(encode_manifest(manifest))

    def finish(self, run_id: str, files: Mapping[str, bytes]) -> Path:
        """Write further files, and give the folder its final name, the run's id.

        Raises:
            OutputError: the disk is full or the folder went away; the incomplete folder stays until `abandon`.
        """
        with _writing(self.folder):
            for name, content in files.items():
                (self.folder / name).write_bytes(content)
            return self.folder.rename(self.output / run_id)

    def abandon(self, *, keep_answers: bool) -> Path | None:
        """The run came to nothing: remove what was written, but for what AWS answered, where that is to be kept.

        Returns:
            The incomplete folder with the raw answers, or None where nothing is left.
        """
        if keep_answers and self._has_answers():
            for leftover in self.folder.iterdir():
                if leftover.name != RAW:
                    _remove(leftover)
            return self.folder
        _remove(self.folder)
        return None

    def _has_answers(self) -> bool:
        kept = (path for path in (self.folder / RAW).rglob("*") if path.is_file())
        return any(path.name != ACCOUNT for path in kept)


def write_report(folder: Path, name: str, content: bytes) -> Path:
    """Write one report into a finished run's folder, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    return _write_whole(folder / name, content)


def _write_whole(target: Path, content: bytes) -> Path:
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        with _writing(target):
            partial.write_bytes(content)
            return partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _stamp(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%SZ")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        step = "Free space on this disk" if error.errno == errno.ENOSPC else "Check the folder and its permissions"
        what = f"Cannot write ({error.strerror or error})."
        raise OutputError(what, where=str(path), next_step=f"{step}, or name another with --output.") from error
