"""Writing a run: into a folder that says it is incomplete, renamed when everything is there."""

import errno
import fcntl
import itertools
import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pandas as pd

from auditor.errors import UsageError
from auditor.history.disk import write_whole, writing
from auditor.history.manifest import encode_manifest
from auditor.history.parquet import merge_parquet, write_parquet
from auditor.history.raw import RAW, TERMS, AnswerStore, clear_but_answers, remove
from auditor.model import RunManifest
from auditor.tables import Snapshot

INCOMPLETE = ".incomplete"
"""The ending of the folder of a run that is under way, or was cut off."""

PARTS = "parts"
"""The folder of tables that are not merged yet."""

TABLES = ("accounts", "users", "keys", "service_credentials", "findings")


class RunWriter:
    """The folder of a run that is under way. Raw answers are kept as they come; `finish` makes it a run."""

    def __init__(self, output: Path, as_of: datetime, terms: str, *, resumed: Path | None = None) -> None:
        """Make the folder, below `output`, or go on in that of a run that was cut off.

        Args:
            output: the folder of the runs.
            as_of: the instant of judgement, in the folder's name.
            terms: the effective configuration as TOML, without secrets.
            resumed: the run that is gone on with; a finished one gets a new folder.

        Raises:
            UsageError: `output` cannot be written, or the run is still under way; nothing has been called yet.
        """
        try:
            str(output).encode()
        except UnicodeEncodeError as error:
            step = "Name another folder with --output."
            raise UsageError("The folder's name is not UTF-8.", where=repr(str(output)), next_step=step) from error
        self.output = output
        self.as_of = as_of
        self.folder = output / f"{_stamp(as_of)}-{secrets.token_hex(4)}{INCOMPLETE}"
        if resumed and resumed.name.endswith(INCOMPLETE):
            self.folder = resumed
        try:
            (self.folder / RAW).mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.folder)
            (self.folder / TERMS).write_text(terms, encoding="utf-8")
        except OSError as error:
            if self.folder != resumed:
                remove(self.folder)
            step = "Name a folder that can be written with --output."
            what = f"The output folder cannot be written ({error.strerror})."
            raise UsageError(what, where=str(output), next_step=step) from error

    def close(self) -> None:
        """Let go of the folder; others may take it over."""
        os.close(self._lock)

    @property
    def answers(self) -> AnswerStore:
        """Where AWS's answers are kept, until an id is claimed."""
        return AnswerStore(self.folder / RAW)

    def keep(self, name: str, content: bytes) -> None:
        """Keep a file of the run as a whole, as soon as there is one; raises OutputError."""
        write_whole(self.folder / name, content)

    def claim_id(self, digest: str) -> str:
        """The run's id: its instant and its digest; the second such run in this folder gets a number behind it.

        The incomplete folder takes that name at once, so that two runs under way cannot take the same.

        Raises:
            OutputError: the folder cannot be renamed.
        """
        for number in itertools.count(1):
            run = f"{_stamp(self.as_of)}-{digest}" + (f"-{number}" if number > 1 else "")
            with writing(self.output):
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

    def complete(self, manifest: RunManifest, parts: int, others: Mapping[str, pd.DataFrame]) -> None:
        """Merge the first so many parts into the run's tables, write others beside them, and write the manifest.

        Raises:
            OutputError: the disk is full or the folder went away.
        """
        write_tables(self.folder, parts, others)
        with writing(self.folder):
            (self.folder / "run.json").write_bytes(encode_manifest(manifest))

    def finish(self, run_id: str, files: Mapping[str, bytes]) -> Path:
        """Write further files, and give the folder its final name, the run's id.

        Raises:
            OutputError: the disk is full or the folder went away; the incomplete folder stays until `abandon`.
        """
        with writing(self.folder):
            for name, content in files.items():
                (self.folder / name).write_bytes(content)
            return self.folder.rename(self.output / run_id)

    def abandon(self, *, keep_answers: bool) -> Path | None:
        """The run came to nothing: remove what was written, but for what AWS answered, where that is to be kept.

        Returns:
            The incomplete folder with the raw answers, or None where nothing is left.
        """
        if keep_answers and clear_but_answers(self.folder):
            return self.folder
        remove(self.folder)
        return None


def write_part(folder: Path, number: int, snapshot: Snapshot, findings: pd.DataFrame) -> None:
    """Write the tables of some accounts into a run's folder; the parts' numbers follow the accounts' ids.

    Raises:
        OutputError: the disk is full or the folder went away.
    """
    frames = (snapshot.accounts, snapshot.users, snapshot.keys, snapshot.credentials, findings)
    with writing(folder):
        for name in TABLES:
            (folder / PARTS / name).mkdir(parents=True, exist_ok=True)
        paths = [_part(folder, name, number) for name in TABLES]
        write_parquet(dict(zip(paths, frames, strict=True)))


def write_tables(folder: Path, parts: int, others: Mapping[str, pd.DataFrame]) -> None:
    """Merge the first so many parts in a folder into the tables of a run, and write others beside them.

    Raises:
        OutputError: the disk is full or the folder went away.
    """
    tables = folder / "tables"
    with writing(folder):
        tables.mkdir()
        for name in TABLES:
            paths = [_part(folder, name, number) for number in range(parts)]
            if len(paths) == 1:
                paths[0].rename(tables / f"{name}.parquet")
            else:
                merge_parquet(paths, tables / f"{name}.parquet")
        write_parquet({tables / f"{name}.parquet": frame for name, frame in others.items()})
        shutil.rmtree(folder / PARTS)


def _part(folder: Path, table: str, number: int) -> Path:
    return folder / PARTS / table / f"{number:06}.parquet"


def write_report(folder: Path, name: str, content: bytes) -> Path:
    """Write one report into a finished run's folder, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    target = folder / name
    if target.is_file() and target.read_bytes() == content:
        return target
    return write_whole(target, content)


def _locked(folder: Path) -> int:
    """An open descriptor of the folder that locks it for as long as this process lives."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        step = "Wait for it, or end it; then resume it."
        raise UsageError(
            "This run is still under way in another process.", where=str(folder), next_step=step
        ) from error
    return descriptor


def _stamp(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%SZ")
