"""The CloudFormation templates, resolved as CloudFormation would and tried on the embedded cloud."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients
from auditor.aws.failures import AwsFailure
from auditor.aws.loop import run
from auditor.aws.permissions import ReadRole, caller_template, read_policy, role_template
from auditor.demo import AccountSeed, OrganisationSeed
from tests.conftest import StartCloud, VirtualTime, connect

MAIN = "111111111111"


ABSENT = object()
"""What CloudFormation makes of AWS::NoValue: the property is not there."""


class Stack:
    """A template with its parameters, as far as the intrinsic functions go that the templates use."""

    def __init__(self, template: Mapping[str, Any], given: Mapping[str, str]) -> None:
        """Raises KeyError where a parameter is neither given nor has a default."""
        declared = template.get("Parameters", {})
        self.values = {name: given[name] if name in given else declared[name]["Default"] for name in declared}
        self.values["AWS::NoValue"] = ABSENT
        self.conditions = template.get("Conditions", {})

    def resolve(self, node: Any) -> Any:
        """The node with every function carried out; KeyError for one that is not known here."""
        if isinstance(node, list):
            return [self.resolve(inner) for inner in node]
        if not isinstance(node, dict):
            return node
        for name, argument in node.items():
            if name == "Ref" or name.startswith("Fn::"):
                return self.carry_out(name, argument)
        resolved = {name: self.resolve(inner) for name, inner in node.items()}
        return {name: value for name, value in resolved.items() if value is not ABSENT}

    def carry_out(self, function: str, argument: Any) -> Any:
        """One intrinsic function."""
        functions: Mapping[str, Callable[[Any], Any]] = {
            "Ref": lambda name: self.values[name],
            "Fn::Sub": lambda text: re.sub(r"\$\{(\w+)\}", lambda found: str(self.values[found[1]]), text),
            "Fn::Equals": lambda pair: self.resolve(pair[0]) == self.resolve(pair[1]),
            "Fn::Not": lambda tests: not self.resolve(tests[0]),
            "Fn::If": lambda parts: self.resolve(parts[1 if self.resolve(self.conditions[parts[0]]) else 2]),
        }
        return functions[function](argument)


def resolved(template: Mapping[str, Any], **given: str) -> dict[str, Any]:
    """The properties of the template's one resource; KeyError as `Stack`."""
    (resource,) = template["Resources"].values()
    properties: dict[str, Any] = Stack(template, given).resolve(resource["Properties"])
    return properties


@pytest.mark.parametrize("external_id", ["agreed-upon", None])
def test_the_role_of_the_template_lets_the_auditor_in(
    start_cloud: StartCloud, virtual_time: VirtualTime, external_id: str | None
) -> None:
    """The trusted account enters with the external id that was set, and not without; the rest needs no parameter."""
    cloud = start_cloud(OrganisationSeed((AccountSeed(MAIN, role=None),)))
    clients = Clients(connect(cloud))
    caller = Caller(clients, clients.ambient(), "aws", virtual_time.timing)
    role = resolved(role_template(ReadRole("audit/reader", "aws", MAIN, external_id, session_seconds=7200)))
    trust = json.dumps(role["AssumeRolePolicyDocument"])
    run(
        caller.call(
            "iam",
            "create_role",
            **{name: role[name] for name in ("RoleName", "Path", "MaxSessionDuration")},
            AssumeRolePolicyDocument=trust,
        )
    )
    wanted = {"RoleArn": f"arn:aws:iam::{MAIN}:role/audit/reader", "RoleSessionName": "test"}
    proof = {"ExternalId": external_id} if external_id else {}
    run(caller.call("sts", "assume_role", **wanted, **proof, DurationSeconds=7200))
    if external_id:
        with pytest.raises(AwsFailure, match="AccessDenied"):
            run(caller.call("sts", "assume_role", **wanted))
    (policy,) = role["Policies"]
    assert policy["PolicyDocument"] == read_policy("aws")


def test_a_secret_external_id_is_asked_for_by_the_template() -> None:
    """Configured but not to be printed: no default, and an empty one is refused."""
    template = role_template(ReadRole("reader", "aws", MAIN, asks_external_id=True))
    assert template["Parameters"]["ExternalId"].get("Default") is None
    assert template["Parameters"]["ExternalId"]["MinLength"] == 2
    role = resolved(template, ExternalId="given")
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": "given"}}


def test_who_is_trusted_must_be_said() -> None:
    """Without the auditing account the template has no default for it: a stack cannot trust nobody in particular."""
    template = role_template(ReadRole("reader", "aws-cn", external_id="agreed-upon"))
    with pytest.raises(KeyError):
        resolved(template)
    (statement,) = resolved(template, AuditingAccount=MAIN)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"AWS": f"arn:aws-cn:iam::{MAIN}:root"}


def test_the_callers_policy_comes_as_a_managed_policy() -> None:
    """One that can be attached to whoever runs the audit; it holds the policy unchanged."""
    properties = resolved(caller_template(read_policy("aws")))
    assert properties["PolicyDocument"] == read_policy("aws")
