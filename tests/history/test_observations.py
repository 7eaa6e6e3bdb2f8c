"""What earlier runs saw of inactive keys: each run hands it on to the next, and keeps what it was judged by."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from auditor import answers
from auditor.config import load_config
from auditor.gather import connection_for
from auditor.history import observed_inactive, read_observations, write_observations
from auditor.history.parquet import read_parquet, write_parquet
from auditor.model import ObservedKey
from auditor.pipeline import AuditRequest, audit
from auditor.tables import FINDINGS, KEYS
from tests.builders import ACCOUNT
from tests.conftest import NoProgress
from tests.report_files import Key, user_row, write_report

OTHER = "444455556666"
BORN = datetime(2026, 1, 15, 8, 30, tzinfo=UTC)
JULY, AUGUST, SEPTEMBER, OCTOBER = (datetime(2026, month, 1, 6, tzinfo=UTC) for month in (7, 8, 9, 10))


def run(folder: Path, as_of: datetime, keys: Mapping[str, bool], output: str = "runs", settings: str = "") -> Path:
    """The folder of a run on reports of these accounts, in each of which ann has a key, active or not."""
    reports = folder / f"in-{as_of:%Y%m%d%H%M%S}-{output}"
    for account, active in keys.items():
        row = user_row("ann", Key(BORN, BORN, active=active), account=account)
        write_report(reports / f"{account}.csv", row, account=account)
    path = folder / "config.toml"
    path.write_text(settings, "utf-8")
    config = load_config(path, {"output": {"folder": str(folder / output), "formats": ["csv"]}})
    outcome = audit(AuditRequest(config, connection_for(config), as_of, (), (reports,)), NoProgress())
    return outcome.reports.folder


def inactive_since(folder: Path, account: str = ACCOUNT) -> datetime | None:
    """Since when ann's key is inactive, as a run has it."""
    keys = read_parquet(folder / "tables" / "keys.parquet", KEYS)
    (at,) = keys.loc[keys["account_id"].eq(account) & keys["user"].eq("ann"), "inactive_since"]
    return None if pd.isna(at) else at.to_pydatetime()


def verdict(folder: Path) -> tuple[str, str] | None:
    """Outcome and reason of the one verdict on how long an inactive key is kept."""
    found = read_parquet(folder / "tables" / "findings.parquet", FINDINGS)
    mine = found[found["control"].eq("inactive-key-retained")]
    return None if mine.empty else (mine["outcome"].iloc[0], mine["reason"].iloc[0])


def test_a_key_counts_from_the_first_run_that_saw_it_inactive(tmp_path: Path) -> None:
    """Carried over three runs, each of which reads the one before; it fails when it was kept too long."""
    first = run(tmp_path, JULY, {ACCOUNT: False})
    assert verdict(first) == ("compliant", "Seen inactive for the first time; due to be deleted on 2026-09-29.")
    second = run(tmp_path, AUGUST, {ACCOUNT: False})
    third = run(tmp_path, OCTOBER, {ACCOUNT: False})
    assert [inactive_since(folder) for folder in (first, second, third)] == [JULY, JULY, JULY]
    outcomes = [found and found[0] for found in map(verdict, (first, second, third))]
    assert outcomes == ["compliant", "compliant", "non_compliant"]
    assert (verdict(third) or ("", ""))[1].startswith("Seen inactive since 2026-07-01, 92 days: kept inactive for more")


def test_the_limit_is_the_policys(tmp_path: Path) -> None:
    """Another number of days, and a control that is switched off: nothing is judged."""
    run(tmp_path, JULY, {ACCOUNT: False})
    strict = run(tmp_path, AUGUST, {ACCOUNT: False}, settings="[policy.inactive-key-retained]\nmax_inactive_days = 30")
    assert (verdict(strict) or ("", ""))[0] == "non_compliant"
    off = run(tmp_path, SEPTEMBER, {ACCOUNT: False}, settings="[policy.inactive-key-retained]\nenabled = false")
    assert verdict(off) is None


def test_a_run_that_does_not_judge_it_hands_it_on(tmp_path: Path) -> None:
    """A run without the control still saw the key inactive: that is no break."""
    run(tmp_path, JULY, {ACCOUNT: False})
    run(tmp_path, AUGUST, {ACCOUNT: False}, settings="[policy.inactive-key-retained]\nenabled = false")
    assert inactive_since(run(tmp_path, OCTOBER, {ACCOUNT: False})) == JULY


def test_a_key_that_was_active_in_between_starts_anew(tmp_path: Path) -> None:
    """The break is seen by the run in between."""
    run(tmp_path, JULY, {ACCOUNT: False})
    assert inactive_since(run(tmp_path, AUGUST, {ACCOUNT: True})) is None
    assert inactive_since(run(tmp_path, SEPTEMBER, {ACCOUNT: False})) == SEPTEMBER
    assert inactive_since(run(tmp_path, OCTOBER, {ACCOUNT: False})) == SEPTEMBER


def test_an_account_that_the_latest_run_did_not_audit(tmp_path: Path) -> None:
    """It is looked for in the runs before."""
    run(tmp_path, JULY, {ACCOUNT: False, OTHER: False})
    run(tmp_path, AUGUST, {OTHER: False})
    folder = run(tmp_path, OCTOBER, {ACCOUNT: False, OTHER: False})
    assert (inactive_since(folder), inactive_since(folder, OTHER)) == (JULY, JULY)


def test_only_earlier_runs_of_the_folder_count(tmp_path: Path) -> None:
    """Neither one of the same instant or a later one, nor one of another folder."""
    run(tmp_path, JULY, {ACCOUNT: False}, "elsewhere")
    run(tmp_path, OCTOBER, {ACCOUNT: False})
    assert inactive_since(run(tmp_path, AUGUST, {ACCOUNT: False})) == AUGUST
    assert inactive_since(run(tmp_path, OCTOBER, {ACCOUNT: False})) == AUGUST
    assert observed_inactive(tmp_path / "nowhere", [ACCOUNT], OCTOBER) == {}


def test_of_one_instant_the_run_that_was_finished_last_counts(tmp_path: Path) -> None:
    """A run that was resumed has the instant of the one it goes on with, and saw the account after it."""
    for active, finished in ((True, 9), (False, 8), (False, 7)):
        folder = run(tmp_path / str(finished), JULY, {ACCOUNT: active})
        document = json.loads((folder / "run.json").read_bytes()) | {"finished_at": f"2026-07-01T{finished:02}:00:00Z"}
        (folder / "run.json").write_text(json.dumps(document), "utf-8")
        (tmp_path / "runs").mkdir(exist_ok=True)
        folder.rename(tmp_path / "runs" / f"{folder.name[:16]}-{'fc0'[finished - 7]}0000000")
    assert inactive_since(run(tmp_path, OCTOBER, {ACCOUNT: False})) == OCTOBER


def test_a_run_of_an_older_version_saw_its_inactive_keys_at_its_instant(tmp_path: Path) -> None:
    """Its table of keys does not tell since when."""
    older = run(tmp_path, JULY, {ACCOUNT: False}) / "tables" / "keys.parquet"
    columns = {name: dtype for name, dtype in KEYS.items() if name != "inactive_since"}
    write_parquet({older: read_parquet(older, columns)})
    assert inactive_since(run(tmp_path, OCTOBER, {ACCOUNT: False})) == JULY


@pytest.mark.parametrize("broken", ["keys", "accounts", "run.json", "naive", "incomplete"])
def test_a_run_that_cannot_be_read_is_passed_over(tmp_path: Path, broken: str) -> None:
    """Its tables or its manifest, cut off or changed: the run before it counts."""
    run(tmp_path, JULY, {ACCOUNT: False})
    middle = run(tmp_path, AUGUST, {ACCOUNT: True})
    match broken:
        case "run.json":
            (middle / "run.json").write_bytes(b'{"schema": ')
        case "naive":
            document = json.loads((middle / "run.json").read_bytes())
            (middle / "run.json").write_text(json.dumps(document | {"as_of": "2026-08-01T06:00:00"}), "utf-8")
        case "incomplete":
            middle.rename(middle.with_name(f"{middle.name}.incomplete"))
        case table:
            (middle / "tables" / f"{table}.parquet").write_bytes(b"PAR1")
    assert inactive_since(run(tmp_path, OCTOBER, {ACCOUNT: False})) == JULY


def test_a_run_keeps_what_it_was_judged_by(tmp_path: Path) -> None:
    """Without the run before it, it is judged again as it was; its id tells apart what earlier runs saw."""
    first = run(tmp_path, JULY, {ACCOUNT: False})
    second = run(tmp_path, OCTOBER, {ACCOUNT: False})
    arn = f"arn:aws:iam::{ACCOUNT}:user/ann"
    assert read_observations(first, ACCOUNT) == ()
    assert list(read_observations(second, ACCOUNT)) == [ObservedKey(None, arn, BORN, JULY)]
    alone = run(tmp_path, OCTOBER, {ACCOUNT: False}, "alone")
    assert alone.name.partition("-")[0] == second.name.partition("-")[0]
    assert alone.name != second.name


def test_nothing_is_kept_where_nothing_was_seen(tmp_path: Path) -> None:
    """What an attempt that was cut off had kept goes when nothing is observed any more."""
    (tmp_path / "raw").mkdir()
    keys = {ACCOUNT: [ObservedKey(None, "arn", BORN, JULY)]}
    write_observations(tmp_path, keys, [ACCOUNT, OTHER])
    assert list(read_observations(tmp_path, ACCOUNT)) == keys[ACCOUNT]
    assert list(read_observations(tmp_path, OTHER)) == []
    write_observations(tmp_path, {}, [ACCOUNT, OTHER])
    assert not (tmp_path / "raw" / ACCOUNT / answers.OBSERVED).exists()
    assert list(read_observations(tmp_path, ACCOUNT)) == []


def test_what_an_earlier_run_kept_is_not_changed(tmp_path: Path) -> None:
    """A run that goes on with it has the same file under a second name, and writes one of its own or none."""
    earlier, folder = tmp_path / "earlier", tmp_path / "later"
    (earlier / "raw").mkdir(parents=True)
    seen = [ObservedKey(None, "arn", BORN, JULY)]
    write_observations(earlier, {ACCOUNT: seen}, [ACCOUNT])
    for observed in ({ACCOUNT: [ObservedKey(None, "arn", BORN, AUGUST)]}, {}):
        place = folder / "raw" / ACCOUNT / answers.OBSERVED
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.hardlink_to(earlier / "raw" / ACCOUNT / answers.OBSERVED)
        write_observations(folder, observed, [ACCOUNT])
        assert list(read_observations(folder, ACCOUNT)) == observed.get(ACCOUNT, [])
        assert list(read_observations(earlier, ACCOUNT)) == seen
