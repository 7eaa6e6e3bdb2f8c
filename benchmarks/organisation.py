"""Auditing an organisation: wall, CPU, peak memory and calls, beside what a session for every account costs.

    python -m benchmarks.organisation --accounts 1000 --latency 0.05

The endpoint is a process of its own on loopback; its CPU is not counted. The naive way is what most scripts do: a boto3
session and clients for each account, one account after the other.
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import boto3

from benchmarks.endpoint import Company, Endpoint, Settings

ROLE = "auditor"


PR_SET_CHILD_SUBREAPER = 36
"""Linux: processes whose parent has ended become this process's children (prctl(2))."""

ORPHANS_END_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall and CPU, and the largest process in MiB."""

    wall: float
    cpu: float
    peak: float


def measured(command: Sequence[str], environment: Mapping[str, str]) -> tuple[Cost, bytes]:
    """What a command cost with every process below it, and what it printed.

    Its fork server is nobody's child when it ends, and takes the CPU of the processes that it forked with it: as the
    subreaper, this process waits for it, and the system adds up.
    """
    before, began = _used(), time.monotonic()
    done = subprocess.run(command, env=dict(environment), stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own
    wall = time.monotonic() - began
    deadline = time.monotonic() + ORPHANS_END_SECONDS
    while _has_orphans() and time.monotonic() < deadline:
        time.sleep(0.05)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, _used() - before, usage.ru_maxrss / 1024), done.stdout


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _has_orphans() -> bool:
    """Take leave of orphans that have ended; whether any but the endpoint are left."""
    own = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    for child in own.read_text().split():
        if b"benchmarks.endpoint" not in Path(f"/proc/{child}/cmdline").read_bytes():
            os.waitpid(int(child), os.WNOHANG)
    return len(own.read_text().split()) > 1


def audit(endpoint: Endpoint, folder: str, processes: int) -> Cost:
    """`auditor audit` of the whole organisation, as a user runs it, without the laid-out reports."""
    config = Path(folder, "config.toml")
    config.write_text(f"[gather]\nprocesses = {processes}\n")
    command = [sys.executable, "-m", "auditor", "audit", "--role-name", ROLE, "-f", "csv", "-o", folder, "-q", "--json"]
    cost, printed = measured([*command, "--config", str(config)], os.environ | endpoint.environment)
    coverage = json.loads(printed)["coverage"]
    assert coverage["accounts_audited"] == endpoint.settings.accounts, coverage
    return cost


def naive(endpoint: Endpoint, accounts: int) -> Cost:
    """A session and clients for each account, in a process of its own, as a script has it."""
    command = [sys.executable, "-m", "benchmarks.organisation", "--only-naive", str(accounts)]
    return measured(command, os.environ | endpoint.environment)[0]


def audit_naively(accounts: int) -> None:
    """Assume the role, ask for the report, fetch it: one account after the other."""
    company = Company(Settings(accounts))
    for number in range(1, accounts + 1):
        caller = boto3.Session().client("sts")
        arn = f"arn:aws:iam::{company.account_id(number)}:role/{ROLE}"
        given = caller.assume_role(RoleArn=arn, RoleSessionName="naive")["Credentials"]
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        iam = session.client("iam")
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
    parser.add_argument("--only-naive", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_naive:
        audit_naively(given.only_naive)
        return
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    as_of = datetime.now(UTC).replace(microsecond=0)
    settings = Settings(given.accounts, given.users, given.flagged, as_of=as_of, latency=given.latency)
    print(f"{given.accounts} accounts of {given.users} users, {given.latency * 1000:g} ms latency")
    with Endpoint(settings) as endpoint, tempfile.TemporaryDirectory() as folder:
        cost = audit(endpoint, folder, given.processes)
        calls = endpoint.counts()["actions"]
        _say("auditor", cost, given.accounts, sum(calls.values()))
        print("  " + ", ".join(f"{name} {count}" for name, count in sorted(calls.items())))
        if given.naive:
            endpoint.reset()
            cost = naive(endpoint, given.naive)
            _say("a session each", cost, given.naive, endpoint.counts()["calls"])


def _say(name: str, cost: Cost, accounts: int, calls: int) -> None:
    each = f"{cost.cpu / accounts * 1000:.1f} ms CPU and {calls / accounts:.1f} calls an account"
    print(f"{name}: {cost.wall:.1f} s wall, {cost.cpu:.1f} s CPU, {cost.peak:.0f} MiB at most; {each}")


if __name__ == "__main__":
    main()
