"""The IAM reads over HTTP, and what later work writes through moto: derived from moto's state, as AWS would show it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from auditor.demo import (
    AccountSeed,
    EmbeddedOrganisation,
    KeySeed,
    OrganisationSeed,
    PasswordSeed,
    ServiceCredentialSeed,
    UserSeed,
)
from auditor.demo.seed import derived_key_id
from auditor.model import KeyStatus, UsedAt

AS_OF = datetime(2026, 6, 15, 9, 30, 20, tzinfo=UTC)
DAY = timedelta(days=1)
ACCOUNT, MEMBER = "111111111111", "222222222222"


def organisation(*users: UserSeed, clock: Any = None, page_size: int | None = None) -> EmbeddedOrganisation:
    seed = OrganisationSeed((AccountSeed(ACCOUNT, users=users), AccountSeed(MEMBER, "member")))
    return EmbeddedOrganisation(seed, as_of=AS_OF, clock=clock, page_size=page_size)


def test_users_come_in_pages_of_a_hundred(aws: Any) -> None:
    """ListUsers gives a hundred users and a Marker; following it gives each user once, by name ignoring case."""
    names = [f"{letter}-{number:02}" for letter in "bAc" for number in range(50)]
    with organisation(*map(UserSeed, names)) as cloud:
        iam = aws.iam(cloud)
        first = iam.list_users()
        second = iam.list_users(Marker=first["Marker"])
        sizes = [len(page["Users"]) for page in iam.get_paginator("list_users").paginate(PaginationConfig={})]
    assert (len(first["Users"]), first["IsTruncated"], len(second["Users"])) == (100, True, 50)
    assert (second["IsTruncated"], "Marker" in second, sizes) == (False, False, [100, 50])
    listed = [user["UserName"] for page in (first, second) for user in page["Users"]]
    assert listed == sorted(names, key=str.casefold)


def test_a_user_is_listed_with_its_facts_and_without_its_tags(aws: Any) -> None:
    """ListUsers shows path, id, ARN, whole-second CreateDate and password use, but no tags."""
    used = datetime(2026, 6, 1, 2, 3, 4, tzinfo=UTC)
    user = UserSeed("a.b@c+d=e", path="/team/payments/", tags={"owner": "x"}, password=PasswordSeed(last_used_at=used))
    with organisation(user) as cloud:
        (listed,) = aws.iam(cloud).list_users()["Users"]
    assert listed["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/team/payments/a.b@c+d=e"
    assert listed["CreateDate"] == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (listed["Path"], listed["PasswordLastUsed"]) == ("/team/payments/", used)
    assert (len(listed["UserId"]), listed["UserId"][:4], "Tags" in listed) == (21, "AIDA", False)


def test_users_are_chosen_by_path(aws: Any) -> None:
    """PathPrefix keeps the users below it."""
    with organisation(UserSeed("a", path="/service/"), UserSeed("b")) as cloud:
        users = aws.iam(cloud).list_users(PathPrefix="/service/")["Users"]
    assert [user["UserName"] for user in users] == ["a"]


@pytest.mark.parametrize("params", [{"MaxItems": 1001}, {"Marker": "not-a-marker"}])
def test_impossible_pages_are_refused(aws: Any, params: dict[str, Any]) -> None:
    """A MaxItems above 1000 and a Marker that was never given are ValidationErrors."""
    with organisation(UserSeed("a")) as cloud, pytest.raises(ClientError) as error:
        aws.iam(cloud).list_users(**params)
    assert aws.refusal(error) == (400, "ValidationError")


def test_access_keys_are_paged_and_in_whole_seconds(aws: Any) -> None:
    """ListAccessKeys honours MaxItems and Marker, the newest key first, CreateDate without microseconds."""
    first, second = (datetime(2026, 1, day, 1, 2, 3, 999, tzinfo=UTC) for day in (1, 2))
    with organisation(UserSeed("a", (KeySeed(first, status=KeyStatus.INACTIVE), KeySeed(second)))) as cloud:
        iam = aws.iam(cloud)
        page = iam.list_access_keys(UserName="a", MaxItems=1)
        rest = iam.list_access_keys(UserName="a", MaxItems=1, Marker=page["Marker"])
    assert (page["IsTruncated"], rest["IsTruncated"]) == (True, False)
    keys = [*page["AccessKeyMetadata"], *rest["AccessKeyMetadata"]]
    assert [key["CreateDate"] for key in keys] == [second.replace(microsecond=0), first.replace(microsecond=0)]
    assert [key["Status"] for key in keys] == ["Active", "Inactive"]


def test_pages_can_be_shorter_than_asked(aws: Any) -> None:
    """With `page_size` users, keys and tags come in short pages, as IAM may do at any time."""
    tags = {str(number): "x" for number in range(5)}
    users = [UserSeed("a", (KeySeed(), KeySeed(), KeySeed()), tags=tags), *map(UserSeed, "bcd")]
    with organisation(*users, page_size=2) as cloud:
        iam = aws.iam(cloud)
        assert [len(page["Users"]) for page in iam.get_paginator("list_users").paginate()] == [2, 2]
        keys = iam.get_paginator("list_access_keys").paginate(UserName="a")
        assert [len(page["AccessKeyMetadata"]) for page in keys] == [2, 1]
        assert [len(page["Tags"]) for page in iam.get_paginator("list_user_tags").paginate(UserName="a")] == [2, 2, 1]


def test_tags_hold_owner_and_key_description(aws: Any) -> None:
    """ListUserTags gives the tags, among them the console's key description under the access key id."""
    key_id = derived_key_id(ACCOUNT, "a", 0)
    with organisation(UserSeed("a", (KeySeed(),), tags={"owner": "ops & co <x>", key_id: "laptop"})) as cloud:
        tags = aws.iam(cloud).list_user_tags(UserName="a")["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"owner": "ops & co <x>", key_id: "laptop"}


@pytest.mark.parametrize("method", ["list_access_keys", "list_user_tags"])
def test_an_unknown_user_is_no_such_entity(aws: Any, method: str) -> None:
    """Asking for a user who does not exist is 404 NoSuchEntity."""
    with organisation() as cloud, pytest.raises(ClientError) as error:
        getattr(aws.iam(cloud), method)(UserName="nobody")
    assert aws.refusal(error) == (404, "NoSuchEntity")


def test_names_match_in_any_case(aws: Any) -> None:
    """IAM finds a user whatever the case of the name."""
    with organisation(UserSeed("Alice", (KeySeed(),))) as cloud:
        (key,) = aws.iam(cloud).list_access_keys(UserName="aLICE")["AccessKeyMetadata"]
    assert key["UserName"] == "Alice"


def test_a_session_must_name_the_user(aws: Any) -> None:
    """ListAccessKeys without UserName means the calling user, and is refused to a role's session."""
    with organisation(UserSeed("auditor", (KeySeed(),))) as cloud:
        (own,) = aws.iam(cloud).list_access_keys()["AccessKeyMetadata"]
        assert own["AccessKeyId"] == cloud.access_key_id
        with pytest.raises(ClientError) as error:
            aws.iam(cloud, MEMBER).list_access_keys()
    assert aws.refusal(error) == (400, "ValidationError")


def test_last_use_is_given_to_the_minute(aws: Any) -> None:
    """GetAccessKeyLastUsed gives owner, service, Region or N/A, and a whole minute."""
    used = UsedAt(datetime(2026, 6, 1, 10, 11, 12, tzinfo=UTC), "s3")
    with organisation(UserSeed("a", (KeySeed(last_used=used),))) as cloud:
        answer = aws.iam(cloud).get_access_key_last_used(AccessKeyId=derived_key_id(ACCOUNT, "a", 0))
    expected = {"LastUsedDate": datetime(2026, 6, 1, 10, 11, tzinfo=UTC), "ServiceName": "s3", "Region": "N/A"}
    assert (answer["UserName"], answer["AccessKeyLastUsed"]) == ("a", expected)


def test_never_used_has_no_date(aws: Any) -> None:
    """A key that was never used has N/A twice and no LastUsedDate."""
    with organisation(UserSeed("a", (KeySeed(),))) as cloud:
        answer = aws.iam(cloud).get_access_key_last_used(AccessKeyId=derived_key_id(ACCOUNT, "a", 0))
    assert answer["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}


def test_last_use_is_told_in_the_own_account_only(aws: Any) -> None:
    """Another account's key is AccessDenied, and one that nobody has is NoSuchEntity."""
    with organisation(UserSeed("a", (KeySeed(),))) as cloud:
        iam = aws.iam(cloud, MEMBER)
        with pytest.raises(ClientError) as other:
            iam.get_access_key_last_used(AccessKeyId=derived_key_id(ACCOUNT, "a", 0))
        with pytest.raises(ClientError) as unknown:
            iam.get_access_key_last_used(AccessKeyId="AKIAUNKNOWN222222222")
    assert aws.refusal(other) == (403, "AccessDenied")
    assert aws.refusal(unknown) == (404, "NoSuchEntity")


def test_the_audits_own_calls_are_no_use(aws: Any) -> None:
    """Whatever is called with a key, its last use stays as seeded, until the organisation is told of a use."""
    seeded = UsedAt(datetime(2026, 6, 1, 10, 0, tzinfo=UTC), "sts", "us-east-1")
    with organisation(UserSeed("auditor", (KeySeed(last_used=seeded),))) as cloud:
        iam = aws.iam(cloud)
        iam.get_account_summary()
        before = iam.get_access_key_last_used(AccessKeyId=cloud.access_key_id)["AccessKeyLastUsed"]
        cloud.record_use(cloud.access_key_id, UsedAt(AS_OF, "iam", "us-east-1"))
        after = iam.get_access_key_last_used(AccessKeyId=cloud.access_key_id)["AccessKeyLastUsed"]
    assert (before["LastUsedDate"], before["ServiceName"]) == (seeded.at, "sts")
    assert (after["LastUsedDate"], after["ServiceName"]) == (AS_OF.replace(second=0), "iam")


def test_recording_the_use_of_an_unknown_key_fails() -> None:
    """`record_use` of a key that no account has raises KeyError."""
    with organisation() as cloud, pytest.raises(KeyError):
        cloud.record_use("AKIAUNKNOWN222222222", UsedAt(AS_OF))


# ------------------------------------------------------------------------------------------------- writes


@pytest.mark.parametrize(("status", "code"), [("Expired", "InvalidInput"), ("Bogus", "ValidationError")])
def test_a_key_takes_no_other_status(aws: Any, status: str, code: str) -> None:
    """UpdateAccessKey refuses `Expired` and unknown words and leaves the key as it was."""
    key_id = derived_key_id(ACCOUNT, "a", 0)
    with organisation(UserSeed("a", (KeySeed(),))) as cloud:
        iam = aws.iam(cloud)
        with pytest.raises(ClientError) as error:
            iam.update_access_key(UserName="a", AccessKeyId=key_id, Status=status)
        (key,) = iam.list_access_keys(UserName="a")["AccessKeyMetadata"]
    assert aws.refusal(error) == (400, code)
    assert key["Status"] == "Active"


def test_lists_and_reports_follow_what_is_written(aws: Any, clock: Any) -> None:
    """Keys created, deactivated and deleted through the API show in ListAccessKeys and in the next report."""
    key_ids = [derived_key_id(ACCOUNT, name, 0) for name in ("deleted", "deactivated")]
    users = [UserSeed(name, (KeySeed(),)) for name in ("deleted", "deactivated")]
    with organisation(*users, UserSeed("renewed"), clock=clock) as cloud:
        iam = aws.iam(cloud)
        iam.delete_access_key(UserName="deleted", AccessKeyId=key_ids[0])
        iam.update_access_key(UserName="deactivated", AccessKeyId=key_ids[1], Status="Inactive")
        created = iam.create_access_key(UserName="renewed")["AccessKey"]
        (listed,) = iam.list_access_keys(UserName="renewed")["AccessKeyMetadata"]
        rows = aws.rows(cloud)
        assert iam.list_access_keys(UserName="deleted")["AccessKeyMetadata"] == []
    assert created["CreateDate"] == listed["CreateDate"] == clock().replace(microsecond=0)
    assert created["AccessKeyId"] == listed["AccessKeyId"]
    shown = {name: (row["access_key_1_active"], row["access_key_1_last_rotated"]) for name, row in rows.items()}
    assert shown["deleted"] == ("false", "N/A")
    assert shown["deactivated"] == ("false", "2020-01-02T03:04:05Z")
    assert shown["renewed"] == ("true", "2026-06-15T09:30:20Z")


def test_a_third_key_is_refused(aws: Any) -> None:
    """CreateAccessKey for a user with two keys is 409 LimitExceeded, inactive ones counting."""
    keys = (KeySeed(), KeySeed(status=KeyStatus.INACTIVE))
    with organisation(UserSeed("a", keys)) as cloud, pytest.raises(ClientError) as error:
        aws.iam(cloud).create_access_key(UserName="a")
    assert aws.refusal(error) == (409, "LimitExceeded")


def test_a_user_with_keys_is_not_deleted(aws: Any) -> None:
    """DeleteUser of a user who still has a key is 409 DeleteConflict; without keys the user is gone."""
    with organisation(UserSeed("a", (KeySeed(),)), UserSeed("b")) as cloud:
        iam = aws.iam(cloud)
        with pytest.raises(ClientError) as error:
            iam.delete_user(UserName="a")
        iam.delete_user(UserName="b")
        assert [user["UserName"] for user in iam.list_users()["Users"]] == ["a"]
    assert aws.refusal(error) == (409, "DeleteConflict")


def test_a_new_user_is_stamped_with_the_organisations_time(aws: Any, clock: Any) -> None:
    """CreateUser's answer and ListUsers show the organisation's time."""
    with organisation(clock=clock) as cloud:
        created = aws.iam(cloud).create_user(UserName="new")["User"]
        (listed,) = aws.iam(cloud).list_users()["Users"]
    assert created["CreateDate"] == listed["CreateDate"] == clock()


def test_moto_answers_everything_else(aws: Any) -> None:
    """Secrets Manager and other IAM calls go to moto, in the account of the session that calls."""
    with organisation(UserSeed("a")) as cloud:
        member = aws.assume(cloud, MEMBER)
        secrets = aws.client("secretsmanager", cloud, member)
        arn = secrets.create_secret(Name="keys/a", SecretString="s")["ARN"]
        assert secrets.get_secret_value(SecretId="keys/a")["SecretString"] == "s"
        with pytest.raises(ClientError) as error:
            aws.client("secretsmanager", cloud).get_secret_value(SecretId="keys/a")
        assert aws.iam(cloud).get_user(UserName="a")["User"]["UserName"] == "a"
    assert f":{MEMBER}:secret:" in arn
    assert error.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_call_that_nobody_implements_is_an_invalid_action(aws: Any) -> None:
    """What neither we nor moto know is 400 InvalidAction, and no crash."""
    with organisation() as cloud, pytest.raises(ClientError) as error:
        aws.iam(cloud).list_organizations_features()
    assert aws.refusal(error) == (400, "InvalidAction")


# ------------------------------------------------------------------------------------------------- quarantine


V3 = "AWSCompromisedKeyQuarantineV3"


@pytest.mark.parametrize("page_size", [None, 1])
def test_attached_policies_are_listed_once(aws: Any, page_size: int | None) -> None:
    """OnlyAttached leaves out what nobody has, Scope tells AWS's from the account's own, and the last page ends."""
    quarantined = (
        UserSeed("a", quarantined_by=(V3, "AWSCompromisedKeyQuarantine")),
        UserSeed("b", quarantined_by=(V3,)),
    )
    with organisation(*quarantined, UserSeed("c"), page_size=page_size) as cloud:
        iam = aws.iam(cloud)
        own = iam.create_policy(PolicyName="own", PolicyDocument=DOCUMENT)["Policy"]["Arn"]
        iam.attach_user_policy(UserName="c", PolicyArn=own)
        found = {
            (scope, only): [
                (policy["PolicyName"], policy["AttachmentCount"])
                for page in iam.get_paginator("list_policies").paginate(Scope=scope, OnlyAttached=only)
                for policy in page["Policies"]
            ]
            for scope, only in (("AWS", True), ("AWS", False), ("Local", True), ("All", True))
        }
        iam.detach_user_policy(UserName="a", PolicyArn=f"arn:aws:iam::aws:policy/{V3}")
        iam.detach_user_policy(UserName="b", PolicyArn=f"arn:aws:iam::aws:policy/{V3}")
        after = [policy["PolicyName"] for policy in iam.list_policies(Scope="AWS", OnlyAttached=True)["Policies"]]
    assert found["AWS", True] == [("AWSCompromisedKeyQuarantine", 1), (V3, 2)]
    assert [name for name, _ in found["AWS", False]] == ["AWSCompromisedKeyQuarantine", f"{V3[:-1]}2", V3]
    assert found["Local", True] == [("own", 1)]
    assert len(found["All", True]) == 3
    assert after == ["AWSCompromisedKeyQuarantine"]


DOCUMENT = '{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]}'


@pytest.mark.parametrize("page_size", [None, 1])
def test_whom_a_policy_is_attached_to_comes_by_kind_and_in_pages(aws: Any, page_size: int | None) -> None:
    """EntityFilter keeps one kind; a policy that does not exist is NoSuchEntity, one that nobody has is empty."""
    arn = f"arn:aws:iam::aws:policy/{V3}"
    users = [UserSeed(name, quarantined_by=(V3,)) for name in ("a", "b", "c")]
    with organisation(*users, page_size=page_size) as cloud:
        iam = aws.iam(cloud)
        iam.create_group(GroupName="g")
        iam.attach_group_policy(GroupName="g", PolicyArn=arn)
        found = {
            kind: [
                entity.get("UserName") or entity.get("GroupName")
                for page in iam.get_paginator("list_entities_for_policy").paginate(PolicyArn=arn, **wanted)
                for name in ("PolicyUsers", "PolicyGroups", "PolicyRoles")
                for entity in page[name]
            ]
            for kind, wanted in (("User", {"EntityFilter": "User"}), ("all", {}))
        }
        nobody = iam.list_entities_for_policy(PolicyArn=arn.replace("V3", "V2"))
        with pytest.raises(ClientError) as error:
            iam.list_entities_for_policy(PolicyArn=arn.replace("V3", "V9"))
    assert found["User"] == ["a", "b", "c"]
    assert sorted(found["all"]) == ["a", "b", "c", "g"]
    assert [nobody[name] for name in ("PolicyUsers", "PolicyGroups", "PolicyRoles")] == [[], [], []]
    assert aws.refusal(error) == (404, "NoSuchEntity")


def test_quarantine_is_the_partitions_own(aws: Any) -> None:
    """The ARN of AWS's policy has the partition of the account."""
    account = AccountSeed(ACCOUNT, users=(UserSeed("a", quarantined_by=(V3,)),))
    with EmbeddedOrganisation(OrganisationSeed((account,), partition="aws-us-gov"), as_of=AS_OF) as cloud:
        iam = aws.client("iam", cloud, region="us-gov-west-1")
        (policy,) = iam.list_policies(Scope="AWS", OnlyAttached=True)["Policies"]
    assert policy["Arn"] == f"arn:aws-us-gov:iam::aws:policy/{V3}"


# ------------------------------------------------------------------------------------------------- other credentials


def test_service_specific_credentials_are_listed(aws: Any, clock: Any) -> None:
    """Of all users, of one, of one service; in whole seconds; Expired when their time has come; without a password."""
    bedrock = ServiceCredentialSeed("bedrock.amazonaws.com", AS_OF - 9 * DAY, expires_at=AS_OF + DAY)
    git = ServiceCredentialSeed(created_at=AS_OF - 20 * DAY, status=KeyStatus.INACTIVE)
    users = (
        UserSeed("a", service_credentials=(git, bedrock)),
        UserSeed("B", service_credentials=(git,)),
        UserSeed("c"),
    )
    with organisation(*users, clock=clock, page_size=2) as cloud:
        iam = aws.iam(cloud)
        first = iam.list_service_specific_credentials(AllUsers=True)
        rest = iam.list_service_specific_credentials(AllUsers=True, Marker=first["Marker"])
        one = iam.list_service_specific_credentials(UserName="a", ServiceName="bedrock.amazonaws.com")
        none = iam.list_service_specific_credentials(UserName="c")["ServiceSpecificCredentials"]
        clock.forward(days=1)
        later = iam.list_service_specific_credentials(UserName="a", ServiceName="bedrock.amazonaws.com")
        with pytest.raises(ClientError) as both:
            iam.list_service_specific_credentials(AllUsers=True, UserName="a")
        with pytest.raises(ClientError) as nobody:
            iam.list_service_specific_credentials(UserName="nobody")
    listed = first["ServiceSpecificCredentials"] + rest["ServiceSpecificCredentials"]
    assert [(found["UserName"], found["ServiceName"].split(".")[0], found["Status"]) for found in listed] == [
        ("a", "codecommit", "Inactive"),
        ("a", "bedrock", "Active"),
        ("B", "codecommit", "Inactive"),
    ]
    assert (first["IsTruncated"], rest["IsTruncated"], none) == (True, False, [])
    (key,) = one["ServiceSpecificCredentials"]
    assert (key["CreateDate"], key["ExpirationDate"]) == (AS_OF - 9 * DAY, AS_OF + DAY)
    assert later["ServiceSpecificCredentials"][0]["Status"] == "Expired"
    assert len({found["ServiceSpecificCredentialId"] for found in listed}) == 3
    assert not any("Password" in name or "Secret" in name for found in listed for name in found)
    assert (aws.refusal(both), aws.refusal(nobody)) == ((400, "ValidationError"), (404, "NoSuchEntity"))
