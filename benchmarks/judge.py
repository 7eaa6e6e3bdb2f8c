"""What it costs to read back, parse and judge the credential reports of a run, and to write its tables; without AWS.

`python -m benchmarks.judge` judges 1,000,000 users in accounts of 1,000, as `auditor audit` does after gathering. The
reports have AWS's plain form and are the same in every run; about one key in ten fails. Making them is not measured.
The profile is of one further batch, parsed and judged in one process, so that it slows down nothing that is measured.
"""

import argparse
import cProfile
import hashlib
import io
import pstats
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from auditor import answers
from auditor.cli.progress import SilentProgress
from auditor.config import built_in_framework, built_in_frameworks
from auditor.credential_report import parse_credential_report
from auditor.history import RunWriter
from auditor.inventory import build_snapshot
from auditor.judging import judge
from auditor.model import (
    Account,
    AccountFacts,
    AccountResult,
    Outcome,
    Policy,
    Quarantine,
    ReportMeta,
    ServiceCredentials,
    Source,
)
from auditor.policy import evaluate, tally, with_owners
from benchmarks.cost import Cost, adopt_orphans, measured

AS_OF = datetime(2026, 11, 22, 19, tzinfo=UTC)
POLICY = Policy()
ONE = "cis-aws-5.0"
TURNS = 2
NOBODY, NO_CREDENTIALS = Quarantine(), ServiceCredentials()
AT_ONCE = 40_000
"""Users of a batch."""

COLUMNS = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_1_last_used_region,"
    "access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
    "access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,cert_1_last_rotated,cert_2_active,"
    "cert_2_last_rotated"
)
ROOT_LOGIN = "true,2026-08-30T11:22:33Z,2019-05-06T07:10:00Z,not_supported,true"
NO_KEY = "false,N/A,N/A,N/A,N/A"
NO_CERTIFICATES = "false,N/A,false,N/A"
REGIONS = ("us-east-1", "eu-central-1", "N/A", "ap-southeast-2")
SERVICES = ("ec2", "sts", "s3", "dynamodb")


def reports(users: int, account_size: int) -> Iterator[tuple[str, bytes]]:
    """Account ids with their reports, the root row included in an account's size."""
    for number, first in enumerate(range(0, users, account_size)):
        account_id = f"{100_000_000_000 + number}"
        rows = [_root(account_id)]
        rows += [_row(account_id, serial) for serial in range(first + 1, min(first + account_size, users))]
        yield account_id, "\n".join((COLUMNS, *rows)).encode()


def _root(account_id: str) -> str:
    name = f"<root_account>,arn:aws:iam::{account_id}:root,2019-05-06T07:08:09Z"
    return f"{name},{ROOT_LOGIN},{NO_KEY},{NO_KEY},{NO_CERTIFICATES}"


def _row(account_id: str, serial: int) -> str:
    """A user: two in three with a password, one in ten without a key, three in ten with two."""
    path = "service/" if serial % 5 == 0 else ""
    name = f"user-{serial:07d}"
    password = "false,N/A,N/A,N/A,false" if serial % 3 else f"true,{_ago(serial % 50)},{_ago(300)},N/A,true"
    first = NO_KEY if serial % 10 == 0 else _key(serial, active=True)
    second = _key(serial * 7 + 3, active=False) if serial % 10 in {3, 6, 9} else NO_KEY
    arn = f"arn:aws:iam::{account_id}:user/{path}{name}"
    return f"{name},{arn},{_ago(1000 + serial % 900)},{password},{first},{second},{NO_CERTIFICATES}"


def _key(serial: int, *, active: bool) -> str:
    scattered = serial * 7919
    age = 90 + scattered % 700 if scattered % 100 < 8 else scattered % 86
    used = "N/A,N/A,N/A"
    if scattered % 11:
        idle = min(age, scattered % 30)
        used = f"{_ago(idle, scattered % 1440 * 60)},{REGIONS[serial % 4]},{SERVICES[serial % 4]}"
    return f"{str(active).lower()},{_ago(age, scattered % 86_400)},{used}"


def _ago(days: int, seconds: int = 0) -> str:
    return f"{AS_OF - timedelta(days=days, seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


def results(users: int, account_size: int) -> Iterator[tuple[AccountResult, bytes]]:
    """The accounts as gathering hands them on, with their reports."""
    for account_id, content in reports(users, account_size):
        report = parse_credential_report(content, origin=account_id, expected_account=account_id)
        meta = ReportMeta(AS_OF, AS_OF, hashlib.sha256(content).hexdigest(), len(content))
        facts = AccountFacts(
            Source.CREDENTIAL_REPORT,
            report,
            meta,
            quarantine=NOBODY,
            service_credentials=NO_CREDENTIALS,
        )
        yield AccountResult(Account(account_id), facts), content


def keep(output: Path, users: int, account_size: int) -> Path:
    """A run's folder with the answers of all accounts, as gathering leaves it."""
    writer = RunWriter(output, AS_OF, "")
    for result, content in results(users, account_size):
        assert isinstance(result.outcome, AccountFacts)
        assert result.outcome.meta is not None
        writer.answers.save(result.account.id, answers.REPORT, content)
        writer.answers.save(result.account.id, answers.RESPONSE, answers.encode_response(result.outcome.meta))
        writer.answers.save(result.account.id, answers.QUARANTINE, answers.encode_quarantine(NOBODY))
        writer.answers.save(
            result.account.id, answers.SERVICE_CREDENTIALS, answers.encode_service_credentials(NO_CREDENTIALS)
        )
        writer.answers.save(result.account.id, answers.ACCOUNT, answers.encode_account(result))
    writer.close()
    return writer.folder


def judge_kept(folder: Path, processes: int, frameworks: Sequence[str]) -> None:
    """Judge a run's folder, and print what came of it and the seconds that it took."""
    editions = tuple(built_in_framework(name).to_framework() for name in frameworks)
    began = time.monotonic()
    judged = judge(folder, replace(POLICY, frameworks=editions), AS_OF, SilentProgress(), processes=processes)
    wall = time.monotonic() - began
    failing = judged.tally.keys.get(Outcome.NON_COMPLIANT, 0)
    print(f"{judged.users:,} users, {judged.keys:,} keys, {failing:,} keys fail: {wall:.1f} s wall to judge them")


def judge_batch(batch: list[tuple[AccountResult, bytes]]) -> None:
    """Parse and judge some accounts, as each process does; what was parsed to make them does not count."""
    for result, content in batch:
        parse_credential_report(content, origin=result.account.id, expected_account=result.account.id)
    snapshot = with_owners(build_snapshot([result for result, _ in batch]), POLICY)
    tally(evaluate(snapshot, POLICY, AS_OF), snapshot, POLICY)


def told(command: Sequence[str]) -> Cost:
    """Run the judging of a folder in a process of its own, and print what it says and costs."""
    cost, printed = measured(command)
    print(printed.decode().rstrip())
    print(f"with the start of the program {cost.wall:.1f} s wall, {cost.cpu:.1f} s CPU, {cost.peak:.0f} MiB at most")
    return cost


def compare(command: Sequence[str]) -> None:
    """One framework against all that are shipped at once, in turn, over the same answers."""
    for number in range(1, TURNS + 1):
        one = told([*command, ONE])
        every = told([*command, *built_in_frameworks()])
        wall, cpu = every.wall / one.wall, every.cpu / one.cpu
        many = len(built_in_frameworks())
        print(f"turn {number}: all {many} take {wall:.2f} times the wall and {cpu:.2f} times the CPU of {ONE}")


def in_memory(users: int, account_size: int) -> float:
    """CPU seconds of parsing and judging alone, in this process, a batch at a time."""
    spent = 0.0
    everything = results(users, account_size)
    while batch := list(islice(everything, max(1, AT_ONCE // account_size))):
        began = time.process_time()
        judge_batch(batch)
        spent += time.process_time() - began
    return spent


def profiled(account_size: int, lines: int = 25) -> str:
    """The functions in which one batch spends its time."""
    batch = list(islice(results(AT_ONCE, account_size), AT_ONCE // account_size))
    judge_batch(batch[:1])  # imports and caches are not the batch's
    profiler = cProfile.Profile()
    profiler.runcall(judge_batch, batch)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(lines)
    return text.getvalue()


def main() -> None:
    """Measure, print, and show where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=1_000_000, help="users in all (default: %(default)s)")
    parser.add_argument("--account-size", type=int, default=1_000, help="users of an account (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=0, help="0 is as many as auditor thinks fit")
    parser.add_argument("--frameworks", action="store_true", help="compare one framework with all of them at once")
    parser.add_argument("--framework", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument("--only-judge", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_judge:
        judge_kept(given.only_judge, given.processes, given.framework)
        return
    adopt_orphans()
    with tempfile.TemporaryDirectory() as output:
        folder = keep(Path(output), given.users, given.account_size)
        command = [sys.executable, "-m", "benchmarks.judge", "--only-judge", str(folder)]
        command += ["--processes", str(given.processes), "--framework"]
        if given.frameworks:
            compare(command)
            return
        told(command)
    print(f"parsing and judging alone, in one process: {in_memory(given.users, given.account_size):.1f} s CPU")
    print(profiled(given.account_size))


if __name__ == "__main__":
    main()
