"""`auditor iam-policy` as a user meets it."""

from pathlib import Path

import pytest

from auditor.aws.permissions import read_policy, remediation_policy
from tests.conftest import CommandLine


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_read_roles_policy_is_printed(cli: CommandLine, partition: str) -> None:
    """Nothing but the policy on stdout, ready for a file; in the partition asked for."""
    finished = cli.run("iam-policy", "--partition", partition)
    assert (finished.code, finished.err) == (0, "")
    assert finished.json == read_policy(partition)


def test_the_configuration_says_whom_the_caller_enters(cli: CommandLine) -> None:
    """The configured role is the one that the caller may assume."""
    (cli.folder / "config.toml").write_text('[accounts]\nsource = "organisation"\nrole_name = "audit/reader"\n')
    statements = cli.run("iam-policy", "--for", "caller").json["Statement"]
    assert statements[0]["Resource"] == "arn:aws:iam::*:role/audit/reader"
    template = cli.run("iam-policy", "--for", "caller", "--format", "cloudformation").json
    assert template["Resources"]["Auditor"]["Properties"]["PolicyDocument"]["Statement"] == statements


def test_a_template_never_shows_the_configured_external_id(cli: CommandLine) -> None:
    """External ids are kept out of all output, unless one is given to be printed."""
    (cli.folder / "config.toml").write_text('[accounts]\nexternal_id = "between-us"\n')
    arguments = ("iam-policy", "--format", "cloudformation", "--trust", "111122223333")
    finished = cli.run(*arguments)
    assert finished.json["Parameters"]["AuditingAccount"]["Default"] == "111122223333"
    assert "between-us" not in finished.out
    given = cli.run(*arguments, "--external-id", "to-be-shown", "--role-name", "reader")
    assert given.json["Parameters"]["ExternalId"]["Default"] == "to-be-shown"
    assert given.json["Parameters"]["RoleName"]["Default"] == "reader"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--trust", "12"), "12 digits"),
        (("--role-name", "reader"), "--format cloudformation"),
        (("--external-id", "abc"), "--format cloudformation"),
        (("--for", "caller", "--external-id", "abc"), "leave out --for caller"),
        (("--format", "cloudformation", "--external-id", "x"), "external id"),
        (("--format", "yaml"), "--format"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(
    cli: CommandLine, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """Exit 2, with the way to what was wanted."""
    assert not list(tmp_path.iterdir())
    finished = cli.run("iam-policy", *arguments)
    assert (finished.code, finished.out) == (2, "")
    assert said in " ".join(finished.err.split())


@pytest.mark.parametrize(
    ("store", "key", "actions", "resource"),
    [
        (
            "secretsmanager",
            "1234abcd-12ab",
            ["kms:Decrypt", "kms:GenerateDataKey"],
            "arn:aws:kms:*:*:key/1234abcd-12ab",
        ),
        ("ssm", "arn:aws:kms:eu-west-1:1:key/x", ["kms:Decrypt", "kms:Encrypt"], "arn:aws:kms:eu-west-1:1:key/x"),
        ("ssm", "alias/secrets", ["kms:Decrypt", "kms:Encrypt"], "arn:aws:kms:*:*:key/*"),
    ],
)
def test_secrets_under_a_key_of_ones_own_need_that_key(store: str, key: str, actions: list[str], resource: str) -> None:
    """As each store uses it; a policy cannot name an alias (KMS developer guide, IAM policies for KMS keys)."""
    policy = remediation_policy("aws", "rotate", store, "auditor/", key)
    (statement,) = (one for one in policy["Statement"] if one["Sid"] == "SealSecrets")
    assert (statement["Action"], statement["Resource"]) == (actions, resource)
