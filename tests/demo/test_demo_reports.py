"""The credential report over HTTP: its states and errors by wire code, and every form its rows can take."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError

from auditor.demo import (
    AccountSeed,
    CertificateSeed,
    EmbeddedOrganisation,
    KeySeed,
    OrganisationSeed,
    PasswordSeed,
    ReportSeed,
    RootSeed,
    UserSeed,
)
from auditor.demo.seed import derived_key_id
from auditor.model import KeyStatus, UsedAt

AS_OF = datetime(2026, 6, 15, 9, 30, 20, tzinfo=UTC)
ACCOUNT = "111111111111"


def organisation(*users: UserSeed, clock: Any = None, seconds: float = 0.0, **account: Any) -> EmbeddedOrganisation:
    seed = OrganisationSeed((AccountSeed(ACCOUNT, users=users, **account),), has_organizations=False)
    return EmbeddedOrganisation(seed, as_of=AS_OF, clock=clock, report_seconds=seconds)


# ------------------------------------------------------------------------------------------------- states


def test_a_report_that_nobody_asked_for_is_not_present(aws: Any) -> None:
    """Get before any Generate is 410 ReportNotPresent with AWS's message `Unknown`."""
    with organisation() as cloud, pytest.raises(ClientError, match=r"Unknown") as error:
        aws.iam(cloud).get_credential_report()
    assert aws.refusal(error) == (410, "ReportNotPresent")


def test_a_report_is_started_in_progress_and_complete(aws: Any) -> None:
    """Generate says STARTED with a description, INPROGRESS while polls are left, then COMPLETE without one."""
    with organisation(report=ReportSeed(polls=3)) as cloud:
        iam = aws.iam(cloud)
        started = iam.generate_credential_report()
        assert started["State"] == "STARTED"
        assert started["Description"] == "No report exists. Starting a new report generation task"
        assert iam.generate_credential_report()["State"] == "INPROGRESS"
        for _ in range(2):
            with pytest.raises(ClientError) as error:
                iam.get_credential_report()
            assert aws.refusal(error) == (404, "ReportInProgress")
        complete = iam.generate_credential_report()
        assert (complete["State"], complete.get("Description")) == ("COMPLETE", None)
        assert iam.get_credential_report()["ReportFormat"] == "text/csv"


def test_a_report_can_take_real_time(aws: Any) -> None:
    """With `report_seconds` a report is in progress until so much time has passed, whatever the clock says."""
    with organisation(seconds=0.15) as cloud:
        iam = aws.iam(cloud)
        states = [iam.generate_credential_report()["State"] for _ in range(2)]
        assert states == ["STARTED", "INPROGRESS"]
        while iam.generate_credential_report()["State"] != "COMPLETE":
            pass
        assert iam.get_credential_report()["Content"]


def test_a_report_stays_the_same_for_four_hours(aws: Any, clock: Any) -> None:
    """Within four hours AWS gives the same bytes and the same GeneratedTime, whatever changed meanwhile."""
    with organisation(UserSeed("alice"), clock=clock) as cloud:
        first = aws.report(cloud)
        iam = aws.iam(cloud)
        iam.create_user(UserName="bob")
        clock.forward(hours=4)
        assert iam.generate_credential_report()["State"] == "COMPLETE"
        again = iam.get_credential_report()
        assert again["Content"].decode() == first
        assert again["GeneratedTime"] == AS_OF


def test_a_report_expires_after_four_hours(aws: Any, clock: Any) -> None:
    """Past four hours Get is 410 ReportExpired, and Generate starts a new report with what is true then."""
    with organisation(UserSeed("alice"), clock=clock) as cloud:
        aws.report(cloud)
        iam = aws.iam(cloud)
        iam.create_user(UserName="bob")
        clock.forward(hours=4, seconds=1)
        with pytest.raises(ClientError) as error:
            iam.get_credential_report()
        assert aws.refusal(error) == (410, "ReportExpired")
        assert iam.generate_credential_report()["State"] == "STARTED"
        renewed = iam.get_credential_report()
        assert b"\nbob," in renewed["Content"]
        assert renewed["GeneratedTime"] == clock()


def test_an_earlier_report_shows_what_was_true_then(aws: Any) -> None:
    """A report of three hours ago shows keys active, present and last used as they were before they were changed."""
    then = AS_OF - timedelta(hours=3)
    old = datetime(2025, 1, 1, tzinfo=UTC)
    before, after = UsedAt(then - timedelta(days=9), "sqs", "eu-west-1"), UsedAt(then + timedelta(hours=1), "s3")
    users = (
        UserSeed("rotated", (KeySeed(old, deleted_at=then + timedelta(hours=1)), KeySeed(then + timedelta(minutes=1)))),
        UserSeed("switched-off", (KeySeed(old, deactivated_at=then + timedelta(hours=2)),)),
        UserSeed("used-again", (KeySeed(old, last_used=after, earlier_use=before),)),
        UserSeed("newcomer", created_at=then + timedelta(minutes=5)),
        UserSeed("leaver", deleted_at=then + timedelta(minutes=5)),
    )
    with organisation(*users, report=ReportSeed(generated_at=then)) as cloud:
        iam = aws.iam(cloud)
        assert iam.generate_credential_report()["State"] == "COMPLETE"
        assert iam.get_credential_report()["GeneratedTime"] == then
        rows = aws.rows(cloud)
        live = {user: iam.list_access_keys(UserName=user)["AccessKeyMetadata"] for user in ("rotated", "switched-off")}
    assert list(rows) == ["<root_account>", "leaver", "rotated", "switched-off", "used-again"]
    assert rows["rotated"]["access_key_1_last_rotated"] == "2025-01-01T00:00:00Z"
    assert rows["rotated"]["access_key_2_last_rotated"] == "N/A"
    assert rows["switched-off"]["access_key_1_active"] == "true"
    assert rows["used-again"]["access_key_1_last_used_service"] == "sqs"
    assert [key["CreateDate"] for key in live["rotated"]] == [then + timedelta(minutes=1)]
    assert [key["Status"] for key in live["switched-off"]] == ["Inactive"]


def test_each_account_has_a_report_of_its_own(aws: Any) -> None:
    """Generating in one account leaves the other without a report."""
    seed = OrganisationSeed((AccountSeed(ACCOUNT), AccountSeed("222222222222", "other")))
    with EmbeddedOrganisation(seed, as_of=AS_OF) as cloud:
        aws.report(cloud)
        with pytest.raises(ClientError) as error:
            aws.iam(cloud, "222222222222").get_credential_report()
    assert aws.refusal(error) == (410, "ReportNotPresent")


# ------------------------------------------------------------------------------------------------- rows


def test_an_account_without_users_has_a_root_row(aws: Any) -> None:
    """The report always begins with `<root_account>` and ends without a newline."""
    with organisation() as cloud:
        report = aws.report(cloud)
    header, root = report.split("\n")
    assert header.split(",")[:2] == ["user", "arn"]
    assert len(header.split(",")) == len(root.split(",")) == 22
    assert root.startswith(f"<root_account>,arn:aws:iam::{ACCOUNT}:root,2020-01-02T03:04:05Z,true,no_information,")


def test_the_root_row_shows_root_keys_password_mfa_and_certificates(aws: Any) -> None:
    """Root's columns are facts of the account, but for password_next_rotation, which is `not_supported`."""
    used = UsedAt(datetime(2026, 6, 14, 8, 7, 59, tzinfo=UTC), "ec2", "us-east-1")
    root = RootSeed(
        keys=(KeySeed(last_used=used), KeySeed(status=KeyStatus.INACTIVE)),
        password=PasswordSeed(last_used_at=used.at),
        mfa_active=False,
        certificates=(CertificateSeed(),),
    )
    with organisation(root=root) as cloud:
        row = aws.rows(cloud)["<root_account>"]
        summary = aws.iam(cloud).get_account_summary()["SummaryMap"]
    assert (row["password_last_used"], row["password_next_rotation"]) == ("2026-06-14T08:07:59Z", "not_supported")
    assert row["mfa_active"] == "false"
    assert {row["access_key_1_active"], row["access_key_2_active"]} == {"true", "false"}
    assert {row["access_key_1_last_used_date"], row["access_key_2_last_used_date"]} == {"2026-06-14T08:07:00Z", "N/A"}
    assert row["cert_1_active"] == "true"
    flags = ("AccountAccessKeysPresent", "AccountMFAEnabled", "AccountSigningCertificatesPresent")
    assert [summary[flag] for flag in flags] == [1, 0, 1]


def test_the_summary_says_when_root_has_no_key(aws: Any) -> None:
    """AccountAccessKeysPresent is 0 without a root key, and AccountMFAEnabled 1 with a device."""
    with organisation() as cloud:
        summary = aws.iam(cloud).get_account_summary()["SummaryMap"]
    assert (summary["AccountAccessKeysPresent"], summary["AccountMFAEnabled"]) == (0, 1)


def test_rows_are_sorted_ignoring_case(aws: Any) -> None:
    """Users come by name ignoring case, whatever the order they were created in."""
    with organisation(*map(UserSeed, ("bob", "Zoe", "alice", "Carl"))) as cloud:
        assert list(aws.rows(cloud)) == ["<root_account>", "alice", "bob", "Carl", "Zoe"]


def test_a_user_without_password_has_n_a_throughout(aws: Any) -> None:
    """Without a password the three password columns are N/A, and empty slots are `false,N/A,N/A,N/A,N/A`."""
    with organisation(UserSeed("bot", path="/service/")) as cloud:
        line = aws.report(cloud).splitlines()[2]
    arn = f"arn:aws:iam::{ACCOUNT}:user/service/bot"
    empty = "false,N/A,N/A,N/A,N/A"
    assert line == f"bot,{arn},2020-01-02T03:04:05Z,false,N/A,N/A,N/A,false,{empty},{empty},false,N/A,false,N/A"


def test_console_facts_are_shown(aws: Any) -> None:
    """A password has its change, use and next rotation; one never used is `no_information`."""
    moment = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    used = PasswordSeed(changed_at=moment, last_used_at=moment, next_rotation_at=moment)
    users = (UserSeed("used", password=used, mfa_active=True), UserSeed("unused", password=PasswordSeed(moment)))
    with organisation(*users) as cloud:
        rows = aws.rows(cloud)
    columns = ("password_enabled", "password_last_used", "password_last_changed", "password_next_rotation")
    stamp = "2026-03-04T05:06:07Z"
    assert [rows["used"][column] for column in columns] == ["true", stamp, stamp, stamp]
    assert [rows["unused"][column] for column in columns] == ["true", "no_information", stamp, "N/A"]
    assert (rows["used"]["mfa_active"], rows["unused"]["mfa_active"]) == ("true", "false")


def test_last_use_is_in_whole_minutes_with_service_and_region(aws: Any) -> None:
    """last_used_date has no seconds; the Region is N/A for S3; creation keeps its seconds."""
    moment = datetime(2026, 6, 1, 10, 11, 12, tzinfo=UTC)
    keys = (KeySeed(moment, last_used=UsedAt(moment, "sqs", "eu-west-1")),)
    with organisation(UserSeed("a", keys), UserSeed("b", (KeySeed(moment, last_used=UsedAt(moment, "s3")),))) as cloud:
        rows = aws.rows(cloud)
    columns = [f"access_key_1_last_{part}" for part in ("rotated", "used_date", "used_region", "used_service")]
    created, minute = "2026-06-01T10:11:12Z", "2026-06-01T10:11:00Z"
    assert [rows["a"][column] for column in columns] == [created, minute, "eu-west-1", "sqs"]
    assert [rows["b"][column] for column in columns] == [created, minute, "N/A", "s3"]


def test_stamps_are_utc_whatever_the_seed_says(aws: Any) -> None:
    """Instants of another offset are written in UTC, in the report and in GeneratedTime."""
    oslo = timezone(timedelta(hours=2))
    user = UserSeed("a", (KeySeed(datetime(2026, 6, 1, 1, 0, tzinfo=oslo)),))
    with organisation(user, clock=lambda: AS_OF.astimezone(oslo)) as cloud:
        row = aws.rows(cloud)["a"]
        assert aws.iam(cloud).get_credential_report()["GeneratedTime"] == AS_OF
    assert row["access_key_1_last_rotated"] == "2026-05-31T23:00:00Z"


def test_slots_follow_the_access_key_ids(aws: Any) -> None:
    """The slot order is that of the access key ids, not of creation, and an inactive key keeps its date."""
    newer, older = datetime(2026, 5, 5, tzinfo=UTC), datetime(2024, 4, 4, tzinfo=UTC)
    keys = (
        KeySeed(older, "AKIAZZZZZZZZZZZZZZZZ", KeyStatus.INACTIVE),
        KeySeed(newer, "AKIAAAAAAAAAAAAAAAAA"),
    )
    with organisation(UserSeed("alice", keys)) as cloud:
        row = aws.rows(cloud)["alice"]
    assert (row["access_key_1_active"], row["access_key_1_last_rotated"]) == ("true", "2026-05-05T00:00:00Z")
    assert (row["access_key_2_active"], row["access_key_2_last_rotated"]) == ("false", "2024-04-04T00:00:00Z")


def test_a_comma_in_a_name_is_quoted_or_not(aws: Any) -> None:
    """Names with a comma are quoted in the name and the ARN; with the switch the row has too many fields instead."""
    user = UserSeed("reporting,eu")
    with organisation(user) as cloud:
        assert aws.rows(cloud)["reporting,eu"]["arn"] == f"arn:aws:iam::{ACCOUNT}:user/reporting,eu"
    with organisation(user, report=ReportSeed(has_unquoted_commas=True)) as cloud:
        line = aws.report(cloud).splitlines()[2]
    assert line.startswith(f"reporting,eu,arn:aws:iam::{ACCOUNT}:user/reporting,eu,2020-")
    assert line.count(",") == 21 + 2


def test_old_reports_have_offsets(aws: Any) -> None:
    """With the switch all stamps end in +00:00, as until July 2024."""
    with organisation(UserSeed("alice", (KeySeed(),)), report=ReportSeed(has_offset_stamps=True)) as cloud:
        report = aws.report(cloud)
    assert "2020-01-02T03:04:05+00:00" in report
    assert "05Z" not in report


def test_certificates_keep_their_dates(aws: Any) -> None:
    """Each certificate has its status and date."""
    moment = datetime(2021, 2, 3, 4, 5, 6, tzinfo=UTC)
    certificates = (CertificateSeed(moment), CertificateSeed(moment, active=False))
    with organisation(UserSeed("alice", certificates=certificates)) as cloud:
        row = aws.rows(cloud)["alice"]
    assert [row[f"cert_{slot}_active"] for slot in (1, 2)] == ["true", "false"]
    assert [row[f"cert_{slot}_last_rotated"] for slot in (1, 2)] == ["2021-02-03T04:05:06Z"] * 2


def test_three_keys_show_as_two_and_a_hint(aws: Any) -> None:
    """A user whose CreateAccessKey calls raced has three keys: two in the report, the third only counted."""
    user = UserSeed("raced", (KeySeed(), KeySeed(), KeySeed()))
    with organisation(user, UserSeed("plain"), report=ReportSeed(has_additional_column=True)) as cloud:
        rows = aws.rows(cloud)
        iam = aws.iam(cloud)
        key_ids = {key["AccessKeyId"] for key in iam.list_access_keys(UserName="raced")["AccessKeyMetadata"]}
        iam.delete_access_key(UserName="raced", AccessKeyId=derived_key_id(ACCOUNT, "raced", 2))
        assert len(iam.list_access_keys(UserName="raced")["AccessKeyMetadata"]) == 2
    assert len(key_ids) == 3
    assert rows["raced"]["additional_credentials_info"].startswith("additional access keys: 1")
    assert rows["plain"]["additional_credentials_info"] == "N/A"


@pytest.mark.parametrize(("partition", "region"), [("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")])
def test_other_partitions_have_their_arns(aws: Any, partition: str, region: str) -> None:
    """In China and GovCloud every ARN names the partition, and roles are assumed within it."""
    member = AccountSeed("222222222222", "member", (UserSeed("alice", (KeySeed(),)),))
    seed = OrganisationSeed((AccountSeed(ACCOUNT), member), partition=partition)
    with EmbeddedOrganisation(seed, as_of=AS_OF) as cloud:
        credentials = aws.client("sts", cloud, region=region).assume_role(
            RoleArn=f"arn:{partition}:iam::222222222222:role/{cloud.role_name}",
            RoleSessionName="audit",
            ExternalId=cloud.external_id,
        )["Credentials"]
        iam = aws.client("iam", cloud, credentials, region)
        iam.generate_credential_report()
        report = iam.get_credential_report()["Content"].decode()
        identity = aws.client("sts", cloud, credentials, region).get_caller_identity()["Arn"]
        assert iam.get_account_summary()["SummaryMap"]["Users"] == 1
    assert f"\nalice,arn:{partition}:iam::222222222222:user/alice," in report
    assert identity == f"arn:{partition}:sts::222222222222:assumed-role/{cloud.role_name}/audit"
