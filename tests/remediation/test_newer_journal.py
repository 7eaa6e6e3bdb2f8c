"""A journal that another version wrote is whole and not understood: it is told as that, and crashes nothing."""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from auditor.errors import OutputError
from auditor.remediation.journal import START, Event
from auditor.remediation.journal_file import FILE, open_journal
from auditor.remediation.plan import Plan
from auditor.remediation.progress import fold
from auditor.remediation.record import record
from tests.builders import AS_OF
from tests.remediation.test_record import ITEM
from tests.remediation.world import plan_of

PLAN = plan_of(ITEM)


def claimed(plan: Plan) -> dict[str, Any]:
    """A plan as the journal has it."""
    return plan.model_dump(mode="json", by_alias=True)


def append(folder: Path, event: str, told: Mapping[str, Any] | list[str], item: str = ITEM.id) -> None:
    """A row as another version may write it: of the right hash, whatever it tells."""
    with open_journal(folder, lambda: AS_OF, writes=False) as journal:
        number, before = len(journal.rows) + 1, journal.head
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    fields = (number, AS_OF.isoformat(), PLAN.id, item, event, text, before)
    row_hash = hashlib.sha256("\x1f".join(map(str, fields)).encode()).hexdigest()
    with sqlite3.connect(folder / FILE) as database:
        database.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*fields, row_hash))


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ("escalated", {}),
        ("claimed", {"plan": claimed(PLAN) | {"colour": "red"}}),
        ("claimed", {"plan": {}}),
        ("claimed", {}),
        ("approved", {"through": {"item-1": "melt"}}),
        ("approved", {"through": {"item-9": "rotate"}}),
        ("approved", {"through": []}),
        ("intent", {"step": "rotate"}),
        ("result", {"step": "create", "outcome": "failed"}),
        ("result", {"step": "melt", "outcome": "done"}),
        ("waiting", {}),
        ("asked", {"reason": "x"}),
        ("told", {}),
        ("held", []),
    ],
)
def test_a_row_that_is_not_understood_makes_the_journal_unreadable(
    tmp_path: Path, event: str, told: dict[str, Any]
) -> None:
    """With the row, and what works without it: an unknown word, a missing one, or an item that nobody claimed."""
    with open_journal(tmp_path, lambda: AS_OF) as journal:
        journal.add(PLAN.id, "", Event.CLAIMED, plan=claimed(PLAN))
    append(tmp_path, event, told)
    for reads in (fold, lambda rows: record(rows, AS_OF)):
        with (
            pytest.raises(OutputError, match="Row 2 of the journal is not understood") as error,
            open_journal(tmp_path, lambda: AS_OF, writes=False) as journal,
        ):
            reads(journal.rows)
        assert "rollback KEY" in error.value.next_step


def test_a_table_with_other_columns_is_not_understood(tmp_path: Path) -> None:
    """Whatever a newer version keeps beside."""
    with open_journal(tmp_path, lambda: AS_OF) as journal:
        journal.add(PLAN.id, "", Event.CLAIMED, plan=claimed(PLAN))
        assert journal.head != START
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("ALTER TABLE log ADD COLUMN colour TEXT")
    with (
        pytest.raises(OutputError, match="Row 1 of the journal is not understood"),
        open_journal(tmp_path, lambda: AS_OF),
    ):
        pass
