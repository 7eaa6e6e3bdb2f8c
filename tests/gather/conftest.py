"""An organisation of many accounts on a load endpoint, and how a run over all of them ends."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor.answers import REQUESTS
from auditor.aws.clients import Connection, StaticCredentials
from auditor.gather import GatherSettings, gather_accounts
from auditor.history import RunWriter, done_accounts, read_result
from auditor.model import Account, AccountResult, Gathered, Policy
from benchmarks.endpoint import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY, Company, Endpoint, Settings
from tests.builders import AS_OF, TERMS
from tests.conftest import NoProgress

ACCOUNTS = 24


@pytest.fixture(scope="module")
def served() -> Iterator[Endpoint]:
    settings = Settings(accounts=ACCOUNTS, users=8, flagged=0.25, as_of=AS_OF, report_seconds=0.2)
    with Endpoint(settings) as running:
        yield running


@pytest.fixture
def endpoint(served: Endpoint) -> Endpoint:
    served.set_rules([])
    served.reset()
    return served


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    return RunWriter(tmp_path, AS_OF, TERMS)


def results_in(folder: Path) -> list[AccountResult]:
    """What is kept of every account that is done, by account id."""
    return [read_result(folder, account_id) for account_id, _ in done_accounts(folder)]


def accounts_of(endpoint: Endpoint) -> tuple[Account, ...]:
    """Every account of the endpoint's organisation, entered by a role."""
    company = Company(endpoint.settings)
    return tuple(
        Account(company.account_id(number), role_name="auditor") for number in range(1, endpoint.settings.accounts + 1)
    )


def settings_of(endpoint: Endpoint, writer: RunWriter, **options: object) -> GatherSettings:
    """Settings for the endpoint, quick enough for a test."""
    credentials = StaticCredentials(CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY)
    connection = Connection(endpoint_url=endpoint.url, isolated=credentials, read_timeout=1.0)
    quick = {"calls_in_flight": 16, "account_calls_per_second": 1000.0, "report_wait_seconds": 20.0, "attempts": 4}
    return GatherSettings(connection, Policy(), AS_OF, writer.answers, **(quick | options))  # type: ignore[arg-type]


def gather(endpoint: Endpoint, writer: RunWriter, **options: object) -> dict[str, Gathered]:
    """Audit all of the endpoint's accounts; each is handed on once, and kept as it was handed on."""
    accounts = accounts_of(endpoint)
    receipts = list(gather_accounts(accounts, settings_of(endpoint, writer, **options), NoProgress()))
    found = {receipt.account.id: receipt for receipt in receipts}
    assert sorted(found) == sorted(account.id for account in accounts)
    assert len(receipts) == len(accounts)
    kept = {result.account.id: result.spent for result in results_in(writer.folder)}
    assert kept == {account_id: receipt.spent for account_id, receipt in found.items()}
    for account_id, spent in kept.items():
        assert requests_of(writer.folder, account_id) == spent.calls
    return found


def requests_of(folder: Path, account_id: str) -> Counter[str]:
    """How many requests of each operation have a line in an account's file; none where nobody knows of any."""
    path = folder / "raw" / account_id / REQUESTS
    lines = path.read_text().splitlines() if path.exists() else ()
    return Counter(json.loads(line)["operation"] for line in lines)


def ends(receipts: dict[str, Gathered]) -> Counter[str]:
    """How many accounts ended how."""
    return Counter(
        receipt.not_audited.code.value if receipt.not_audited else "audited" for receipt in receipts.values()
    )


def gathering_process(children: Path) -> int:
    """One of the processes that gather: a child of the fork server, which is a child of this one."""
    for child in children.read_text().split():
        below = Path(f"/proc/{child}/task/{child}/children").read_text().split()
        if below:
            return int(below[0])
    raise AssertionError("no process gathers")
