"""The policies against the calls really made: all of them are allowed, and nothing is allowed that is not called.

IAM itself is not there to ask. What is compared: every action that the embedded cloud was asked for over HTTP, with the
resource that AWS authorises it on (Service Authorization Reference), against the policy as moto's own evaluation of IAM
policies reads it. Conditions, service control policies and permission boundaries are not part of the comparison.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from moto.iam.access_control import IAMPolicy, PermissionResult

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients
from auditor.aws.loop import run
from auditor.aws.permissions import READING, read_policy
from auditor.config import AccountsConfig, AccountSource, parse_config
from auditor.demo import (
    AccountSeed,
    Call,
    EmbeddedOrganisation,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    RawFault,
    ReportSeed,
    UserSeed,
)
from auditor.gather import resolve_scope
from auditor.gather.access import policy_of_caller
from auditor.model import Account, OwnerRule, Policy, Scope
from tests.builders import AS_OF, ago
from tests.conftest import MemoryStore, VirtualTime, audited_account, connect, settings_for

MAIN, OTHER = "111111111111", "222222222222"
NEEDS_NO_PERMISSION = {"sts:GetCallerIdentity"}

ORGANISATION = AccountsConfig(source=AccountSource.ORGANISATION, role_name="access-key-auditor", root_sessions=True)


def account(account_id: str) -> AccountSeed:
    """One user below a path whose key is old and in quarantine, in a report that is an hour old."""
    ann = UserSeed(
        "ann",
        (KeySeed(created_at=ago(400)),),
        path="/team/x/",
        created_at=ago(500),
        tags={"owner": "pay"},
        quarantined_by=("AWSCompromisedKeyQuarantineV2",),
    )
    return AccountSeed(account_id, users=(ann,), report=ReportSeed(generated_at=ago(seconds=3600)))


SEED = OrganisationSeed((account(MAIN), account(OTHER)), has_central_root_access=True)


def report_without_root(call: Call) -> Fault | None:
    """A credential report that holds one user and no root row."""
    if call.action != "GetCredentialReport":
        return None
    header = (Path(__file__).parent.parent / "data" / "header.csv").read_text().strip()
    arn = f"arn:aws:iam::{call.account_id}:user/team/x/ann"
    row = ["ann", arn, f"{ago(500):%Y-%m-%dT%H:%M:%SZ}", *["false", *["N/A"] * 3, "false"]]
    row += ["false", *["N/A"] * 4] * 2 + ["false", "N/A"] * 2
    content = base64.b64encode("\n".join([header, ",".join(row[: header.count(",") + 1])]).encode()).decode()
    body = (
        '<GetCredentialReportResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><GetCredentialReportResult>'
        f"<Content>{content}</Content><ReportFormat>text/csv</ReportFormat>"
        f"<GeneratedTime>{AS_OF:%Y-%m-%dT%H:%M:%SZ}</GeneratedTime>"
        "</GetCredentialReportResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
        "</GetCredentialReportResponse>"
    )
    return RawFault(body.encode())


def no_report(call: Call) -> Fault | None:
    """AWS makes no report, for hours."""
    return ErrorFault(409, "LimitExceeded") if call.action == "GenerateCredentialReport" else None


def audit_everything(cloud: EmbeddedOrganisation, time: VirtualTime, *, root_sessions: bool) -> None:
    """The whole organisation: the caller's own account as the caller, the other through the role."""
    scope = resolve_scope(ORGANISATION, (), connect(cloud), time.timing)
    assert [found.id for found in scope.accounts] == [MAIN, OTHER]
    for found in scope.accounts:
        entered = Account(found.id, role_name=found.role_name, external_id=cloud.external_id)
        store = MemoryStore()
        options = {"root_sessions": root_sessions, "without_root_sessions": scope.without_root_sessions}
        audited_account(entered, settings_for(cloud, store, time, **options), store)


def rename_ann(cloud: EmbeddedOrganisation, time: VirtualTime) -> int:
    """Rename the user after the report was made; the number of calls that this, which no audit does, has taken."""
    clients = Clients(connect(cloud))
    run(
        Caller(clients, clients.ambient(), "aws", time.timing).call(
            "iam", "update_user", UserName="ann", NewUserName="bea"
        )
    )
    return len(cloud.call_log)


Asked = set[tuple[str, str]]
"""What an account was asked for: actions, each with the ARN that it is checked on."""

SCENARIOS: Mapping[str, tuple[Callable[[Call], Fault | None] | None, set[str]]] = {
    "plain": (None, set()),
    "renamed": (None, {"iam:ListUsers"}),
    "no root row": (report_without_root, {"iam:GetAccountSummary"}),
    "no report": (no_report, {"iam:ListUsers", "iam:GetAccountSummary"}),
}
"""What together provokes every call, and which of the rare ones each of them provokes."""


@pytest.fixture(scope="module")
def audits() -> Mapping[str, Mapping[str, Asked]]:
    """By scenario and account id, what was asked for while the whole organisation was audited."""
    found: dict[str, dict[str, Asked]] = {}
    for name, (fault, _) in SCENARIOS.items():
        with EmbeddedOrganisation(SEED, as_of=AS_OF, fault=fault) as cloud:
            time = VirtualTime()
            before = rename_ann(cloud, time) if name == "renamed" else 0
            audit_everything(cloud, time, root_sessions=name == "plain")
            asked: dict[str, Asked] = {MAIN: set(), OTHER: set()}
            for call in cloud.call_log[before:]:
                if call.is_root:  # allowed by the task policy of its session, which is AWS's
                    continue
                action = f"{call.service}:{call.action}"
                if action not in NEEDS_NO_PERMISSION:
                    asked[call.account_id].add((action, resource_of(call)))
        found[name] = asked
    return found


@pytest.fixture(scope="module")
def calls(audits: Mapping[str, Mapping[str, Asked]]) -> Mapping[str, Asked]:
    """All of it, by account id."""
    return {account_id: set().union(*(asked[account_id] for asked in audits.values())) for account_id in (MAIN, OTHER)}


def resource_of(call: Call) -> str:
    """The ARN that AWS checks the call on: of the role, root user, policy, user or key's owner; or none."""
    if "RoleArn" in call.params:
        return call.params["RoleArn"]
    if "TargetPrincipal" in call.params:
        return f"arn:aws:iam::{call.params['TargetPrincipal']}:root"
    if "PolicyArn" in call.params:
        return call.params["PolicyArn"]
    if call.params.get("AllUsers") == "true":
        return f"arn:aws:iam::{call.account_id}:user/*"
    if "UserName" in call.params or "AccessKeyId" in call.params:
        return f"arn:aws:iam::{call.account_id}:user/team/x/{call.params.get('UserName', 'ann')}"
    return "*"


def actions_of(policy: Mapping[str, Any]) -> list[str]:
    """Every action that a policy names."""
    return [action for statement in policy["Statement"] for action in statement["Action"]]


def policy_in(account_id: str) -> dict[str, Any]:
    """What allows the calls there: the role's policy, or the caller's in its own account."""
    return read_policy("aws") if account_id == OTHER else policy_of_caller(ORGANISATION, "aws", own=MAIN)


@pytest.mark.parametrize("account_id", [MAIN, OTHER])
def test_every_call_is_allowed_and_nothing_more(account_id: str, calls: Mapping[str, Asked]) -> None:
    """Each call made is permitted on its resource, and each action of the policy was called."""
    policy = policy_in(account_id)
    evaluated = IAMPolicy(json.dumps(policy))
    refused = [
        call for call in calls[account_id] if evaluated.is_action_permitted(*call) is not PermissionResult.PERMITTED
    ]
    assert refused == []
    assert sorted(actions_of(policy)) == sorted({action for action, _ in calls[account_id]})


@pytest.mark.parametrize("name", SCENARIOS)
def test_rare_calls_are_made_only_where_they_are_needed(name: str, audits: Mapping[str, Mapping[str, Asked]]) -> None:
    """Users are listed for want of a report or of a user, and the summary is read for want of a root row."""
    rare = {"iam:ListUsers", "iam:GetAccountSummary"} & {action for action, _ in audits[name][MAIN]}
    assert rare == SCENARIOS[name][1]


def test_a_policy_that_lacks_or_exceeds_something_is_found(calls: Mapping[str, Asked]) -> None:
    """The comparison bites: without an action, or with a narrower resource, a call is refused."""
    for permission in READING:
        policy = json.loads(json.dumps(read_policy("aws")).replace(f'"{permission.action}"', '"iam:GetUser"'))
        evaluated = IAMPolicy(json.dumps(policy))
        assert any(evaluated.is_action_permitted(*call) is not PermissionResult.PERMITTED for call in calls[OTHER])
    narrow = json.dumps(read_policy("aws")).replace("user/*", "user/ann")
    assert IAMPolicy(narrow).is_action_permitted("iam:ListAccessKeys", f"arn:aws:iam::{OTHER}:user/team/x/ann") is (
        PermissionResult.NEUTRAL
    )


def test_the_readme_shows_the_policy() -> None:
    """What README prints of the read role is what the command prints."""
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    (block,) = re.findall(r"```json\n(.+?)```", readme, re.DOTALL)
    assert json.loads(block) == read_policy("aws")


def configured(text: str) -> AccountsConfig:
    """The accounts of a configuration."""
    return parse_config(f"[accounts]\n{text}", origin="test").accounts


LISTED = """
source = "list"
role_name = "reader"
[[accounts.list]]
id = "111111111111"
[[accounts.list]]
id = "222222222222"
role_name = "audit/other"
"""


WITHOUT_MAIN = 'source = "organisation"\nrole_name = "reader"\nexclude = {ids = ["111111111111"]}'


@pytest.mark.parametrize(
    ("text", "own", "arns", "lists", "reads"),
    [
        ("", None, [], False, True),
        ('source = "organisation"\nrole_name = "reader"', None, ["reader"], True, True),
        (
            WITHOUT_MAIN,
            MAIN,
            ["reader"],
            True,
            False,
        ),
        (LISTED, None, ["audit/other", "reader"], False, False),
        (LISTED, MAIN, ["audit/other"], False, True),
        ('source = "list"\n[[accounts.list]]\nid = "111111111111"', None, [], False, True),
    ],
    ids=["caller", "organisation", "own account excluded", "list", "list with the own account", "list without roles"],
)
def test_the_caller_needs_what_its_scope_takes(
    text: str, own: str | None, arns: list[str], *, lists: bool, reads: bool
) -> None:
    """Roles to assume, the organisation's list only where it is asked for, and reading where no role is assumed."""
    statements = {found["Sid"]: found for found in policy_of_caller(configured(text), "aws-cn", own=own)["Statement"]}
    entered = statements.get("EnterAccounts", {"Resource": []})["Resource"]
    assert ([entered] if isinstance(entered, str) else entered) == [f"arn:aws-cn:iam::*:role/{name}" for name in arns]
    assert ("FindAccounts" in statements, "PerUser" in statements) == (lists, reads)


def test_the_root_user_is_entered_for_its_one_task_alone() -> None:
    """Every root user, but only to read what its credentials are; and nothing where it is not asked for."""
    statements = {found["Sid"]: found for found in policy_of_caller(ORGANISATION, "aws-us-gov", own=None)["Statement"]}
    assert statements["EnterAsRoot"] == {
        "Sid": "EnterAsRoot",
        "Effect": "Allow",
        "Action": ["sts:AssumeRoot"],
        "Resource": "arn:aws-us-gov:iam::*:root",
        "Condition": {
            "StringEquals": {
                "sts:TaskPolicyArn": "arn:aws-us-gov:iam::aws:policy/root-task/IAMAuditRootUserCredentials"
            }
        },
    }
    plain = configured('source = "organisation"\nrole_name = "reader"')
    assert "sts:AssumeRoot" not in actions_of(policy_of_caller(plain, "aws", own=None))


def test_units_that_the_policy_names_have_to_be_found() -> None:
    """The caller may walk the organisation's tree where a filter or the policy names a unit, and nowhere else."""
    plain = configured('source = "organisation"\nrole_name = "reader"')
    walking = {"organizations:ListRoots", "organizations:ListOrganizationalUnitsForParent"}
    assert not walking & set(actions_of(policy_of_caller(plain, "aws", own=None)))
    policy = Policy(owner_rules=(OwnerRule("payments", Scope(units=("/Workloads",))),))
    asked = policy_of_caller(plain, "aws", own=None, policy=policy)
    assert walking < set(actions_of(asked))
