"""The company that the load endpoint serves: reports as AWS writes them, the same every time, flagged as told."""

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from auditor.credential_report import parse_credential_report
from auditor.model import Policy
from auditor.policy import users_to_look_up
from benchmarks.endpoint import Company, Settings
from benchmarks.endpoint.company import COLUMNS, PROFILES
from tests.builders import AS_OF

SHARES = (0, 0.01, 0.1, 1 / 3, 0.5, 1)


def company(**settings: Any) -> Company:
    """A company whose keys have their ages as of AS_OF."""
    return Company(replace(Settings(as_of=AS_OF), **settings))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("users", [0, 1, 100, PROFILES + 5])
def test_every_report_is_one_that_the_product_reads(share: float, users: int) -> None:
    """Of each account every user is in it, and the ARNs are the account's."""
    made = company(flagged=share, users=users, accounts=1000)
    for number in (1, 2, 77, 1000):
        account_id = made.account_id(number)
        report = parse_credential_report(made.report(number), origin=account_id, expected_account=account_id)
        assert report.root is not None
        assert [user.name for user in report.users if not user.is_root] == list(made.names)


def test_a_report_has_the_form_of_aws() -> None:
    """22 columns, LF, no newline at the end, times with Z, the root user first, users in order whatever their case."""
    text = company(users=30).report(2).decode("ascii")
    header, root, *users = text.split("\n")
    assert header == COLUMNS
    assert "\r" not in text
    assert all(row.count(",") == 21 for row in (header, root, *users))
    assert root.startswith("<root_account>,arn:aws:iam::100000000002:root,")
    assert len(re.findall(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)) == text.count("T")
    names = [row.partition(",")[0] for row in users]
    assert all(before.lower() < after.lower() for before, after in pairwise(names))
    assert names != sorted(names)


def test_a_report_is_the_same_every_time() -> None:
    """It follows from the account's number and the seed alone."""
    first, again, other = company(seed=7), company(seed=7), company(seed=8)
    assert first.report(3) == first.report(3) == again.report(3)
    rows = {made.report(number).partition(b"\n")[2] for made in (first, other) for number in (3, 4)}
    assert len(rows) == 4


@pytest.mark.parametrize("share", SHARES)
def test_the_share_of_flagged_users_is_kept(share: float) -> None:
    """From none to all, even over the accounts; those users and no others are the ones that the product looks up."""
    made = company(flagged=share, users=40, accounts=25)
    total = 0
    for number in range(1, 26):
        report = parse_credential_report(made.report(number), origin="made")
        chosen = users_to_look_up(report, Policy(), AS_OF)
        flagged = made.flagged_users(number)
        assert [made.names[index] for index in flagged] == list(chosen)
        assert abs(len(flagged) - 40 * share) < 1
        total += len(flagged)
    assert total == int(1000 * share + 1e-9)


def test_key_ids_lead_back_to_their_key() -> None:
    """Within the account they belong to; and all of them look like AWS's."""
    made = company(flagged=0.5, users=50)
    for index in range(50):
        for slot, key in enumerate(made.profile(2, index).keys):
            key_id = made.key_id(2, index, slot)
            assert re.fullmatch(r"AKIA[A-Z2-7]{16}", key_id)
            assert made.key_of(2, key_id) == (index, key)
            assert made.key_of(3, key_id) is None
    for stranger in ("", "AKIAIOSFODNN7EXAMPLE", made.key_id(2, 50, 0), made.key_id(2, 0, 9)):
        assert made.key_of(2, stranger) is None


@pytest.mark.parametrize(
    "wrong",
    [
        '{"accounts": 0}',
        '{"flagged": 1.1}',
        '{"unheard_of": 1}',
        '{"rules": [{"fault": "strange"}]}',
        '{"rules": [{"fault": "slow"}]}',
        '{"rules": [{"fault": "denied", "seconds": 1}]}',
        '{"rules": [{"fault": "denied", "accounts": "2/1"}]}',
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: str) -> None:
    """A misspelt setting would measure something else than was meant."""
    with pytest.raises((TypeError, ValueError)):
        Settings.from_json(wrong)
