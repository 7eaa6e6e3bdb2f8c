"""The journal as a file: what it is written with."""

import stat
from pathlib import Path

from auditor.remediation.journal_file import FILE, open_journal
from tests.builders import AS_OF


def test_a_row_is_on_the_disk_before_it_counts_and_nobody_else_reads_it(tmp_path: Path) -> None:
    """Write-ahead logging, with the log synchronised at every commit (SQLite: PRAGMA synchronous, FULL is 2)."""
    folder = tmp_path / "remediation"
    with open_journal(folder, lambda: AS_OF) as journal:
        database = journal._kept.database  # type: ignore[attr-defined]
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
