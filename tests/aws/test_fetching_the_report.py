"""The credential report's life on AWS: every state and every error, by wire code, in virtual time."""

import pytest

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients
from auditor.aws.credential_report import FetchedReport, ReportRefusedError, fetch_credential_report
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.loop import run
from auditor.demo import (
    AccountSeed,
    Call,
    DropFault,
    EmbeddedOrganisation,
    ErrorFault,
    Fault,
    OrganisationSeed,
    RawFault,
    ReportSeed,
    UserSeed,
)
from tests.builders import AS_OF, ago
from tests.conftest import StartCloud, VirtualTime, connect

MAIN = "111111111111"
TEN_MINUTES = 600.0


def seed(**report: object) -> OrganisationSeed:
    """One account with a user; its report as the keywords say."""
    return OrganisationSeed((AccountSeed(MAIN, users=(UserSeed("ann"),), report=ReportSeed(**report)),))  # type: ignore[arg-type]


def caller_of(cloud: EmbeddedOrganisation, time: VirtualTime, attempts: int = 3) -> Caller:
    """A caller in the management account."""
    clients = Clients(connect(cloud))
    return Caller(clients, clients.ambient(), "aws", time.timing, attempts)


def fetch(caller: Caller) -> FetchedReport:
    """The report, waited for in virtual time."""
    return run(fetch_credential_report(caller, wait_seconds=TEN_MINUTES))


def failing(action: str, fault: Fault, times: int = 1_000) -> object:
    """Faults for the first calls of one action."""

    def answer(call: Call) -> Fault | None:
        return fault if call.action == action and call.number <= times else None

    return answer


def test_a_report_is_asked_for_waited_for_and_fetched(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """STARTED, then in progress, then the bytes, with AWS's time of making them."""
    cloud = start_cloud(seed(polls=2))
    caller = caller_of(cloud, virtual_time)
    report = fetch(caller)
    assert report.content.startswith(b"user,arn,")
    assert report.generated_at == AS_OF
    assert report.states == ("STARTED",)
    assert report.request_id
    assert caller.counts["iam:GenerateCredentialReport"] == 1
    assert len(virtual_time.slept) == caller.counts["iam:GetCredentialReport"] == 3


def test_a_report_that_is_there_costs_two_calls(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """COMPLETE at once: no waiting."""
    cloud = start_cloud(seed(generated_at=ago(seconds=3600)))
    caller = caller_of(cloud, virtual_time)
    report = fetch(caller)
    assert (report.states, report.generated_at) == (("COMPLETE",), ago(seconds=3600))
    assert sum(caller.counts.values()) == 2
    assert virtual_time.slept == []


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        ("GetCredentialReport", ErrorFault(410, "ReportNotPresent", "Unknown")),
        ("GetCredentialReport", ErrorFault(404, "ReportInProgress", "Unknown")),
        ("GetCredentialReport", ErrorFault(410, "ReportExpired", "Unknown")),
        ("GetCredentialReport", ErrorFault(400, "Throttling", "Rate exceeded")),
        ("GetCredentialReport", ErrorFault(500, "ServiceFailure", "Sorry")),
        ("GetCredentialReport", ErrorFault(503, "ServiceUnavailable", "Sorry")),
        ("GetCredentialReport", DropFault()),
        ("GenerateCredentialReport", ErrorFault(409, "LimitExceeded", "Later")),
        ("GenerateCredentialReport", ErrorFault(400, "Throttling", "Rate exceeded")),
        ("GenerateCredentialReport", ErrorFault(500, "ServiceFailure", "Sorry")),
        ("GenerateCredentialReport", DropFault()),
    ],
    ids=lambda value: value.code if isinstance(value, ErrorFault) else str(value),
)
def test_what_passes_is_waited_out(
    action: str, fault: Fault, start_cloud: StartCloud, virtual_time: VirtualTime
) -> None:
    """One such answer delays the report and changes nothing else."""
    cloud = start_cloud(seed(), fault=failing(action, fault, times=1))
    report = fetch(caller_of(cloud, virtual_time))
    assert b"\nann," in report.content
    assert virtual_time.slept


def test_an_expired_report_is_made_anew(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """ReportExpired sends us back to GenerateCredentialReport, not into a loop of fetching."""
    cloud = start_cloud(seed(), fault=failing("GetCredentialReport", ErrorFault(410, "ReportExpired"), times=1))
    caller = caller_of(cloud, virtual_time)
    fetch(caller)
    assert caller.counts["iam:GenerateCredentialReport"] == 2


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        ("GenerateCredentialReport", ErrorFault(409, "LimitExceeded", "Later")),
        ("GenerateCredentialReport", ErrorFault(400, "Throttling", "Rate exceeded")),
        ("GetCredentialReport", ErrorFault(404, "ReportInProgress", "Unknown")),
        ("GetCredentialReport", ErrorFault(410, "ReportExpired", "Unknown")),
    ],
    ids=lambda value: value.code if isinstance(value, ErrorFault) else str(value),
)
def test_patience_has_an_end(action: str, fault: Fault, start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """Where AWS goes on refusing, the report is given up within the time allowed, and never in a tight loop."""
    cloud = start_cloud(seed(), fault=failing(action, fault))
    caller = caller_of(cloud, virtual_time)
    with pytest.raises(ReportRefusedError, match=fault.code):  # type: ignore[union-attr]
        fetch(caller)
    assert TEN_MINUTES / 2 < sum(virtual_time.slept) <= TEN_MINUTES + 30
    assert sum(caller.counts.values()) < 150


def test_access_denied_is_not_waited_for(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """A missing permission is said by its name at the first look."""
    denied = ErrorFault(403, "AccessDenied", "User is not authorized to perform: iam:GetCredentialReport")
    cloud = start_cloud(seed(), fault=failing("GetCredentialReport", denied))
    with pytest.raises(AwsFailure, match="iam:GetCredentialReport") as caught:
        fetch(caller_of(cloud, virtual_time))
    assert caught.value.kind is Kind.DENIED
    assert len(virtual_time.slept) == 1


def test_without_the_right_to_generate_a_report_of_others_is_still_fetched(
    start_cloud: StartCloud, virtual_time: VirtualTime
) -> None:
    """One report serves everyone in the account; only where there is none is the missing permission fatal."""
    denied = failing("GenerateCredentialReport", ErrorFault(403, "AccessDeniedException", "an explicit deny"))
    there = start_cloud(seed(generated_at=ago(seconds=60)), fault=denied)
    assert fetch(caller_of(there, virtual_time)).states == ("DENIED",)
    there.stop()
    missing = start_cloud(seed(), fault=denied)
    told = r"iam:GenerateCredentialReport: AccessDeniedException \(an explicit deny; and nobody has had a report made"
    with pytest.raises(AwsFailure, match=told) as caught:
        fetch(caller_of(missing, virtual_time))
    assert caught.value.kind is Kind.DENIED
    assert caught.value.request_id


def test_an_answer_that_is_not_from_aws_is_a_failure(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """A proxy's HTML page is no report."""
    page = RawFault(b"<html><body>log in first</body></html>", content_type="text/html")
    cloud = start_cloud(seed(), fault=failing("GetCredentialReport", page))
    with pytest.raises(AwsFailure):
        fetch(caller_of(cloud, virtual_time))
