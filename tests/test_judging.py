"""Judging what was kept: the same whatever the batches and the processes, and nothing half done passes as done."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from auditor.errors import OutputError
from auditor.history import RunWriter, done_accounts
from auditor.history.parquet import read_parquet
from auditor.judging import Judged, judge
from auditor.model import Policy
from auditor.tables import ACCOUNTS, FINDINGS, KEYS, USERS
from benchmarks.endpoint import Endpoint, Settings
from tests.builders import AS_OF, TERMS
from tests.conftest import NoProgress
from tests.gather.conftest import gather, gathering_process

COLUMNS = {"accounts": ACCOUNTS, "users": USERS, "keys": KEYS, "findings": FINDINGS}
POLICY = Policy()
TINY = 1
"""Bytes of a batch that holds one account."""


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunWriter]:
    """The answers of some accounts, of which some users were looked up."""
    writer = RunWriter(tmp_path_factory.mktemp("run"), AS_OF, TERMS)
    with Endpoint(Settings(accounts=24, users=8, flagged=0.25, as_of=AS_OF)) as endpoint:
        gather(endpoint, writer)
    yield writer
    writer.close()


class Counting(NoProgress):
    """How many accounts were told of."""

    done = 0

    def advance(self, step: str = "") -> None:
        """One more."""
        super().advance(step)
        self.done += 1


def judged(writer: RunWriter, **options: int) -> tuple[Judged, dict[str, pd.DataFrame]]:
    """What comes of it, and the rows of all parts in their order."""
    progress = Counting()
    result = judge(writer.folder, POLICY, AS_OF, progress, **options)
    assert result.parts == len(list((writer.folder / "parts" / "users").iterdir()))
    assert progress.done == len(list(done_accounts(writer.folder)))
    tables = {}
    for name, columns in COLUMNS.items():
        parts = sorted((writer.folder / "parts" / name).iterdir())
        tables[name] = pd.concat([read_parquet(part, columns) for part in parts], ignore_index=True)
        for part in parts:
            part.unlink()
    return result, tables


@pytest.mark.parametrize("options", [{"batch": TINY}, {"batch": TINY, "processes": 2}, {"batch": 40_000}])
def test_batches_and_processes_change_nothing(gathered: RunWriter, options: dict[str, int]) -> None:
    """Digest, numbers and every row are those of judging all at once."""
    whole, tables = judged(gathered)
    parted, rows = judged(gathered, **options)
    assert replace(parted, parts=whole.parts) == whole
    assert whole.parts == 1 < parted.parts
    assert whole.users == 24 * 9
    for name, table in tables.items():
        pd.testing.assert_frame_equal(rows[name], table)


def test_another_policy_has_another_digest(gathered: RunWriter) -> None:
    """The id of a run says under which policy its facts were judged."""
    whole, _ = judged(gathered)
    other = judge(gathered.folder, replace(POLICY, owner_tags=("team",)), AS_OF, NoProgress())
    assert other.digest != whole.digest


def test_a_process_that_dies_while_judging_is_an_error(gathered: RunWriter) -> None:
    """Killed for its memory, say: nothing is made of what is left, and the next step is named."""

    class Killing(NoProgress):
        def advance(self, step: str = "") -> None:
            super().advance(step)
            os.kill(gathering_process(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")), signal.SIGKILL)

    with pytest.raises(OutputError, match="process that judged") as caught:
        judge(gathered.folder, POLICY, AS_OF, Killing(), processes=2, batch=TINY)
    assert "gather.processes = 1" in caught.value.next_step


def test_answers_that_cannot_be_read_back_are_an_error_in_any_process(gathered: RunWriter) -> None:
    """It names the account's folder."""
    damaged = gathered.folder / "raw" / next(name for name, _ in done_accounts(gathered.folder)) / "account.json"
    before = damaged.read_bytes()
    damaged.write_bytes(b"{}")
    try:
        for processes in (1, 2):
            with pytest.raises(OutputError, match="cannot be read back") as caught:
                judge(gathered.folder, POLICY, AS_OF, NoProgress(), processes=processes, batch=TINY)
            assert str(damaged.parent) in str(caught.value.where)
    finally:
        damaged.write_bytes(before)
