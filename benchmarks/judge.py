"""What it costs to parse and judge credential reports, in batches of accounts, without AWS and without a disk.

`python -m benchmarks.judge` judges 1,000,000 users in accounts of 1,000; `--users` and `--account-size` say otherwise.
The reports have AWS's plain form and are the same in every run; about one key in ten fails. Making them is not timed.
The profile is of one further batch, so that the profiler slows down nothing that is measured.
"""

import argparse
import cProfile
import io
import pstats
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from auditor.credential_report import parse_credential_report
from auditor.inventory import build_snapshot
from auditor.model import Account, AccountFacts, AccountResult, Outcome, Policy, ReportMeta, Source
from auditor.policy import evaluate, tally, users_to_look_up

AS_OF = datetime(2026, 11, 22, 19, tzinfo=UTC)
POLICY = Policy()
BATCH = 50_000
"""Users that are judged at a time."""

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


@dataclass(frozen=True)
class Cost:
    """What was judged, and what it took; seconds."""

    users: int = 0
    keys: int = 0
    verdicts: int = 0
    non_compliant: int = 0
    wall: float = 0.0
    cpu: float = 0.0


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


def batches(users: int, account_size: int) -> Iterator[list[tuple[str, bytes]]]:
    """The reports, as many at a time as hold a batch of users."""
    batch: list[tuple[str, bytes]] = []
    for report in reports(users, account_size):
        batch.append(report)
        if len(batch) * account_size >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def judge(batch: list[tuple[str, bytes]]) -> Cost:
    """Parse and judge one batch, as the pipeline does; what it found is counted, and then dropped."""
    results = []
    for account_id, content in batch:
        report = parse_credential_report(content, origin=account_id, expected_account=account_id)
        users_to_look_up(report, POLICY, AS_OF)
        meta = ReportMeta(AS_OF, AS_OF, "0" * 64, len(content))
        results.append(AccountResult(Account(account_id), AccountFacts(Source.CREDENTIAL_REPORT, report, meta)))
    snapshot = build_snapshot(results, owner_tags=POLICY.owner_tags)
    findings = evaluate(snapshot, POLICY, AS_OF)
    failing = tally(findings, snapshot).keys.get(Outcome.NON_COMPLIANT, 0)
    return Cost(len(snapshot.users), len(snapshot.keys), len(findings), failing)


def measured(users: int, account_size: int) -> Cost:
    """The cost of all batches together."""
    total = Cost()
    for batch in batches(users, account_size):
        wall, cpu = time.perf_counter(), time.process_time()
        cost = judge(batch)
        total = Cost(
            total.users + cost.users,
            total.keys + cost.keys,
            total.verdicts + cost.verdicts,
            total.non_compliant + cost.non_compliant,
            total.wall + time.perf_counter() - wall,
            total.cpu + time.process_time() - cpu,
        )
    return total


def profiled(account_size: int, lines: int = 25) -> str:
    """The functions in which one batch spends its time."""
    batch = next(batches(BATCH, account_size))
    profiler = cProfile.Profile()
    profiler.runcall(judge, batch)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(lines)
    return text.getvalue()


def main() -> None:
    """Measure, print, and show where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=int, default=1_000_000, help="users in all (default: %(default)s)")
    parser.add_argument("--account-size", type=int, default=1_000, help="users of an account (default: %(default)s)")
    arguments = parser.parse_args()
    judge(next(batches(1, 1)))  # imports and caches are not the batch's
    cost = measured(arguments.users, arguments.account_size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{cost.users} users in accounts of {arguments.account_size}: {cost.keys} keys, {cost.verdicts} verdicts,")
    print(f"{cost.non_compliant} keys fail")
    print(f"wall {cost.wall:.1f} s, CPU {cost.cpu:.1f} s, peak memory {peak:.0f} MiB")
    print(profiled(arguments.account_size))


if __name__ == "__main__":
    main()
