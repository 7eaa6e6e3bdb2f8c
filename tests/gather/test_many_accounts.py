"""Many accounts at once, against an endpoint of any size: whatever goes wrong, every account has its one true end."""

import os
import signal
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from auditor.errors import OutputError
from auditor.gather import gather_accounts
from auditor.gather.account import REQUESTED
from auditor.gather.fan_out import gather_here
from auditor.history import RunWriter
from auditor.model import AccountFacts, Gathered, NotAuditedCode
from benchmarks.endpoint import Endpoint, Fault, Rule
from tests.conftest import NoProgress
from tests.gather.conftest import ACCOUNTS, accounts_of, ends, gather, gathering_process, results_in, settings_of


@pytest.mark.parametrize("processes", [1, 2])
def test_every_account_is_audited_once(endpoint: Endpoint, writer: RunWriter, processes: int) -> None:
    """With the calls that it takes, no more: what is counted here is what was counted there."""
    receipts = gather(endpoint, writer, processes=processes)
    assert ends(receipts) == {"audited": ACCOUNTS}
    counted = Counter[str]()
    for receipt in receipts.values():
        counted.update({name.split(":")[1]: count for name, count in receipt.spent.calls.items()})
    assert counted == endpoint.counts()["actions"]
    assert counted["AssumeRole"] == counted["GenerateCredentialReport"] == ACCOUNTS


def test_reports_are_asked_for_everywhere_before_they_are_collected(endpoint: Endpoint, writer: RunWriter) -> None:
    """Although one thread does all the work."""
    told: list[str] = []

    class Telling(NoProgress):
        def status(self, text: str) -> None:
            told.append(text)

        def advance(self, step: str = "") -> None:
            told.append(step)

    settings = settings_of(endpoint, writer, calls_in_flight=1, account_calls_in_flight=1, processes=1)
    list(gather_accounts(accounts_of(endpoint), settings, Telling()))
    first_done = next(place for place, text in enumerate(told) if "requested" not in text)
    assert told[first_done - 1].startswith(f"{ACCOUNTS} requested, 0 not audited")


def test_the_last_accounts_are_named_while_everybody_waits_for_them(endpoint: Endpoint, writer: RunWriter) -> None:
    """The slow one is the last; its id stands where the others' numbers stand."""
    slow = accounts_of(endpoint)[7].id
    endpoint.set_rules([Rule(Fault.SLOW, accounts=(8,), seconds=1.0)])
    standing: list[str] = []

    class Telling(NoProgress):
        def status(self, text: str) -> None:
            standing.append(text)

    list(gather_accounts(accounts_of(endpoint), settings_of(endpoint, writer), Telling()))
    assert standing[-2].endswith(f", waiting for {slow}")
    assert "waiting" not in standing[0] + standing[-1]


def test_calls_are_capped_in_all_and_in_each_account(endpoint: Endpoint, writer: RunWriter) -> None:
    """In flight, and by the second."""
    endpoint.set_rules([Rule(Fault.SLOW, seconds=0.02)])
    gather(endpoint, writer, calls_in_flight=12, account_calls_in_flight=2, account_calls_per_second=10.0)
    counts = endpoint.counts()
    assert counts["most_in_flight"] <= 12
    assert counts["most_in_flight_in_an_account"] <= 2
    assert counts["most_in_a_second_in_an_account"] <= 10


def test_after_the_stop_no_call_is_sent(endpoint: Endpoint, writer: RunWriter) -> None:
    """Not even one that was waiting for its turn already: calls in flight are finished, and that is all."""
    endpoint.set_rules([Rule(Fault.SLOW, seconds=0.3)])
    stop = threading.Event()
    sent = 0
    for message in gather_here(accounts_of(endpoint), settings_of(endpoint, writer, calls_in_flight=2), stop):
        if message == REQUESTED and not stop.is_set():
            stop.set()
            sent = endpoint.counts()["calls"]
    assert sent
    assert endpoint.counts()["calls"] <= sent + 2, "no more than were in flight, and had not arrived"


FAULTS: dict[str, tuple[Rule, NotAuditedCode]] = {
    "a refused role": (Rule(Fault.DENIED, "1/4", "AssumeRole"), NotAuditedCode.ROLE_REFUSED),
    "generate refused and nothing there": (
        Rule(Fault.DENIED, "1/4", "GenerateCredentialReport"),
        NotAuditedCode.ACCESS_DENIED,
    ),
    "get refused": (Rule(Fault.DENIED, "1/4", "GetCredentialReport"), NotAuditedCode.ACCESS_DENIED),
    "get throttled for ever": (Rule(Fault.THROTTLED, "1/4", "AssumeRole"), NotAuditedCode.THROTTLED),
    "get resets": (Rule(Fault.RESET, "1/4", "GetCredentialReport"), NotAuditedCode.UNREACHABLE),
    "half an answer": (Rule(Fault.HALF, "1/4", "GetCredentialReport"), NotAuditedCode.FAILED),
    "garbage": (Rule(Fault.GARBAGE, "1/4", "GetCredentialReport"), NotAuditedCode.FAILED),
    "failures for ever": (Rule(Fault.FAILURE, "1/4", "AssumeRole"), NotAuditedCode.FAILED),
    "too slow": (Rule(Fault.SLOW, "1/4", "GetCredentialReport", seconds=3), NotAuditedCode.UNREACHABLE),
}


@pytest.mark.parametrize("name", FAULTS)
def test_some_accounts_fail_and_the_others_do_not(endpoint: Endpoint, writer: RunWriter, name: str) -> None:
    """A quarter of the accounts, whatever the fault: they end with their true reason, all others are audited."""
    rule, code = FAULTS[name]
    endpoint.set_rules([rule])
    receipts = gather(endpoint, writer)
    assert ends(receipts) == {code.value: ACCOUNTS // 4, "audited": ACCOUNTS - ACCOUNTS // 4}
    for number, account in enumerate(accounts_of(endpoint), 1):
        missing = receipts[account.id].not_audited
        assert (missing is not None) is rule.concerns(number)
        assert missing is None or (missing.reason and missing.next_step)


@pytest.mark.parametrize(
    "rule",
    [Rule(fault, times=1) for fault in (Fault.THROTTLED, Fault.FAILURE, Fault.RESET, Fault.HALF)],
    ids=lambda rule: rule.fault.value,
)
def test_what_passes_costs_a_retry_and_nothing_else(endpoint: Endpoint, writer: RunWriter, rule: Rule) -> None:
    """The first call of each account fails; all are audited."""
    endpoint.set_rules([rule])
    receipts = gather(endpoint, writer)
    assert ends(receipts) == {"audited": ACCOUNTS}
    assert all(receipt.spent.retries == 1 for receipt in receipts.values())


@pytest.mark.parametrize("times", [1, 2])
def test_a_report_that_expires_between_the_calls_is_made_anew(
    endpoint: Endpoint, writer: RunWriter, times: int
) -> None:
    """It was there when it was asked for and is gone when it is fetched: asked for again, and nothing is lost."""
    endpoint.set_rules([Rule(Fault.EXPIRED, "1/4", "GetCredentialReport", times=times)])
    assert ends(gather(endpoint, writer)) == {"audited": ACCOUNTS}
    assert endpoint.counts()["actions"]["GenerateCredentialReport"] == ACCOUNTS + times * ACCOUNTS // 4


def test_reports_that_expire_for_ever_are_done_without(endpoint: Endpoint, writer: RunWriter) -> None:
    """After the time allowed users and keys are listed one by one; the account says so."""
    endpoint.set_rules([Rule(Fault.EXPIRED, "1/4", "GetCredentialReport")])
    assert ends(gather(endpoint, writer, report_wait_seconds=6.0)) == {"audited": ACCOUNTS}
    facts = {result.account.id: result.outcome for result in results_in(writer.folder)}
    listed = [outcome for outcome in facts.values() if isinstance(outcome, AccountFacts) and outcome.report is None]
    assert len(listed) == ACCOUNTS // 4
    assert all("ReportExpired" in outcome.notes[0] for outcome in listed)


def test_a_process_that_dies_is_begun_anew(endpoint: Endpoint, writer: RunWriter) -> None:
    """Killed in mid-run: what it had not done is done, and nothing is counted twice."""
    killed = threading.Event()
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    settings = settings_of(endpoint, writer, processes=2, calls_in_flight=2)
    receipts: list[Gathered] = []
    for receipt in gather_accounts(accounts_of(endpoint), settings, NoProgress()):
        receipts.append(receipt)
        if not killed.is_set():
            killed.set()
            os.kill(gathering_process(children), signal.SIGKILL)
    assert Counter(receipt.account.id for receipt in receipts) == {account.id: 1 for account in accounts_of(endpoint)}
    assert not any(receipt.not_audited for receipt in receipts)


def test_processes_that_keep_dying_leave_accounts_that_say_so(endpoint: Endpoint, writer: RunWriter) -> None:
    """Processes are killed as often as they begin: what they leave is not audited, with the signal."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    endpoint.set_rules([Rule(Fault.SLOW, action="GetCredentialReport", seconds=0.9)])
    done = threading.Event()

    def keep_killing() -> None:
        while not done.wait(0.02):
            if endpoint.counts()["actions"].get("GetCredentialReport"):
                endpoint.reset()
                with suppress(AssertionError, FileNotFoundError, ProcessLookupError):
                    os.kill(gathering_process(children), signal.SIGKILL)

    killer = threading.Thread(target=keep_killing)
    killer.start()
    settings = settings_of(endpoint, writer, processes=2, calls_in_flight=2)
    try:
        receipts = list(gather_accounts(accounts_of(endpoint), settings, NoProgress()))
    finally:
        done.set()
        killer.join()
    assert Counter(receipt.account.id for receipt in receipts) == {account.id: 1 for account in accounts_of(endpoint)}
    reasons = [receipt.not_audited.reason for receipt in receipts if receipt.not_audited]
    assert reasons
    assert all("signal 9" in reason for reason in reasons)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_that_fills_up_ends_the_run(endpoint: Endpoint, writer: RunWriter, processes: int) -> None:
    """It would hit every account: an error, and no process is left behind."""
    (writer.folder / "raw").rmdir()
    (writer.folder / "raw").write_text("not a folder")
    with pytest.raises(OutputError):
        list(gather_accounts(accounts_of(endpoint), settings_of(endpoint, writer, processes=processes), NoProgress()))
