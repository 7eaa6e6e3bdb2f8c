"""The checkup as a whole: each check's verdict, in order, and the exit code."""

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auditor.aws.clients import Connection, StaticCredentials
from auditor.aws.timing import Timing
from auditor.config import Values, load_config
from auditor.demo import (
    AccountSeed,
    Call,
    DropFault,
    EmbeddedOrganisation,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    RoleSeed,
    UserSeed,
)
from auditor.doctor import Check, Diagnosis, Health, clock, examine, output_folder
from auditor.errors import NothingAuditedError
from auditor.pipeline import AuditRequest, audit
from tests.builders import AS_OF, ago
from tests.conftest import NoProgress, StartCloud, connect

MAIN, OTHER, THIRD = "111111111111", "222222222222", "333333333333"
ANN = UserSeed("ann", (KeySeed(created_at=ago(400)),))
SUBJECTS = ["libraries", "output folder", "configuration", "endpoint", "clock", "credentials", "scope", "permissions"]


def organisation(role: RoleSeed | None = None, state: str = "ACTIVE") -> OrganisationSeed:
    """Three accounts with a user and a key each; the third is entered, and stands, as told."""
    third = AccountSeed(THIRD, "third", (ANN,), role=role or RoleSeed(), state=state)
    return OrganisationSeed((AccountSeed(MAIN, "main", (ANN,)), AccountSeed(OTHER, "other", (ANN,)), third))


def quickly() -> Timing:
    """The machine's own clock, by which the embedded cloud stamps its answers; waits are not waited for."""

    async def at_once(_: float) -> None:
        """Do not wait."""

    return Timing(sleep=at_once)


def diagnose(
    cloud: EmbeddedOrganisation, tmp_path: Path, *, connection: Connection | None = None, timing: Timing | None = None
) -> Diagnosis:
    """The checkup of the whole organisation."""
    accounts = {"source": "organisation", "role_name": cloud.role_name, "external_id": cloud.external_id}
    config = load_config(None, {"accounts": accounts, "output": {"folder": str(tmp_path / "runs")}})
    return examine(config, connection or connect(cloud), (), NoProgress(), timing=timing or quickly())


def problems(diagnosis: Diagnosis) -> list[Check]:
    """The checks that came out badly; each has a next step."""
    found = [check for check in diagnosis.checks if check.health is Health.PROBLEM]
    assert all(check.next_step for check in found)
    return found


def test_all_is_well(start_cloud: StartCloud, tmp_path: Path) -> None:
    """Every check in its order, one line for all accounts, exit 0; and nothing is left on the disk."""
    diagnosis = diagnose(start_cloud(organisation()), tmp_path)
    assert [check.subject for check in diagnosis.checks] == SUBJECTS
    assert {check.health for check in diagnosis.checks} == {Health.OK}
    assert diagnosis.checks[-1].found == "3 accounts: all permissions are there."
    assert diagnosis.exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_a_refused_role_is_named(start_cloud: StartCloud, tmp_path: Path) -> None:
    """The account, the role's ARN, what to check; the others are counted. Exit 3."""
    cloud = start_cloud(organisation(RoleSeed(refuses=True)))
    diagnosis = diagnose(cloud, tmp_path)
    (problem,) = problems(diagnosis)
    assert problem.account_id == THIRD
    assert f"arn:aws:iam::{THIRD}:role/{cloud.role_name}" in problem.next_step
    assert any(check.found.startswith("2 of 3 accounts:") for check in diagnosis.checks)
    assert diagnosis.exit_code == 3


@pytest.mark.parametrize("account_id", [MAIN, THIRD])
def test_refused_permissions_are_named_with_who_lacks_them(
    start_cloud: StartCloud, tmp_path: Path, account_id: str
) -> None:
    """All of one account in one line, with the ARN of the role, or of the caller in its own account."""
    lacking = ("GetAccountSummary", "ListUserTags")

    def refuse(call: Call) -> Fault | None:
        refused = call.account_id == account_id and call.action in lacking
        return ErrorFault(403, "AccessDenied", "not authorized") if refused else None

    cloud = start_cloud(organisation(), fault=refuse)
    diagnosis = diagnose(cloud, tmp_path)
    (problem,) = problems(diagnosis)
    assert (problem.account_id, problem.refused) == (account_id, ("iam:GetAccountSummary", "iam:ListUserTags"))
    who = ":user/auditor" if account_id == MAIN else f":role/{cloud.role_name}"
    assert f"arn:aws:iam::{account_id}{who}: iam:GetAccountSummary, iam:ListUserTags" in problem.found
    assert diagnosis.exit_code == 3


def test_an_account_that_is_not_active_is_a_problem(start_cloud: StartCloud, tmp_path: Path) -> None:
    """An audit is incomplete with it, until somebody decides to leave it out; nothing is tried in it."""
    cloud = start_cloud(organisation(state="SUSPENDED"))
    diagnosis = diagnose(cloud, tmp_path)
    (problem,) = problems(diagnosis)
    assert THIRD in problem.found
    assert "SUSPENDED" in problem.found
    assert diagnosis.exit_code == 3
    assert not any(THIRD in call.params.get("RoleArn", "") for call in cloud.call_log)


@pytest.mark.parametrize(
    ("fault", "subject"),
    [
        (("ListAccounts", ErrorFault(400, "AccessDeniedException", "no")), "scope"),
        (("GetCallerIdentity", ErrorFault(403, "InvalidClientTokenId", "invalid")), "credentials"),
        (("GetCallerIdentity", ErrorFault(403, "ExpiredToken", "expired")), "credentials"),
        (("GetCallerIdentity", DropFault()), "endpoint"),
        (("GenerateCredentialReport", DropFault()), f"account {MAIN} (main)"),
    ],
)
def test_where_nothing_can_be_checked_the_code_is_4(
    start_cloud: StartCloud, tmp_path: Path, fault: tuple[str, Fault], subject: str
) -> None:
    """No way in, no accounts, no IAM: the first problem says which."""
    action, answer = fault
    diagnosis = diagnose(
        start_cloud(organisation(), fault=lambda call: answer if call.action == action else None), tmp_path
    )
    assert diagnosis.exit_code == 4
    assert problems(diagnosis)[0].subject == subject


def test_a_single_account_that_does_not_answer_is_nothing_checked(start_cloud: StartCloud, tmp_path: Path) -> None:
    """There is no other account to be left out: one problem, exit 4."""
    seed = OrganisationSeed((AccountSeed(MAIN, "main", (ANN,)),))
    cloud = start_cloud(seed, fault=lambda call: DropFault() if call.action == "GetAccountSummary" else None)
    diagnosis = diagnose(cloud, tmp_path)
    assert [check.account_id for check in problems(diagnosis)] == [MAIN]
    assert diagnosis.exit_code == 4


def test_an_endpoint_that_nobody_listens_at(start_cloud: StartCloud, tmp_path: Path) -> None:
    """Its address is named, and neither clock nor credentials are spoken of."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        nowhere = Connection(endpoint_url=url, isolated=StaticCredentials("AKIAEXAMPLE", "secret"))
        diagnosis = diagnose(start_cloud(organisation()), tmp_path, connection=nowhere)
    assert url in diagnosis.checks[-1].found
    assert [check.subject for check in problems(diagnosis)] == ["endpoint"]
    assert [check.subject for check in diagnosis.checks] == SUBJECTS[:4]
    assert diagnosis.exit_code == 4


@pytest.mark.parametrize(
    ("seconds", "health"),
    [(0, "ok"), (59, "ok"), (-59, "ok"), (60, "warning"), (-300, "warning"), (300, "warning"), (301, "problem")],
)
def test_a_clock_is_judged_by_what_aws_takes(seconds: int, health: str) -> None:
    """Noted from a minute on; beyond five, signatures are refused. Ahead or behind is told."""
    found = clock(timedelta(seconds=seconds))
    assert found.health.value == health
    assert bool(found.next_step) == (health != "ok")
    if seconds and health != "ok":
        assert f"{abs(seconds)} seconds {'ahead of' if seconds > 0 else 'behind'}" in found.found


def test_a_time_that_is_not_told_is_not_a_good_clock() -> None:
    """An endpoint without a Date header: a warning, because nothing was compared."""
    assert clock(None).health is Health.WARNING


def off_by(**span: float) -> Timing:
    """A clock that is wrong by so much."""
    return replace(quickly(), now=lambda: datetime.now(UTC) + timedelta(**span))


def test_clock_skew_is_found_by_the_date_of_an_answer(start_cloud: StartCloud, tmp_path: Path) -> None:
    """The embedded cloud stamps its answers with the real time; a clock half an hour off is a problem."""
    diagnosis = diagnose(start_cloud(organisation()), tmp_path, timing=off_by(minutes=30))
    (problem,) = problems(diagnosis)
    assert problem.subject == "clock"
    assert "ahead of" in problem.found
    assert diagnosis.exit_code == 3


def test_a_refusal_tells_the_time_as_well(start_cloud: StartCloud, tmp_path: Path) -> None:
    """AWS refuses signatures of a wrong clock: then it is the clock that is to be set, not the credentials."""

    def refuse(call: Call) -> Fault | None:
        said = "Signature expired: 20261122T183000Z is now earlier than 20261122T185500Z"
        return ErrorFault(403, "SignatureDoesNotMatch", said) if call.action == "GetCallerIdentity" else None

    diagnosis = diagnose(start_cloud(organisation(), fault=refuse), tmp_path, timing=off_by(minutes=-30))
    assert [check.subject for check in problems(diagnosis)] == ["clock", "credentials"]
    assert "Set the clock first" in problems(diagnosis)[1].next_step
    assert diagnosis.exit_code == 4


def test_an_output_folder_that_takes_nothing_is_a_problem(tmp_path: Path) -> None:
    """A file in its place, or above it; a folder that is only not there yet is fine."""
    assert output_folder(tmp_path / "not" / "yet").health is Health.OK
    (tmp_path / "taken").write_text("a file")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        found = output_folder(folder)
        assert found.health is Health.PROBLEM
        assert "--output" in found.next_step


def test_where_no_account_can_be_entered_nothing_would_be_audited(start_cloud: StartCloud, tmp_path: Path) -> None:
    """The exit code is that of an audit with these settings."""

    def refuse(call: Call) -> Fault | None:
        return ErrorFault(403, "AccessDenied", "not authorized") if call.action == "AssumeRole" else None

    cloud = start_cloud(organisation(), fault=refuse)
    accounts = {"source": "organisation", "role_name": cloud.role_name, "exclude": {"ids": [MAIN]}}
    config = load_config(None, {"accounts": accounts, "output": {"folder": str(tmp_path / "runs")}})
    diagnosis = examine(config, connect(cloud), (), NoProgress(), timing=quickly())
    assert len(problems(diagnosis)) == 2
    assert diagnosis.exit_code == 4
    with pytest.raises(NothingAuditedError):
        audit(AuditRequest(config, connect(cloud), AS_OF, timing=quickly()), NoProgress())


@pytest.mark.parametrize("is_open", [True, False])
def test_root_sessions_that_are_refused_are_a_warning(
    start_cloud: StartCloud, tmp_path: Path, *, is_open: bool
) -> None:
    """In a line for all accounts, with what they take: an audit is complete without them, so the exit code is 0."""
    cloud = start_cloud(replace(organisation(), has_central_root_access=is_open))
    accounts = {"source": "organisation", "role_name": cloud.role_name, "external_id": cloud.external_id}
    given: Values = {"accounts": accounts | {"root_sessions": True}, "output": {"folder": str(tmp_path / "runs")}}
    diagnosis = examine(load_config(None, given), connect(cloud), (), NoProgress(), timing=quickly())
    found = [check for check in diagnosis.checks if check.subject == "root sessions"]
    assert [check.health for check in found] == ([] if is_open else [Health.WARNING])
    assert all("sts:AssumeRoot" in check.found and OTHER in check.found and check.next_step for check in found)
    assert diagnosis.exit_code == 0


def test_a_permission_that_no_control_needs_is_not_missed(start_cloud: StartCloud, tmp_path: Path) -> None:
    """One that is refused is a problem where its control is judged."""

    def refuse(call: Call) -> Fault | None:
        return ErrorFault(403, "AccessDenied", "no") if call.action == "ListPolicies" else None

    diagnosis = diagnose(start_cloud(organisation(), fault=refuse), tmp_path)
    assert {check.refused for check in problems(diagnosis)} == {("iam:ListPolicies",)}
    assert diagnosis.exit_code == 3
