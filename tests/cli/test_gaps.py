"""What a run could not find out, as the terminal tells it: by reason, with the accounts it holds for."""

import re
from collections.abc import Iterator

import pytest

from benchmarks.endpoint import Endpoint, Fault, Rule, Settings
from tests.builders import AS_OF
from tests.conftest import CommandLine

ACCOUNTS = 24


@pytest.fixture(scope="module")
def served() -> Iterator[Endpoint]:
    with Endpoint(Settings(accounts=ACCOUNTS, users=12, flagged=0.25, as_of=AS_OF)) as running:
        yield running


def told(cli: CommandLine, served: Endpoint, *rules: Rule) -> str:
    """The summary of a run under these faults, in one line."""
    served.reset()
    served.set_rules(rules)
    cli.environment |= served.environment
    finished = cli.run("audit", "--role-name", "auditor", "--as-of", AS_OF.isoformat(), "--format", "csv")
    assert finished.code == 3, finished.err
    return " ".join(finished.out.split())


def test_accounts_that_failed_alike_are_told_once(cli: CommandLine, served: Endpoint) -> None:
    """A third of the organisation refuses the role: one reason, a few names, how many more, one next step."""
    found = told(cli, served, Rule(Fault.DENIED, "1/3", "AssumeRole"))
    assert found.count("The role could not be assumed") == found.count("Next:") == 1
    named = re.findall(r"account-\d{5} \(\d{12}\)", found.split("Not audited")[1].split("The role")[0])
    assert len(named) == 5
    assert f"and {ACCOUNTS // 3 - 5} more: " in found
    assert "arn:aws:iam::<account>:role/auditor" in found


def test_a_single_account_is_told_with_its_own_names(cli: CommandLine, served: Endpoint) -> None:
    """Its role's ARN can be copied."""
    found = told(cli, served, Rule(Fault.DENIED, (5,), "AssumeRole"))
    assert "arn:aws:iam::100000000005:role/auditor" in found


def test_a_refused_look_up_names_the_account_and_the_call(cli: CommandLine, served: Endpoint) -> None:
    """Every account was audited, and still the run is incomplete: why has to stand on the screen."""
    found = told(cli, served, Rule(Fault.DENIED, (3, 7), "ListAccessKeys"))
    assert "Not audited" not in found
    assert re.search(
        r"Not known account-00003 \(100000000003\), account-00007 \(100000000007\): \d+ verdicts are unknown\. "
        r"Not confirmed: the live look-up failed \(iam:ListAccessKeys: AccessDenied",
        found,
    )
    assert "Next: Allow iam:ListAccessKeys; `auditor iam-policy` prints the whole policy." in found
    assert re.search(r"The same command with `--resume \d{8}T\d{6}Z-\w{8}` asks for what is missing", found)


def test_owners_that_are_not_known_are_told(cli: CommandLine, served: Endpoint) -> None:
    """No verdict is unknown without them, and still somebody has to allow the call."""
    served.reset()
    served.set_rules([Rule(Fault.DENIED, "1/2", "ListUserTags")])
    cli.environment |= served.environment
    finished = cli.run("audit", "--role-name", "auditor", "--as-of", AS_OF.isoformat(), "--format", "csv")
    assert finished.code == 1, finished.err
    found = " ".join(finished.out.split())
    assert f"and {ACCOUNTS // 2 - 5} more: Owners and descriptions of users looked up are not known: " in found
    assert "not known: iam:ListUserTags: AccessDenied. Next: Allow iam:ListUserTags; " in found
    assert "--resume" not in found


def test_where_no_account_is_audited_the_commonest_reason_is_told(cli: CommandLine, served: Endpoint) -> None:
    """The first account's may be another; how many ended how stands beside it."""
    served.reset()
    others = tuple(range(2, ACCOUNTS + 1))
    served.set_rules([Rule(Fault.DENIED, (1,), "GenerateCredentialReport"), Rule(Fault.DENIED, others, "AssumeRole")])
    cli.environment |= served.environment
    finished = cli.run("audit", "--role-name", "auditor", "--as-of", AS_OF.isoformat(), "--format", "csv")
    assert finished.code == 4, finished.out
    found = " ".join(finished.err.split())
    assert "account 100000000002: The role could not be assumed." in found
    assert "None of 24 was audited: 23 role refused, 1 access denied." in found


def test_slow_accounts_are_told_with_what_can_be_done(cli: CommandLine, served: Endpoint) -> None:
    """By cause: what AWS throttled is not cured by more calls."""
    found = told(
        cli,
        served,
        Rule(Fault.DENIED, (3,), "ListAccessKeys"),  # exit 3
        Rule(Fault.THROTTLED, (6,), "GetCredentialReport", times=3),
        Rule(Fault.SLOW, (4, 6), "GenerateCredentialReport", seconds=11),
    )
    slowest = found.split("Slowest: ")[1]
    assert re.search(r"account-00006 \d\d s \(\d+ calls, 3 throttled, 3 tried again\) Throttled by AWS: ", slowest)
    assert re.search(r"account-00004 \d\d s \(\d+ calls\) Waited for AWS to make the report", slowest)


def test_no_key_id_stands_on_the_screen(cli: CommandLine) -> None:
    """The demonstration has keys that cannot be told apart: the reports name them, a screen is looked at by others."""
    finished = cli.run("demo", "--format", "csv")
    assert finished.code == 0, finished.err
    assert "Next: Replace one of the user's keys" in finished.out
    assert "--resume" not in finished.out, "there is no way to resume it"
    assert "cannot be told apart (<key>, <key>)" in " ".join(finished.out.split())
    assert not re.search(r"A[KS]IA[A-Z0-9]{12}", finished.out + finished.err)
