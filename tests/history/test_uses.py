"""How long keys rest between two uses, by what runs saw: a lower bound that never calls a daily job a monthly one."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from auditor.config import load_config
from auditor.gather import connection_for
from auditor.history import longest_pauses
from auditor.history.uses import Sighting, pauses_in
from auditor.model import Pause
from auditor.pipeline import AuditRequest, audit
from tests.builders import ACCOUNT
from tests.conftest import NoProgress
from tests.report_files import Key, user_row, write_report

BORN = datetime(2025, 1, 15, 8, 30, tzinfo=UTC)
START = datetime(2025, 12, 1, 6, tzinfo=UTC)
ANN = (ACCOUNT, "ann")


def day(number: float) -> datetime:
    """So many days after the start."""
    return START + timedelta(days=number)


def run(folder: Path, at: float, last_used: Mapping[str, float | None]) -> None:
    """A run of that day, which saw these users' keys last used on those days."""
    reports = folder / f"in-{at}"
    rows = [user_row(name, Key(BORN, None if used is None else day(used))) for name, used in last_used.items()]
    write_report(reports / "report.csv", *rows)
    config = load_config(None, {"output": {"folder": str(folder / "runs"), "formats": ["csv"]}})
    audit(AuditRequest(config, connection_for(config), day(at), (), (reports,)), NoProgress())


def test_a_job_of_each_quarter_is_known_by_its_rests(tmp_path: Path) -> None:
    """Seen at the first of each month; a key of a daily job rests for hours, and one that stopped ended no rest."""
    daily, stopped = (0, 30, 60, 90, 120), (0, 1, 1, 1, 1)
    quarterly = (-20, -20, -20, 71, 71)
    for at, one, two, three in zip((0.2, 30.2, 60.2, 90.2, 120.2), daily, stopped, quarterly, strict=True):
        run(tmp_path, at, {"ann": three, "bob": one, "cid": two, "dan": None})
    users = [(ACCOUNT, name) for name in ("ann", "bob", "cid", "dan", "eve")]
    found = longest_pauses(tmp_path / "runs", users, day(121)).longest
    assert found[ANN] == Pause(timedelta(days=80.2), day(71))
    assert found[ACCOUNT, "bob"].length < timedelta(days=1)
    assert set(found) == {ANN, (ACCOUNT, "bob"), (ACCOUNT, "cid")}
    assert found[ACCOUNT, "cid"].length < timedelta(days=1)
    assert longest_pauses(tmp_path / "runs", [(ACCOUNT, "bob")], day(121)).longest.keys() == {(ACCOUNT, "bob")}


def test_what_is_long_past_does_not_count_and_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    """A run that was damaged may have seen a longer rest; one of two years ago says nothing about today."""
    for at, used in ((0.5, -30), (10.5, 5), (20.5, 15)):
        run(tmp_path, at, {"ann": used})

    def found(at: float, runs: str = "runs") -> tuple[timedelta | None, int]:
        rests = longest_pauses(tmp_path / runs, [ANN], day(at))
        return (rests.longest[ANN].length if rests.longest else None, len(rests.unread))

    assert found(30) == (timedelta(days=30.5), 0)
    assert found(405) == (timedelta(days=5.5), 0)
    newest = max((tmp_path / "runs").iterdir(), key=lambda folder: folder.name)
    (newest / "tables" / "keys.parquet").write_bytes(b"")
    assert found(30) == (timedelta(days=30.5), 1)
    assert longest_pauses(tmp_path / "runs", [ANN], day(30)).unread == (newest.name,)
    assert found(30, "nothing") == (None, 0)


@given(
    uses_at=st.lists(st.floats(0, 300), min_size=1, max_size=40).map(sorted),
    seen_at=st.lists(st.floats(1, 300), min_size=2, max_size=12, unique=True).map(sorted),
)
def test_a_pause_is_never_longer_than_the_rest_that_there_was(uses_at: list[float], seen_at: list[float]) -> None:
    """Whenever a key is used and whenever it is looked at: what is found lies within a true gap between two uses."""
    looked = [(at, [use for use in uses_at if use <= at]) for at in seen_at]
    sightings = [Sighting(*ANN, BORN, day(before[-1]), day(at)) for at, before in looked if before]
    found = pauses_in(sightings).get(ANN)
    gaps = [day(after) - day(before) for before, after in pairwise(uses_at)]
    assert found is None or found.length <= max(gaps)
