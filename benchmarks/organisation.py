"""Auditing an organisation: wall, CPU, peak memory and calls, beside what a session for every account costs.

    python -m benchmarks.organisation --accounts 1000 --latency 0.05

The endpoint is a process of its own on loopback; its CPU is not counted. The naive way is what most scripts do: a boto3
session and clients for each account, one account after the other.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3

from benchmarks.endpoint import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY, Company, Endpoint, Settings

ROLE = "auditor"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall and CPU, and the largest process in MiB."""

    wall: float
    cpu: float
    peak: float


def measured(work: Callable[[], object]) -> Cost:
    """What the work cost in processes that it started and waited for, or in this one."""
    before, began = _used(), time.monotonic()
    work()
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)) / 1024
    return Cost(time.monotonic() - began, _used() - before, peak)


def _used() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def audit(endpoint: Endpoint, folder: str, processes: int) -> None:
    """`auditor audit` of the whole organisation, as a user runs it, without the laid-out reports."""
    config = Path(folder, "config.toml")
    config.write_text(f"[gather]\nprocesses = {processes}\n")
    command = [sys.executable, "-m", "auditor", "audit", "--role-name", ROLE, "-f", "csv", "-o", folder, "-q", "--json"]
    environment = dict(os.environ) | endpoint.environment
    done = subprocess.run(  # noqa: S603 - this very program
        [*command, "--config", str(config)], env=environment, stdout=subprocess.PIPE, check=False
    )
    coverage = json.loads(done.stdout)["coverage"]
    assert coverage["accounts_audited"] == endpoint.settings.accounts, coverage


def naive(endpoint: Endpoint, accounts: int) -> None:
    """A session and clients for each account: assume the role, ask for the report, fetch it."""
    company = Company(endpoint.settings)
    options = {"endpoint_url": endpoint.url, "region_name": "us-east-1"}
    for number in range(1, accounts + 1):
        caller = boto3.Session(CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY).client("sts", **options)  # type: ignore[call-overload]
        arn = f"arn:aws:iam::{company.account_id(number)}:role/{ROLE}"
        given = caller.assume_role(RoleArn=arn, RoleSessionName="naive")["Credentials"]
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        iam = session.client("iam", **options)  # type: ignore[call-overload]
        while iam.generate_credential_report()["State"] != "COMPLETE":
            time.sleep(0.01)
        iam.get_credential_report()


def main() -> None:
    """Measure, and print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds for every answer")
    parser.add_argument("--flagged", type=float, default=0.0, help="share of users that are looked up live")
    parser.add_argument("--processes", type=int, default=0, help="0 is as many as auditor thinks fit")
    parser.add_argument("--naive", type=int, default=30, help="accounts for the naive way; 0 leaves it out")
    given = parser.parse_args()
    as_of = datetime.now(UTC).replace(microsecond=0)
    settings = Settings(given.accounts, given.users, given.flagged, as_of=as_of, latency=given.latency)
    print(f"{given.accounts} accounts of {given.users} users, {given.latency * 1000:g} ms latency")
    with Endpoint(settings) as endpoint, tempfile.TemporaryDirectory() as folder:
        cost = measured(lambda: audit(endpoint, folder, given.processes))
        calls = endpoint.counts()["actions"]
        _say("auditor", cost, given.accounts, sum(calls.values()))
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(calls.items())))
        if given.naive:
            endpoint.reset()
            cost = measured(lambda: naive(endpoint, given.naive))
            _say("a session each", cost, given.naive, endpoint.counts()["calls"])


def _say(name: str, cost: Cost, accounts: int, calls: int) -> None:
    each = f"{cost.cpu / accounts * 1000:.1f} ms CPU and {calls / accounts:.1f} calls an account"
    print(f"{name}: {cost.wall:.1f} s wall, {cost.cpu:.1f} s CPU, {cost.peak:.0f} MiB at most; {each}")


if __name__ == "__main__":
    main()
