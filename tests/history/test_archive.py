"""The archive: a run is there whole or not at all, and comes back as it was."""

import errno
import json
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest

from auditor.config import Config
from auditor.errors import OutputError, UsageError
from auditor.history import RunWriter, find_run, list_runs, load_run, write_part, write_report
from auditor.history.parquet import merge_parquet, read_parquet, write_parquet
from auditor.model import Coverage, NotAuditedAccount, NotAuditedCode, Policy, ReportUser, RunManifest, UserLookup
from auditor.policy import evaluate, tally
from auditor.tables import ACCOUNTS, FINDINGS, KEYS, USERS, Snapshot
from tests.builders import AS_OF, TERMS, account_result, ago, live_key, refused, report_key, report_user, snapshot, used
from tests.builders import archive as write_archive


class Made(NamedTuple):
    """What a run is archived from."""

    manifest: RunManifest
    facts: Snapshot
    findings: pd.DataFrame


def make_run(*users: ReportUser, run: str = "20261122T190000Z-00000000", minutes: int = 0) -> Made:
    """A run with findings, an account that was not audited, and every kind of missing value."""
    lookup = UserLookup("ann", (live_key("AKIAEXAMPLE", ago(400), used(1)),), tags={"owner": "pay"})
    users = users or (
        report_user("ann", report_key(ago(400), used(1))),
        report_user("bob", report_key(None)),
        report_user("cat"),
    )
    facts = snapshot(account_result(*users, lookups={"ann": lookup}), refused())
    findings = evaluate(facts, Policy(), AS_OF)
    missing = NotAuditedAccount("444455556666", None, NotAuditedCode.ROLE_REFUSED, "no", "check")
    manifest = RunManifest(
        id=run,
        as_of=AS_OF,
        started_at=AS_OF,
        finished_at=AS_OF + timedelta(minutes=minutes),
        tool_version="0.1.0",
        caller_arn=None,
        scope="a test",
        coverage=Coverage(2, 1, (missing,), 4, 2),
        summary=tally(findings, facts, Policy()).summary(),
        calls={"iam:ListUsers": 3},
        policy=Config().to_policy(),
        key_ids="flagged",
        organisation="Example",
        notes=("a note",),
    )
    return Made(manifest, facts, findings)


def archive(output: Path, made: Made) -> Path:
    """The run's folder, written as the pipeline does."""
    return write_archive(output, made.manifest, made.facts, made.findings)


def test_a_run_comes_back_as_it_was(tmp_path: Path) -> None:
    """Manifest, policy and every table, missing values included."""
    made = make_run()
    folder = archive(tmp_path, made)
    back = load_run(folder)
    assert back.manifest == made.manifest
    for name, frame, columns in (
        ("accounts", made.facts.accounts, ACCOUNTS),
        ("users", made.facts.users, USERS),
        ("keys", made.facts.keys, KEYS),
        ("findings", made.findings, FINDINGS),
    ):
        pd.testing.assert_frame_equal(read_parquet(folder / "tables" / f"{name}.parquet", columns), frame)
    pd.testing.assert_frame_equal(back.accounts, made.facts.accounts)


def test_reports_get_what_they_list_and_counts_of_the_rest(tmp_path: Path) -> None:
    """Findings that are not compliant, compliant ones due soon, verdicts by account and outcome, keys by age."""
    users = [
        report_user(name, report_key(ago(age), used(0)))
        for name, age in (("old", 400), ("due", 80), ("young", 5), ("twin", 5))
    ]
    made = make_run(*users)
    run = load_run(archive(tmp_path, made))
    assert sorted(run.findings["user"]) == ["due", "old"]
    total = run.verdicts.set_index("outcome")["verdicts"].sum()
    assert total == len(made.findings)
    assert dict(run.ages.itertuples(index=False)) == {5: 2, 80: 1, 400: 1}


def test_parts_are_merged_in_their_order(tmp_path: Path) -> None:
    """Tables written in parts are the tables written at once; what else lies there is not the run's."""
    made = make_run()
    whole = archive(tmp_path, made)
    writer = RunWriter(tmp_path, AS_OF, TERMS)
    for number, account in enumerate(made.facts.accounts["account_id"]):
        of_account = [frame[frame["account_id"].eq(account)] for frame in (*astuple_frames(made.facts), made.findings)]
        write_part(writer.folder, number, Snapshot(*of_account[:4]), of_account[4])
    parts = len(made.facts.accounts)
    stray = Snapshot(*astuple_frames(made.facts))
    write_part(writer.folder, parts, stray, made.findings)  # of a process that outlived its run
    writer.complete(made.manifest, parts, {})
    parted = writer.finish("20261122T190000Z-parted00", {})
    for name, columns in (("accounts", ACCOUNTS), ("users", USERS), ("keys", KEYS)):
        one, other = (read_parquet(folder / "tables" / f"{name}.parquet", columns) for folder in (whole, parted))
        pd.testing.assert_frame_equal(one, other)
    assert {path.name for path in parted.iterdir()} == {"policy.toml", "raw", "run.json", "tables"}


def astuple_frames(facts: Snapshot) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    return facts.accounts, facts.users, facts.keys, facts.credentials


def test_raw_bytes_are_kept_as_they_came(tmp_path: Path) -> None:
    """Not a byte is changed, line ends and broken text included."""
    folder = archive(tmp_path, make_run())
    assert (folder / "raw" / "111122223333" / "credential-report.csv").read_bytes() == b"user,arn\r\n\xff"


def test_an_unfinished_run_is_no_run(tmp_path: Path) -> None:
    """Before `finish` the folder's name says incomplete, `latest` passes it over, and the list calls it unfinished."""
    done = archive(tmp_path, make_run())
    writer = RunWriter(tmp_path, AS_OF, TERMS)
    writer.answers.save("111122223333", "credential-report.csv", b"x")
    assert writer.folder.name.endswith(".incomplete")
    assert find_run("latest", tmp_path) == done
    assert sorted(entry.is_finished for entry in list_runs(tmp_path)) == [False, True]
    assert writer.abandon(keep_answers=False) is None
    assert [entry.folder for entry in list_runs(tmp_path)] == [done]


def test_what_aws_answered_outlives_a_run_that_came_to_nothing(tmp_path: Path) -> None:
    """The raw answers stay in the incomplete folder without what was half made; without answers nothing stays."""
    writer, empty = RunWriter(tmp_path, AS_OF, TERMS), RunWriter(tmp_path, AS_OF, TERMS)
    writer.answers.save("111122223333", "credential-report.csv", b"x")
    (writer.folder / "tables").mkdir()
    (writer.folder / "run.json").write_text("{")
    kept = writer.abandon(keep_answers=True)
    assert kept
    assert empty.abandon(keep_answers=True) is None
    assert list(tmp_path.iterdir()) == [kept]
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()) == [
        "policy.toml",
        "raw/111122223333/credential-report.csv",
    ]


def test_a_process_that_dies_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    """From the claim of the id on, and abandoning a run that is finished does not touch it."""
    writer = RunWriter(tmp_path, AS_OF, TERMS)
    run = make_run(run=writer.claim_id("00000000"))
    assert [path.name for path in tmp_path.iterdir()] == [f"{run.manifest.id}.incomplete"]
    write_part(writer.folder, 0, run.facts, run.findings)
    writer.complete(run.manifest, 1, {})
    folder = writer.finish(run.manifest.id, {})
    for keep_answers in (False, True):
        assert writer.abandon(keep_answers=keep_answers) is None
    assert find_run(run.manifest.id, tmp_path) == folder


def test_latest_is_the_one_made_last(tmp_path: Path) -> None:
    """By when it was finished; a run judged at an earlier instant may be the newer one."""
    archive(tmp_path, make_run(run="20261122T190000Z-aaaaaaaa", minutes=1))
    newest = archive(tmp_path, make_run(run="20260101T000000Z-bbbbbbbb", minutes=5))
    archive(tmp_path, make_run(run="20261122T190000Z-cccccccc", minutes=3))
    assert find_run("latest", tmp_path) == newest
    assert list_runs(tmp_path)[0].folder == newest


def test_a_run_is_found_by_id_and_by_path(tmp_path: Path) -> None:
    """And one that is not there is a usage error."""
    folder = archive(tmp_path, make_run())
    assert find_run(folder.name, tmp_path) == folder
    assert find_run(str(folder), tmp_path / "elsewhere") == folder
    with pytest.raises(UsageError, match="no run"):
        find_run("nothing", tmp_path)


def test_two_runs_at_once_cannot_take_the_same_id(tmp_path: Path) -> None:
    """The id is claimed before it is used; what is abandoned is free again."""
    first, second, third = (RunWriter(tmp_path, AS_OF, TERMS) for _ in range(3))
    assert first.claim_id("00000000") == "20261122T190000Z-00000000"
    assert second.claim_id("00000000") == "20261122T190000Z-00000000-2"
    first.abandon(keep_answers=False)
    second.abandon(keep_answers=False)
    assert third.claim_id("00000000") == "20261122T190000Z-00000000"


def test_a_cut_off_run_is_never_taken_for_a_finished_one(tmp_path: Path) -> None:
    """The folder's name decides, even where everything is in it already (killed just before the renaming)."""
    folder = archive(tmp_path, make_run())
    cut_off = folder.rename(tmp_path / f"{folder.name}.incomplete")
    assert [entry.is_finished for entry in list_runs(tmp_path)] == [False]
    for name in ("latest", cut_off.name, str(cut_off)):
        with pytest.raises(UsageError):
            find_run(name, tmp_path)


def test_a_strange_run_json_does_not_hide_the_other_runs(tmp_path: Path) -> None:
    """It is listed as unreadable; the others are listed as ever."""
    archive(tmp_path, make_run())
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "run.json").write_text('{"id": "x", "as_of": "y"}')
    assert sorted(entry.is_finished for entry in list_runs(tmp_path)) == [False, True]


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _newer(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": "auditor.run/9"}))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("run.json", Path.unlink),
        ("run.json", _cut),
        ("run.json", _newer),
        ("policy.toml", Path.unlink),
        ("policy.toml", _cut),
        ("tables/findings.parquet", Path.unlink),
        ("tables/keys.parquet", _cut),
    ],
)
def test_a_damaged_run_is_refused(tmp_path: Path, name: str, damage: Callable[[Path], object]) -> None:
    """Half a run is no run: a paragraph with the folder and what to do."""
    folder = archive(tmp_path, make_run())
    damage(folder / name)
    with pytest.raises(OutputError, match="cannot be read") as caught:
        load_run(folder)
    assert str(folder) in str(caught.value)
    assert caught.value.next_step


def test_a_report_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the old report and no partial file."""
    assert write_report(tmp_path, "report.html", b"old").read_bytes() == b"old"
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError):
        write_report(tmp_path, "taken", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "taken"]


def test_a_full_disk_is_told_as_one() -> None:
    """What DuckDB says of it is told in the system's words, with what to do."""
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_parquet({Path("/dev/full"): pd.DataFrame({"text": ["x"]})})
    assert caught.value.errno == errno.ENOSPC


def test_an_output_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    """Said before anything is called."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        RunWriter(tmp_path / "file", AS_OF, TERMS)


def test_ctrl_c_while_tables_are_merged_is_ctrl_c(tmp_path: Path) -> None:
    """DuckDB hears it first and calls it an error of its own; the user is told of the interruption."""
    part = tmp_path / "part.parquet"
    write_parquet({part: pd.DataFrame({"text": [f"{n:030}" for n in range(200_000)]})})
    over = threading.Event()

    def strike() -> None:
        for pause in (0.3, 5.0, 5.0, 5.0):  # one that comes right before DuckDB begins is not heard
            if over.wait(pause):
                return
            signal.raise_signal(signal.SIGINT)

    striking = threading.Thread(target=strike)
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - it strikes in here
        striking.start()
        try:
            merge_parquet([part] * 1_000, tmp_path / "whole.parquet")
        finally:
            over.set()
    striking.join()
