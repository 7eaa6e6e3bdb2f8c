"""What it costs to bundle a run and to verify the bundle, commands as a user runs them; without AWS.

`python -m benchmarks.evidence` audits downloaded reports of 1,000 accounts of 1,000 users (about one key in ten fails),
then exports the run, signed, and verifies the bundle with everything that verifying does. Memory is the largest process
of each command; its phases tell where the time goes. `--accounts 100 1000` shows how both grow. With `--flagged 0.1` it
audits an endpoint on loopback, and one user in ten is looked up, so that the bundle has AWS's answers to that.
"""

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from auditor.evidence.keys import KeyKind, make_key
from benchmarks.cost import Cost, adopt_orphans, measured
from benchmarks.endpoint import Endpoint, Settings
from benchmarks.judge import AS_OF, reports
from benchmarks.organisation import audit

AUDITOR = (sys.executable, "-m", "auditor")

RATE = 1000
"""Calls a second in one account: how long AWS would have it take is not what is measured."""


def bundle_and_verify(folder: Path, accounts: int, users: int, flagged: float) -> None:
    """Make a run of so many accounts, its bundle, and check that; print what each cost."""
    make_key(folder / "key", KeyKind.ED25519)
    environment = {**os.environ, "HOME": str(folder)}
    output, bundles = str(folder / "reports"), str(folder / "evidence")
    if flagged:
        Path(output).mkdir(parents=True)
        as_of = datetime.now(UTC).replace(microsecond=0)
        with Endpoint(Settings(accounts, users, flagged, as_of=as_of)) as endpoint:
            cost = audit(endpoint, output, 0, RATE)
    else:
        downloads = folder / "downloads"
        downloads.mkdir(parents=True)
        for account_id, content in reports(accounts * users, users):
            (downloads / f"{account_id}.csv").write_bytes(content)
        given = ("--from-reports", str(downloads), "--as-of", AS_OF.isoformat(), "-f", "json", "-o", output, "--json")
        cost = measured((*AUDITOR, "audit", *given), environment)[0]
    tell(f"audit of {accounts:,} x {users:,}", cost)
    export = (
        "evidence",
        "export",
        "latest",
        "-o",
        output,
        "--bundles",
        bundles,
        "--sign",
        str(folder / "key"),
        "--json",
    )
    cost, printed = measured((*AUDITOR, *export), environment)
    made = json.loads(printed)
    tell("export", cost)
    sys.stdout.write(f"    {made['files']:,} files, {made['bytes'] / 2**20:,.0f} MiB\n")
    verify = ("evidence", "verify", made["bundle"], "--key", str(folder / "key.pub"), "--json")
    cost, printed = measured((*AUDITOR, *verify), environment)
    tell("verify", cost)
    found = json.loads(printed)
    assert found["holds"], found["problem"]
    sys.stdout.write(f"    {found['checks'][-1]['told']}\n")


def tell(what: str, cost: Cost) -> None:
    """A command's cost on one line, its phases below."""
    sys.stdout.write(f"{what}: {cost.wall:.1f} s wall, {cost.cpu:.1f} s CPU, {cost.peak:,.0f} MiB\n")
    begun = list(cost.phases.items())
    for (name, at), (_, until) in zip(begun, [*begun[1:], ("", cost.wall)], strict=True):
        sys.stdout.write(f"    {name:30} {until - at:6.1f} s\n")
    sys.stdout.flush()


def main() -> None:
    """Every size in turn, the smallest first, since memory is that of the largest process so far."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, nargs="+", default=[1000])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--flagged", type=float, default=0.0, help="share of users that are looked up live")
    given = parser.parse_args()
    adopt_orphans()
    for accounts in sorted(given.accounts):
        with tempfile.TemporaryDirectory(prefix="auditor-benchmark-") as folder:
            bundle_and_verify(Path(folder), accounts, given.users, given.flagged)


if __name__ == "__main__":
    main()
