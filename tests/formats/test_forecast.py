"""The days ahead: who falls due within which horizon, to the second, and by whose judgement."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from auditor.config import built_in_framework
from auditor.errors import OutputError
from auditor.formats.calendar import render_calendar
from auditor.formats.forecast import ForecastView
from auditor.formats.view import ReportView, build_view
from auditor.history import load_run
from auditor.history.library import UPCOMING
from auditor.model import ControlId, Exemption, Operator, Outcome, Policy, ReportUser, Scope, UserLookup
from auditor.policy import CONTROLS, NOT_LOOKED_UP
from auditor.tables import ACCOUNTS, FINDINGS, HORIZONS, KEYS, USERS
from tests.builders import (
    AS_OF,
    DAY,
    SECOND,
    account_result,
    ago,
    days,
    live_key,
    report_key,
    report_user,
    used,
)
from tests.formats.sample_run import finish
from tests.history.test_archive import archive, make_run

YEARS = Policy(key_unused=days(3650, Operator.AT_LEAST))
"""Keys are judged by age, and nobody comes near the limit on use."""


def forecast(*users: ReportUser, policy: Policy = YEARS, lookups: Mapping[str, UserLookup] | None = None) -> ReportView:
    """The view of a run on these users."""
    return build_view(finish([account_result(*users, lookups=lookups)], policy))


def counts(view: ForecastView) -> dict[str, tuple[int, ...]]:
    """By the control's title."""
    return {row.label: row.within for row in view.by_control}


AGE = CONTROLS[ControlId.KEY_AGE].title


@pytest.mark.parametrize("position", range(3))
def test_the_horizon_belongs_to_the_days_ahead(position: int) -> None:
    """What falls due in exactly 30 days is within 30, and a second later is not; so with 60 and 90."""
    policy = replace(YEARS, key_age=days(100, Operator.AT_LEAST))
    born = AS_OF - 100 * DAY + HORIZONS[position] * DAY
    on_it = forecast(report_user("ann", report_key(born, used(0))), policy=policy)
    assert counts(on_it.forecast) == {AGE: tuple(int(number >= position) for number in range(3))}
    assert [finding.due_at for finding in on_it.upcoming] == [AS_OF + HORIZONS[position] * DAY]
    later = forecast(report_user("ann", report_key(born + SECOND, used(0))), policy=policy)
    assert counts(later.forecast).get(AGE, (0, 0, 0)) == tuple(int(number > position) for number in range(3))


def test_what_fails_already_is_not_ahead() -> None:
    """Nor is what fails at this instant."""
    policy = replace(YEARS, key_age=days(90, Operator.AT_LEAST))
    users = [report_user("ann", report_key(ago(90), used(0))), report_user("bob", report_key(ago(90, -1), used(0)))]
    view = forecast(*users, policy=policy)
    assert [finding.user for finding in view.upcoming] == ["bob"]
    assert (view.forecast.total, view.forecast.shown) == (1, 1)


def test_each_key_counts_for_its_owner() -> None:
    """The most first; those of whom nobody is known are one of them."""
    users = [report_user(name, report_key(ago(80), used(0))) for name in ("ann", "bob", "cat")]
    lookups = {
        name: UserLookup(name, (live_key(f"AKIA{name.upper()}", ago(80), used(0)),), tags={"owner": "payments"})
        for name in ("ann", "bob")
    }
    view = forecast(*users, lookups=lookups)
    rows = [(row.label, row.within) for row in view.forecast.by_owner]
    assert rows == [("payments", (2, 2, 2)), (NOT_LOOKED_UP, (1, 1, 1))]


def test_the_soonest_are_told_one_by_one() -> None:
    """As many as a report can hold; all of them count."""
    users = [report_user(f"u{n:04}", report_key(ago(80, -n), used(0))) for n in range(UPCOMING + 3)]
    view = forecast(*reversed(users))
    assert (view.forecast.total, view.forecast.shown) == (UPCOMING + 3, UPCOMING)
    assert [finding.user for finding in view.upcoming] == [user.name for user in users[:UPCOMING]]
    assert b"only the soonest" in render_calendar(view).replace(b"\r\n ", b"")


def test_use_and_age_are_told_apart() -> None:
    """A key can fall due by both, and each is a verdict of its own."""
    view = forecast(report_user("ann", report_key(ago(80), used(10))), policy=Policy())
    unused = CONTROLS[ControlId.KEY_UNUSED].title
    assert counts(view.forecast) == {AGE: (1, 1, 1), unused: (0, 1, 1)}
    assert view.forecast.total == 2


def test_what_a_standard_will_find_is_foretold_as_well() -> None:
    """Once, whoever finds it first; the list of what the policy will soon find does not have it."""
    standard = built_in_framework("cis-aws-5.0").to_framework()
    users = report_user("ann", report_key(ago(80), used(0)))
    lax = replace(YEARS, key_age=days(3650, Operator.MORE_THAN))
    alone = forecast(users, policy=replace(lax, frameworks=(standard,)))
    assert counts(alone.forecast)[AGE] == (1, 1, 1)
    assert [(it.control, it.asked_by) for it in alone.upcoming if it.control == "key-age"] == [
        ("key-age", "cis-aws-5.0")
    ]
    assert alone.due_soon == ()
    both = forecast(users, policy=replace(YEARS, frameworks=(standard,)))
    assert counts(both.forecast)[AGE] == (1, 1, 1)


def test_what_an_exemption_excuses_is_due_when_it_ends() -> None:
    """It is foretold for that day, and the calendar says why."""
    exemption = Exemption(
        "e", ControlId.KEY_AGE, Scope(users=("ann",)), "r", "o", "a", "t", starts_at=ago(9), expires_at=ago(-20)
    )
    view = forecast(report_user("ann", report_key(ago(400), used(0))), policy=replace(YEARS, exemptions=(exemption,)))
    assert counts(view.forecast) == {AGE: (1, 1, 1)}
    assert [(it.outcome, it.due_at) for it in view.upcoming] == [(Outcome.EXEMPT, ago(-20))]
    assert "exempt until then" in render_calendar(view).decode().replace("\r\n ", "")


# ------------------------------------------------------------------------------------------------- older runs

LATER = {
    "accounts": ("units", "unit_names", "quarantine", "quarantine_problem", "quarantine_lost", "service_credentials"),
    "users": ("password_changed_at", "rotation_since", "quarantined_by", "tags", "owner_source"),
    "keys": ("inactive_since", "rotation_since", "user_created_at", "quarantined_by", "owner_source"),
    "findings": ("by_policy", "limit", "frameworks", "exemption", "rotation_since", "credential_id", "service"),
}


def drop(path: Path, columns: tuple[str, ...]) -> None:
    """Write the table again as it was before it had these columns."""
    kept = path.with_suffix(".old")
    with duckdb.connect(":memory:") as connection:
        connection.read_parquet(str(path)).create_view("rows")
        names = ", ".join(f'"{name}"' for name in columns)
        connection.sql(f"SELECT * EXCLUDE ({names}) FROM rows").write_parquet(str(kept))
    kept.replace(path)


def test_runs_of_older_versions_still_load(tmp_path: Path) -> None:
    """Without the columns that came later: they are missing, and the findings and the forecast are what they were."""
    made = make_run(
        report_user("ann", report_key(ago(400), used(1))),
        report_user("bob", report_key(ago(80), used(1))),
        report_user("cat", report_key(ago(400), active=False)),
    )
    folder = archive(tmp_path, made)
    before = build_view(load_run(folder))
    for table, columns in LATER.items():
        assert set(columns) <= set({"accounts": ACCOUNTS, "users": USERS, "keys": KEYS, "findings": FINDINGS}[table])
        drop(folder / "tables" / f"{table}.parquet", columns)
    run = load_run(folder)
    after = build_view(run)
    assert run.findings["by_policy"].isna().all()
    assert list(run.findings.columns) == list(FINDINGS)
    assert [(one.user, one.control, one.outcome) for one in after.findings] == [
        (one.user, one.control, one.outcome) for one in before.findings
    ]
    assert after.forecast == before.forecast
    assert [one.user for one in after.upcoming] == [one.user for one in before.upcoming]
    assert before.forecast.total > 0


def test_a_table_without_a_column_of_the_first_version_does_not(tmp_path: Path) -> None:
    """What every version had cannot be missing: the run is refused."""
    folder = archive(tmp_path, make_run())
    drop(folder / "tables" / "findings.parquet", ("outcome",))
    with pytest.raises(OutputError, match="cannot be read"):
        load_run(folder)
