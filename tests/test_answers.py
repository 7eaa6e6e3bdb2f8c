"""What was read of an account and the files it is kept in: nothing is lost on the way, and nothing foreign counts."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from auditor import answers
from auditor.credential_report import parse_credential_report
from auditor.model import (
    ROOT_USER,
    Account,
    AccountFacts,
    AccountResult,
    KeyStatus,
    ListedUser,
    NotAudited,
    NotAuditedCode,
    Quarantine,
    ReportMeta,
    ServiceCredential,
    ServiceCredentials,
    Source,
    Spent,
    UnknownUse,
    UserLookup,
)
from tests.builders import AS_OF, account_result, ago, live_key, used

ACCOUNT = Account("111111111111", "main", role_name="auditor", external_id="between-us")
CONTENT = (
    "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,password_next_rotation,"
    "mfa_active,access_key_1_active,access_key_1_last_rotated,access_key_1_last_used_date,access_key_1_last_used_region,"
    "access_key_1_last_used_service,access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,"
    "access_key_2_last_used_region,access_key_2_last_used_service,cert_1_active,cert_1_last_rotated,cert_2_active,"
    "cert_2_last_rotated\n<root_account>,arn:aws:iam::111111111111:root,2020-01-01T00:00:00Z,false,N/A,N/A,N/A,false"
    + ",false,N/A,N/A,N/A,N/A" * 2
    + ",false,N/A" * 2
).encode()
QUARANTINE = Quarantine({"bob": ("AWSCompromisedKeyQuarantine",), "ann": ("V2", "V3")})
CREDENTIALS = ServiceCredentials(
    (
        ServiceCredential("ACCA1", "ann", "bedrock.amazonaws.com", KeyStatus.ACTIVE, ago(200)),
        ServiceCredential("ACCA2", "bob", "codecommit.amazonaws.com", KeyStatus.INACTIVE, ago(20), ago(1)),
    )
)
LOOKUPS = {
    ROOT_USER: UserLookup(ROOT_USER, (live_key("AKIA0", ago(900), used(3)),)),
    "ann": UserLookup("ann", (live_key("AKIA1", ago(9), used(1)),), tags={"owner": "pay"}),
    "bob": UserLookup("bob", (live_key("AKIA2", ago(9), UnknownUse("throttled"), active=False),), tags_failed="no"),
    "cat": UserLookup("cat", failed="denied"),
    "dan": UserLookup("dan", (live_key("AKIA3", ago(9)),), renamed_to="dave"),
    "eve": UserLookup("eve", exists=False),
}
META = ReportMeta(
    AS_OF - timedelta(microseconds=7), AS_OF, hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), request_id="r"
)


def reported(lookups: dict[str, UserLookup]) -> AccountResult:
    report = parse_credential_report(CONTENT, origin="test")
    facts = AccountFacts(Source.CREDENTIAL_REPORT, report, META, (), lookups, notes=("a note",))
    return AccountResult(ACCOUNT, facts, Spent({"iam:ListUsers": 2}, 1, 2, 3.25))


def listed() -> AccountResult:
    users = (ListedUser("ann", "arn:aws:iam::111111111111:user/ann", ago(20)),)
    facts = AccountFacts(Source.LISTING, None, None, users, {"ann": LOOKUPS["ann"]}, root_keys_present=True)
    return AccountResult(ACCOUNT, facts)


def with_beside(quarantine: Quarantine | None, credentials: ServiceCredentials | None) -> AccountResult:
    """The report with what is asked beside it, in an account whose units are known."""
    facts = replace(facts_in(reported(LOOKUPS)), quarantine=quarantine, service_credentials=credentials)
    account = replace(ACCOUNT, units=("r-1", "ou-1-2"), unit_names=("Workloads",))
    return AccountResult(account, facts)


def refused() -> AccountResult:
    return AccountResult(ACCOUNT, NotAudited(NotAuditedCode.ROLE_REFUSED, "no", "ask"))


def facts_in(result: AccountResult) -> AccountFacts:
    assert isinstance(result.outcome, AccountFacts)
    return result.outcome


def kept(result: AccountResult) -> dict[str, bytes]:
    """The files that gathering leaves."""
    files = {answers.ACCOUNT: answers.encode_account(result)}
    if isinstance(result.outcome, AccountFacts):
        facts = result.outcome
        if facts.report:
            files |= {answers.REPORT: CONTENT, answers.RESPONSE: answers.encode_response(META)}
        else:
            files[answers.LISTING] = answers.encode_listing(facts.listed_users, AS_OF)
        if facts.lookups:
            files[answers.KEYS] = answers.encode_lookups(facts.lookups)
        if facts.quarantine:
            files[answers.QUARANTINE] = answers.encode_quarantine(facts.quarantine)
        if facts.service_credentials:
            files[answers.SERVICE_CREDENTIALS] = answers.encode_service_credentials(facts.service_credentials)
    return files


RESULTS = [
    reported(LOOKUPS),
    reported({}),
    listed(),
    refused(),
    with_beside(QUARANTINE, CREDENTIALS),
    with_beside(Quarantine(), ServiceCredentials()),
    with_beside(Quarantine(failed="denied"), ServiceCredentials(failed="throttled")),
]
IDS = ["report and look-ups", "report alone", "listing", "refused", "all", "none found", "none known"]


@pytest.mark.parametrize("result", RESULTS, ids=IDS)
def test_a_result_is_read_back_as_it_was(result: AccountResult) -> None:
    """But for the external id, which is kept nowhere."""
    files = kept(result)
    account = replace(result.account, external_id=None)
    assert answers.decode_result(files) == AccountResult(account, result.outcome, result.spent)
    assert not any(b"between-us" in content for content in files.values())
    assert "between-us" not in repr(result)


@pytest.mark.parametrize("result", RESULTS, ids=IDS)
def test_what_an_earlier_attempt_left_does_not_count(result: AccountResult) -> None:
    """account.json names the files that it rests on; others beside it are not read."""
    leftovers = {**kept(listed()), **kept(with_beside(QUARANTINE, CREDENTIALS)), answers.KEYS: b"cut of"}
    assert answers.decode_result(leftovers | kept(result)) == answers.decode_result(kept(result))


@pytest.mark.parametrize(
    "name",
    [
        answers.REPORT,
        answers.RESPONSE,
        answers.KEYS,
        answers.QUARANTINE,
        answers.SERVICE_CREDENTIALS,
        answers.ACCOUNT,
    ],
)
def test_a_missing_file_is_an_error(name: str) -> None:
    """Never an account with fewer keys."""
    files = kept(with_beside(QUARANTINE, CREDENTIALS))
    del files[name]
    with pytest.raises(ValueError, match="not the files of an account"):
        answers.decode_result(files)


def test_the_files_of_an_earlier_version_are_read() -> None:
    """They know no organisational units, no quarantine and no service-specific credentials: nobody asked."""
    files = kept(with_beside(None, None))
    document = json.loads(files[answers.ACCOUNT])
    del document["account"]["units"], document["account"]["unit_names"]
    result = answers.decode_result(files | {answers.ACCOUNT: json.dumps(document).encode()})
    assert (result.account.units, result.account.unit_names) == (None, None)
    assert facts_in(result).quarantine is None
    assert facts_in(result).service_credentials is None


def test_the_digest_is_of_facts_alone() -> None:
    """What was read decides it; what it took, and when, does not."""
    one = reported(LOOKUPS)
    assert answers.facts_digest(one) == answers.facts_digest(AccountResult(ACCOUNT, one.outcome))
    digests = {answers.facts_digest(result) for result in RESULTS}
    assert len(digests) == len(RESULTS)


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (facts_in(reported({})), 0),
        (facts_in(reported({"ann": LOOKUPS["ann"], "dan": LOOKUPS["dan"], "eve": LOOKUPS["eve"]})), 0),
        (facts_in(reported(LOOKUPS)), 2),
        (facts_in(with_beside(QUARANTINE, CREDENTIALS)), 2),
        (facts_in(with_beside(Quarantine(failed="denied"), ServiceCredentials(failed="denied"))), 4),
        (facts_in(listed()), 0),
        (replace(facts_in(listed()), root_keys_present=None), 1),
        (facts_in(account_result(with_root=False)), 1),
        (facts_in(account_result(with_root=False, source=Source.FILE)), 0),
    ],
)
def test_what_aws_did_not_answer_is_counted(outcome: AccountFacts, failed: int) -> None:
    """Keys, last uses, quarantine, service-specific credentials, and root keys where no root row tells; never tags."""
    assert answers.unanswered(outcome) == failed
