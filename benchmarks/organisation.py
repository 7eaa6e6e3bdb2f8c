"""Auditing organisations: wall, CPU, peak memory and calls, beside what scripts without this product's care cost.

    python -m benchmarks.organisation --accounts 1000 --latency 0.05
    python -m benchmarks.organisation --accounts 1000 10000 --naive 0
    python -m benchmarks.organisation --accounts 1 --users 5000 --flagged 1 --account-rate 200 --naive 0

The endpoint is a process of its own on loopback; its CPU is not counted. Two naive ways are measured on the same
endpoint, one account after the other: a boto3 session and clients for each account that fetch its report, and the same
asking for every user's keys and their last use one by one.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import boto3

from auditor.aws.clients import Connection, StaticCredentials
from auditor.gather import GatherSettings
from auditor.gather.fan_out import gather_here
from auditor.history import RunWriter
from auditor.model import Account, Policy
from benchmarks.cost import Cost, adopt_orphans, measured
from benchmarks.endpoint import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY, Company, Endpoint, Settings

ROLE = "auditor"
KEY_BY_KEY = 5
"""Accounts for the dearer of the naive ways."""
ALONE = 500
"""Accounts by which the gathering alone is measured."""


def audit(endpoint: Endpoint, folder: str, processes: int, account_rate: int) -> Cost:
    """`auditor audit` of the whole organisation, as a user runs it, without the laid-out reports."""
    config = Path(folder, "config.toml")
    config.write_text(f"[gather]\nprocesses = {processes}\naccount_calls_per_second = {account_rate}\n")
    command = [sys.executable, "-m", "auditor", "audit", "--role-name", ROLE, "-f", "csv", "-o", folder, "--json"]
    cost, printed = measured([*command, "--config", str(config)], os.environ | endpoint.environment)
    coverage = json.loads(printed)["coverage"]
    assert coverage["accounts_audited"] == endpoint.settings.accounts, coverage
    return cost


def naive(endpoint: Endpoint, accounts: int, *, key_by_key: bool) -> Cost:
    """A session and clients for each account, in a process of its own, as a script has it."""
    command = [sys.executable, "-m", "benchmarks.organisation", "--only-naive", str(accounts)]
    return measured([*command, *(["--key-by-key"] if key_by_key else [])], os.environ | endpoint.environment)[0]


def audit_naively(accounts: int, *, key_by_key: bool) -> None:
    """Assume the role, and fetch the report or ask for every key: one account after the other."""
    company = Company(Settings(accounts))
    for number in range(1, accounts + 1):
        caller = boto3.Session().client("sts")
        arn = f"arn:aws:iam::{company.account_id(number)}:role/{ROLE}"
        given = caller.assume_role(RoleArn=arn, RoleSessionName="naive")["Credentials"]
        session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        iam = session.client("iam")
        if key_by_key:
            for page in iam.get_paginator("list_users").paginate():
                for user in page["Users"]:
                    for key in iam.list_access_keys(UserName=user["UserName"])["AccessKeyMetadata"]:
                        iam.get_access_key_last_used(AccessKeyId=key["AccessKeyId"])
            continue
        while iam.generate_credential_report()["State"] != "COMPLETE":
            time.sleep(0.01)
        iam.get_credential_report()


def gather_alone(accounts: int, users: int, latency: float) -> float:
    """CPU seconds an account of entering, fetching, parsing and keeping, in one process that has started."""
    as_of = datetime.now(UTC).replace(microsecond=0)
    with Endpoint(Settings(accounts, users, flagged=0.0, as_of=as_of, latency=latency)) as endpoint:
        own = StaticCredentials(CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY)
        connection = Connection(endpoint_url=endpoint.url, isolated=own)
        company = Company(endpoint.settings)
        wanted = [Account(company.account_id(number), role_name=ROLE) for number in range(1, accounts + 1)]
        with tempfile.TemporaryDirectory() as output:
            writer = RunWriter(Path(output), as_of, "")
            settings = GatherSettings(connection, Policy(), as_of, writer.answers)
            list(gather_here(wanted[:1], settings, threading.Event()))  # what is loaded once is no account's
            began = time.process_time()
            list(gather_here(wanted[1:], settings, threading.Event()))
            spent = time.process_time() - began
            writer.close()
    return spent / (accounts - 1)


def main() -> None:
    """Measure, and print what each way cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1000], help="several are measured in their order")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds for every answer")
    parser.add_argument("--flagged", type=float, default=0.0, help="share of users that are looked up live")
    parser.add_argument("--account-rate", type=int, default=20, help="the most calls a second in one account")
    parser.add_argument("--processes", type=int, default=0, help="0 is as many as auditor thinks fit")
    parser.add_argument("--naive", type=int, default=30, help="accounts for the naive ways; 0 leaves them out")
    parser.add_argument("--only-naive", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--key-by-key", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only_naive:
        audit_naively(given.only_naive, key_by_key=given.key_by_key)
        return
    adopt_orphans()
    before: tuple[int, Cost] | None = None
    for accounts in given.accounts:
        as_of = datetime.now(UTC).replace(microsecond=0)
        settings = Settings(accounts, given.users, given.flagged, as_of=as_of, latency=given.latency)
        print(f"{accounts:,} accounts of {given.users:,} users, {given.latency * 1000:g} ms latency")
        with Endpoint(settings) as endpoint, tempfile.TemporaryDirectory() as folder:
            cost = audit(endpoint, folder, given.processes, given.account_rate)
            _say_audit(endpoint, cost, accounts, given.account_rate)
            if accounts > 1:
                alone = gather_alone(min(accounts, ALONE), given.users, given.latency)
                print(f"  gathering alone, in one process that has started: {alone * 1000:.1f} ms CPU an account")
            if before:
                _say_growth(before, (accounts, cost))
            before = accounts, cost
            for key_by_key in (False, True) if given.naive else ():
                endpoint.reset()
                some = min(given.naive, accounts, KEY_BY_KEY) if key_by_key else min(given.naive, accounts)
                cost = naive(endpoint, some, key_by_key=key_by_key)
                _say("naive, key by key" if key_by_key else "naive, a session each", cost, some, endpoint)


def _say_audit(endpoint: Endpoint, cost: Cost, accounts: int, account_rate: int) -> None:
    _say("auditor", cost, accounts, endpoint)
    ends = [*cost.phases.items(), ("", cost.wall)]
    print(
        "  "
        + ", ".join(f"{name.lower()} {after - at:.1f} s" for (name, at), (_, after) in pairwise(ends) if after > at)
    )
    counts = endpoint.counts()
    print("  " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts["actions"].items())))
    in_flight, in_a_second = counts["most_in_flight"], counts["most_in_a_second_in_an_account"]
    print(f"  at most {in_flight} calls in flight, and {in_a_second} in a second in one account (cap {account_rate})")


def _say(name: str, cost: Cost, accounts: int, endpoint: Endpoint) -> None:
    calls = endpoint.counts()["calls"]
    each = f"{cost.cpu / accounts * 1000:.1f} ms CPU and {calls / accounts:.1f} calls an account"
    print(f"{name}: {cost.wall:.1f} s wall, {cost.cpu:.1f} s CPU, {cost.peak:.0f} MiB at most; {each}")


def _say_growth(small: tuple[int, Cost], large: tuple[int, Cost]) -> None:
    (few, before), (many, after) = small, large
    further = (after.cpu - before.cpu) / (many - few) * 1000
    print(
        f"  {many / few:.1f} times the accounts: {after.wall / before.wall:.1f} times the wall, "
        f"{after.peak / before.peak:.2f} times the memory; {further:.1f} ms CPU for each further account"
    )


if __name__ == "__main__":
    main()
