"""The seed's own rules, and what the demonstration's company must show."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from auditor.demo import (
    AccountSeed,
    EmbeddedOrganisation,
    KeySeed,
    OrganisationSeed,
    UserSeed,
    demo_organisation,
)
from auditor.demo.seed import derived_key_id
from auditor.model import KeyStatus, UsedAt

AS_OF = datetime(2026, 6, 15, 9, 30, 20, 777, tzinfo=UTC)
DAY = timedelta(days=1)


def entered(seed: OrganisationSeed) -> Iterator[AccountSeed]:
    """The accounts that an audit gets into, as they stand at AS_OF."""
    for account in seed.accounts:
        if account.state == "ACTIVE" and account.role is not None and not account.role.refuses:
            yield account.with_key_ids().at(AS_OF)


def active_keys(seed: OrganisationSeed) -> list[KeySeed]:
    users = [user for account in entered(seed) for user in account.users]
    return [key for user in users for key in user.keys if key.status is KeyStatus.ACTIVE]


# ------------------------------------------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: UserSeed("josé"),
        lambda: UserSeed("a b"),
        lambda: UserSeed("x" * 65),
        lambda: UserSeed("alice", path="service"),
        lambda: KeySeed(access_key_id="AKIA123"),
        lambda: KeySeed(status=KeyStatus.DELETED),
        lambda: AccountSeed("12345678901"),
        lambda: AccountSeed(users=(UserSeed("Alice"), UserSeed("alice"))),
        lambda: OrganisationSeed((AccountSeed(), AccountSeed())),
        lambda: OrganisationSeed((AccountSeed(),), management_account_id="999999999999"),
        lambda: OrganisationSeed(()),
        lambda: OrganisationSeed(
            (AccountSeed(users=(UserSeed(keys=(KeySeed(access_key_id="AKIA" + "A" * 16),) * 2),)),)
        ),
    ],
)
def test_what_aws_could_not_hold_is_refused(mistake: Any) -> None:
    """Names, paths, ids and statuses that IAM would not take, and ids that occur twice, raise ValueError."""
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own message
        mistake()


def test_everything_has_a_default() -> None:
    """A seed without arguments is one account with no users, and a user's keys get ids of their own."""
    assert OrganisationSeed().management.users == ()
    account = AccountSeed(users=(UserSeed(keys=(KeySeed(), KeySeed())),))
    ids = account.key_ids("alice")
    assert ids == tuple(derived_key_id(account.id, "alice", position) for position in (0, 1))
    assert len(set(ids)) == 2


def test_a_key_is_followed_through_time() -> None:
    """A key is absent, active with its earlier use, inactive with its last use, and absent again."""
    used, earlier = UsedAt(AS_OF + 2 * DAY, "s3"), UsedAt(AS_OF, "sqs")
    key = KeySeed(
        AS_OF, last_used=used, earlier_use=earlier, deactivated_at=AS_OF + 3 * DAY, deleted_at=AS_OF + 4 * DAY
    )
    assert key.at(AS_OF - DAY) is None
    assert key.at(AS_OF + 4 * DAY) is None
    first, last = key.at(AS_OF), key.at(AS_OF + 3 * DAY)
    assert first is not None
    assert last is not None
    assert (first.status, first.last_used) == (KeyStatus.ACTIVE, earlier)
    assert (last.status, last.last_used) == (KeyStatus.INACTIVE, used)


# ------------------------------------------------------------------------------------------------- the company


@pytest.mark.parametrize("random_seed", [1, 2, 7, 99])
def test_most_keys_are_looked_after(random_seed: int) -> None:
    """Whatever the draw, 75 to 85 % of the active keys are at most 90 days old and used within 45 days."""
    keys = active_keys(demo_organisation(AS_OF, random_seed))
    used = [key.last_used.at if key.last_used else key.created_at for key in keys]
    good = [
        key for key, at in zip(keys, used, strict=True) if AS_OF - key.created_at <= 90 * DAY and AS_OF - at < 45 * DAY
    ]
    assert 0.75 <= len(good) / len(keys) <= 0.85
    assert len(keys) > 150


@pytest.mark.parametrize("random_seed", [1, 2, 7, 99])
def test_the_company_could_exist(random_seed: int) -> None:
    """Nothing is created before its owner, used before its creation, or done in the future; ids are unique."""
    seed = demo_organisation(AS_OF, random_seed)
    for account in seed.accounts:
        assert account.created_at <= AS_OF
        for user in account.users:
            assert account.created_at <= user.created_at <= AS_OF
            password = user.password
            assert password is None or user.created_at <= password.changed_at <= AS_OF
            for key in user.keys:
                assert user.created_at <= key.created_at <= AS_OF
                uses = [use for use in (key.earlier_use, key.last_used) if use is not None]
                assert [use.at for use in uses] == sorted(use.at for use in uses)
                assert all(key.created_at <= use.at <= AS_OF for use in uses)
    assert 6 <= len(seed.accounts) <= 10
    assert 270 <= sum(len(account.users) for account in seed.accounts) <= 330


def test_the_company_shows_every_kind_of_neglect() -> None:
    """Old keys in daily use, never-used and due ones, two active, twins, three keys, a root key, hostile names."""
    seed = demo_organisation(AS_OF)
    keys, users = active_keys(seed), [user for account in entered(seed) for user in account.users]
    ages = [AS_OF - key.created_at for key in keys]
    assert any(
        age > 90 * DAY and key.last_used and AS_OF - key.last_used.at < DAY for age, key in zip(ages, keys, strict=True)
    )
    assert any(age > 45 * DAY and key.last_used is None for age, key in zip(ages, keys, strict=True))
    assert sum(76 * DAY < age <= 90 * DAY for age in ages) >= 5
    assert any(key.status is KeyStatus.INACTIVE for user in users for key in user.keys)
    assert {len(user.keys) for user in users} == {0, 1, 2, 3}
    twins = [user for user in users if len(user.keys) == 2 and len({key.created_at for key in user.keys}) == 1]
    assert [user.name for user in twins] == ["svc-dbt-runner"]
    roots = {account.name: [key.status for key in account.root.keys] for account in entered(seed) if account.root.keys}
    assert sorted(status for statuses in roots.values() for status in statuses) == ["Active", "Inactive"]
    assert {"=cmd", "reporting,eu", "+alerts@larkfield.example"} <= {user.name for user in users}
    assert any(user.path.startswith("/service/") for user in users)
    assert any(account.id.startswith("0") for account in seed.accounts)
    owned = sum("owner" in user.tags for user in users)
    assert 0.4 < owned / len(users) < 0.9
    described = [
        user for account in entered(seed) for user in account.users if set(user.tags) & set(account.key_ids(user.name))
    ]
    assert len(described) > 20


def test_the_company_has_a_user_in_quarantine_whom_nothing_else_gives_away() -> None:
    """Its one key is young, active and in use, and the user has no password."""
    users = [user for account in entered(demo_organisation(AS_OF)) for user in account.users]
    (found,) = [user for user in users if user.quarantined_by]
    (key,) = found.keys
    assert found.password is None
    assert found.quarantined_by == ("AWSCompromisedKeyQuarantineV3",)
    assert key.last_used is not None
    assert AS_OF - key.created_at < 45 * DAY
    assert AS_OF - key.last_used.at < 2 * DAY
    assert key.status is KeyStatus.ACTIVE


def test_the_company_has_service_specific_credentials_in_every_state() -> None:
    """An old one that never ends, a young one, one that is over, one that was put away."""
    users = [user for account in entered(demo_organisation(AS_OF)) for user in account.users]
    found = sorted(
        (
            credential.service.split(".")[0],
            (AS_OF - credential.created_at).days,
            credential.status.value,
            credential.expires_at is not None and credential.expires_at <= AS_OF,
        )
        for user in users
        for credential in user.service_credentials
    )
    assert found == [
        ("bedrock", 150, "Active", True),
        ("bedrock", 200, "Active", False),
        ("codecommit", 20, "Active", False),
        ("codecommit", 420, "Inactive", False),
    ]


def test_the_company_is_served_as_it_was_told(aws: Any) -> None:
    """Eight accounts can be entered, one refuses, one is suspended, one has no users, one has an older report."""
    seed = demo_organisation(AS_OF)
    entered_names, refused, generated, rows = [], [], {}, {}
    with EmbeddedOrganisation(seed, as_of=AS_OF) as cloud:
        states = {
            entry["Name"]: entry["State"] for entry in aws.client("organizations", cloud).list_accounts()["Accounts"]
        }
        for account in seed.accounts:
            try:
                session = aws.assume(cloud, account.id)
            except ClientError as error:
                refused.append((account.name, error.response["Error"]["Code"]))
                continue
            entered_names.append(account.name)
            iam = aws.client("iam", cloud, session)
            while iam.generate_credential_report()["State"] != "COMPLETE":
                pass
            report = iam.get_credential_report()
            generated[account.name] = AS_OF - report["GeneratedTime"]
            rows[account.name] = report["Content"].decode().splitlines()[2:]
    assert len(entered_names) == 8
    assert refused == [
        ("larkfield-brightpost-acquired", "AccessDenied"),
        ("larkfield-retired-mobile-api", "AccessDenied"),
    ]
    assert [name for name, state in states.items() if state != "ACTIVE"] == ["larkfield-retired-mobile-api"]
    assert [name for name, lines in rows.items() if not lines] == ["larkfield-log-archive"]
    assert [name for name, age in generated.items() if age > DAY / 24] == ["larkfield-staging"]
    assert any(line.startswith("svc-access-key-auditor,") for line in rows["larkfield-management"])


def test_the_older_report_tells_of_keys_that_changed_since(aws: Any) -> None:
    """In staging the report still shows a key that was rotated, one that was deactivated and one that was deleted."""
    seed = demo_organisation(AS_OF)
    staging = next(account for account in seed.accounts if account.name.endswith("staging"))
    with EmbeddedOrganisation(seed, as_of=AS_OF) as cloud:
        rows = aws.rows(cloud, staging.id)
        iam = aws.iam(cloud, staging.id)
        names = ("svc-staging-loader", "ci-staging-deploy", "tom.ferrer")
        live = {name: iam.list_access_keys(UserName=name)["AccessKeyMetadata"] for name in names}
    assert [rows[name]["access_key_1_active"] for name in names] == ["true"] * 3
    assert [[key["Status"] for key in live[name]] for name in names] == [["Active"], ["Inactive"], []]
    shown = datetime.fromisoformat(rows["svc-staging-loader"]["access_key_1_last_rotated"])
    assert shown < live["svc-staging-loader"][0]["CreateDate"]


def test_the_same_seed_gives_the_same_bytes(aws: Any) -> None:
    """Same `as_of` and seed: the same company and byte-identical reports; another seed gives another company."""
    reports = []
    for _ in range(2):
        seed = demo_organisation(AS_OF)
        with EmbeddedOrganisation(seed, as_of=AS_OF) as cloud:
            reports.append([aws.report(cloud, account.id) for account in entered(seed)])
    assert reports[0] == reports[1]
    assert demo_organisation(AS_OF) == demo_organisation(AS_OF)
    first, other = demo_organisation(AS_OF), demo_organisation(AS_OF, 8)
    assert not {account.id for account in first.accounts} & {account.id for account in other.accounts}
