"""A finished run to try formats on: deterministic, with every control, every kind of gap, and hostile names."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from auditor.inventory import build_snapshot
from auditor.model import (
    ROOT_USER,
    Account,
    AccountFacts,
    AccountResult,
    Coverage,
    CredentialReport,
    KeyStatus,
    LastUsed,
    ListedUser,
    LiveKey,
    NeverUsed,
    NotAudited,
    NotAuditedAccount,
    NotAuditedCode,
    Policy,
    Quarantine,
    ReportKey,
    ReportMeta,
    ReportUser,
    RunManifest,
    ServiceCredentials,
    Source,
    Spent,
    UnknownUse,
    UsedAt,
    UserLookup,
)
from auditor.policy import evaluate, tally, with_owners
from auditor.tables import Run, Snapshot
from tests.builders import run_of
from tests.formats.sample_changes import with_changes

AS_OF = datetime(2026, 11, 22, 19, tzinfo=UTC)

SCRIPT_NAME = "<script>alert('account')</script>"
BREAKING_NAME = "</script><script>alert('break')</script>"
IMAGE_OWNER = "<img src=x onerror=alert('owner')>"
FORMULA_USER = "=cmd|' /C calc'!A0"
"""Not a name that IAM would take; a format must not depend on that."""
PLUS_USER = "+SUM(1,2)"
MINUS_USER = "-2+3"
AT_USER = "@import"
LONG_PATH = "/" + "/".join(f"division-{number:02d}-of-the-company" for number in range(1, 17))

FIRST = "111122223333"
HOSTILE = "222233334444"
LISTED = "333344445555"
DOWNLOADED = "444455556666"
REFUSED = "555566667777"
SUSPENDED = "666677778888"
EMPTY = "777788889999"


def sample_run(*, users: int = 0, complete: bool = False) -> Run:
    """A run over a small organisation.

    Args:
        users: further, ordinary users, spread over accounts of 500; 20,000 of them give over 20,000 shown findings.
        complete: only what could be audited and is known for certain; no account is missing, nothing is unknown.
    """
    results = [*_certain(), *_crowd(users)]
    if complete:
        return finish(results)
    return with_changes(finish([*results, *_doubtful()]))


def clean_run() -> Run:
    """A run of one account where everything complies."""
    people = [_user(FIRST, "build", [_key(1, 10, 1)]), _user(FIRST, "idle", [])]
    return finish([_report_result(Account(FIRST, "sandbox"), people)])


def empty_run() -> Run:
    """A run that could audit nothing at all."""
    return finish(list(_not_audited()))


def finish(results: list[AccountResult], policy: Policy | None = None) -> Run:
    """Snapshot, verdicts and manifest of these results, as the pipeline makes them."""
    policy = policy or Policy()
    results = [_asked(result) for result in results]
    snapshot = with_owners(build_snapshot(results), policy)
    findings = evaluate(snapshot, policy, AS_OF)
    calls: dict[str, int] = {}
    for result in results:
        for operation, count in result.spent.calls.items():
            calls[operation] = calls.get(operation, 0) + count
    manifest = RunManifest(
        id="20261122T190000Z-5a1e0c",
        as_of=AS_OF,
        started_at=AS_OF - timedelta(seconds=5),
        finished_at=AS_OF + timedelta(seconds=37),
        tool_version="0.1.0",
        caller_arn="arn:aws:sts::999900001111:assumed-role/audit/monthly",
        scope=f"organization o-a1b2c3d4e5, {len(results)} accounts",
        coverage=_coverage(results, snapshot),
        summary=tally(findings, snapshot, policy).summary(),
        calls=calls,
        policy=policy,
        key_ids="flagged",
        organisation="Example & Sons",
    )
    return run_of(manifest, snapshot, findings)


def _coverage(results: list[AccountResult], snapshot: Snapshot) -> Coverage:
    not_audited = tuple(
        NotAuditedAccount(
            result.account.id,
            result.account.name,
            result.outcome.code,
            result.outcome.reason,
            result.outcome.next_step,
        )
        for result in sorted(results, key=lambda result: result.account.id)
        if isinstance(result.outcome, NotAudited)
    )
    present = snapshot.keys["key_status"].ne(KeyStatus.DELETED.value)
    audited = len(results) - len(not_audited)
    return Coverage(len(results), audited, not_audited, len(snapshot.users), int(present.sum()))


# ------------------------------------------------------------------------------------------------- parts


def _ago(days: float) -> datetime:
    return AS_OF - timedelta(days=days)


def _key(slot: int, age: float, used: float | None, status: KeyStatus = KeyStatus.ACTIVE) -> ReportKey:
    last_used: LastUsed = NeverUsed() if used is None else UsedAt(_ago(used), "s3", "eu-central-1")
    return ReportKey(slot, status, _ago(age), last_used)


def _user(account: str, name: str, keys: list[ReportKey], *, path: str = "", extra: str | None = None) -> ReportUser:
    arn = f"arn:aws:iam::{account}:user{path}/{name}"
    return ReportUser(name, arn, _ago(900), tuple(keys), password_enabled=False, additional_credentials=extra)


def _asked(result: AccountResult) -> AccountResult:
    """The result with AWS's word that nobody is in quarantine and nobody has a service-specific credential."""
    if isinstance(result.outcome, NotAudited):
        return result
    facts = replace(result.outcome, quarantine=Quarantine(), service_credentials=ServiceCredentials())
    return replace(result, outcome=facts)


def _root(account: str, *keys: ReportKey) -> ReportUser:
    return ReportUser(ROOT_USER, f"arn:aws:iam::{account}:root", _ago(2000), keys)


def _live(user: ReportUser, tags: Mapping[str, str], *, number: int, last_used: LastUsed | None = None) -> UserLookup:
    """The look-up that confirms what the report says, and knows the ids; `number` makes them unique."""
    keys = tuple(
        LiveKey(f"AKIA{number:08d}EX{key.slot:02d}", key.status, key.created_at, last_used or key.last_used)
        for key in user.keys
        if key.created_at is not None
    )
    return UserLookup(user.name, keys, tags=tags)


def _report_result(
    account: Account, people: list[ReportUser], lookups: list[UserLookup] | None = None, notes: tuple[str, ...] = ()
) -> AccountResult:
    users = people if any(user.is_root for user in people) else [_root(account.id), *people]
    report = CredentialReport(account.id, "aws", tuple(users), has_additional_column=True)
    meta = ReportMeta(AS_OF - timedelta(minutes=47), AS_OF, "ab" * 32, 4096, request_id="req-1")
    by_user = {lookup.user: lookup for lookup in lookups or []}
    facts = AccountFacts(Source.CREDENTIAL_REPORT, report=report, meta=meta, lookups=by_user, notes=notes)
    calls = {"GenerateCredentialReport": 1, "GetCredentialReport": 2, "ListAccessKeys": len(by_user)}
    return AccountResult(account, facts, Spent(calls))


# ------------------------------------------------------------------------------------------------- accounts


def _certain() -> Iterator[AccountResult]:
    yield _first()
    yield _hostile()
    yield _listed()
    yield _downloaded()
    yield _report_result(Account(EMPTY, "sandbox-empty"), [])


def _first() -> AccountResult:
    """Every control fails at least once, and some keys are due soon."""
    old = _user(FIRST, "ci-deploy", [_key(1, 412, 1)], path="/service")
    pair = _user(FIRST, "billing-export", [_key(1, 20, 0.2), _key(2, 100.5, 60)])
    stuffed = _user(FIRST, "racing", [_key(1, 30, 2), _key(2, 31, 3, KeyStatus.INACTIVE)], extra="1 more")
    extra = LiveKey("AKIA00000003EX03", KeyStatus.INACTIVE, _ago(29), NeverUsed())
    lookup = _live(stuffed, {}, number=3)
    people = [
        _root(FIRST, _key(1, 800, 5)),
        old,
        pair,
        stuffed,
        _user(FIRST, "never-used", [_key(1, 50, None)]),
        _user(FIRST, "due-in-four-days", [_key(1, 86, 1)]),
        _user(FIRST, "due-in-ten-days", [_key(1, 80, 1)]),
        _user(FIRST, "fresh", [_key(1, 3, 0.1)]),
        _user(FIRST, "retired", [_key(1, 500, 300, KeyStatus.INACTIVE)]),
        _user(FIRST, "console-only", []),
    ]
    lookups = [
        _live(old, {"owner": "platform team", "AKIA00000001EX01": "deploys from the build server"}, number=1),
        _live(pair, {"owner": "finance@example.com"}, number=2),
        UserLookup(stuffed.name, (*lookup.keys, extra)),
    ]
    return _report_result(Account(FIRST, "payments-production"), people, lookups)


def _hostile() -> AccountResult:
    """Names that a browser, a script block or a spreadsheet would run if a format let them."""
    names = [FORMULA_USER, PLUS_USER, MINUS_USER, AT_USER, BREAKING_NAME]
    people = [_user(HOSTILE, name, [_key(1, 120 + number, 2)]) for number, name in enumerate(names)]
    people.append(_user(HOSTILE, "deep", [_key(1, 365, 2)], path=LONG_PATH))
    lookups = [
        _live(user, {"owner": IMAGE_OWNER, f"AKIA{number:08d}EX01": BREAKING_NAME}, number=number)
        for number, user in enumerate(people, start=20)
    ]
    notes = (f"Account alias read as {BREAKING_NAME}", "The report was 3 h 50 min old when it was read.")
    return _report_result(Account(HOSTILE, SCRIPT_NAME), people, lookups, notes)


def _listed() -> AccountResult:
    """AWS made no report in time, so users and keys were listed."""
    names = ("etl-nightly", "etl-adhoc")
    listed = tuple(ListedUser(name, f"arn:aws:iam::{LISTED}:user/{name}", _ago(400)) for name in names)
    keys = [
        LiveKey(f"AKIA{number:08d}EX01", KeyStatus.ACTIVE, _ago(age), UsedAt(_ago(1), "athena", "us-east-1"))
        for number, age in ((41, 200), (42, 20))
    ]
    facts = AccountFacts(
        Source.LISTING,
        listed_users=listed,
        lookups={name: UserLookup(name, (key,)) for name, key in zip(names, keys, strict=True)},
        root_keys_present=False,
        notes=("AWS made no credential report within 10 minutes; users and keys were listed instead.",),
    )
    return AccountResult(Account(LISTED, "analytics"), facts, Spent({"ListUsers": 1, "ListAccessKeys": 2}))


def _downloaded() -> AccountResult:
    """A report from a file: no key ids, and no time of generation."""
    people = (_root(DOWNLOADED, _key(1, 700, 600, KeyStatus.INACTIVE)), _user(DOWNLOADED, "legacy", [_key(1, 1500, 4)]))
    report = CredentialReport(DOWNLOADED, "aws", people, has_additional_column=False)
    meta = ReportMeta(None, None, "cd" * 32, 900, origin="reports/legacy.csv")
    return AccountResult(Account(DOWNLOADED), AccountFacts(Source.FILE, report=report, meta=meta))


def _doubtful() -> Iterator[AccountResult]:
    """Look-ups that failed, keys that cannot be told apart, and accounts that were not audited."""
    account = Account("888899990000", "shared-services")
    denied = _user(account.id, "mailer", [_key(1, 120, 60)])
    twins = _user(account.id, "twins", [_key(1, 150, 1), _key(2, 150, 2)])
    vague = _user(account.id, "vague", [_key(1, 60, None)])
    lookups = [
        UserLookup("mailer", failed="AccessDenied"),
        _live(twins, {}, number=60),
        _live(vague, {}, number=61, last_used=UnknownUse("GetAccessKeyLastUsed was throttled")),
    ]
    yield _report_result(account, [denied, twins, vague], lookups)
    yield from _not_audited()


def _not_audited() -> Iterator[AccountResult]:
    refused = NotAudited(
        NotAuditedCode.ROLE_REFUSED,
        f"AWS refused the role arn:aws:iam::{REFUSED}:role/auditor-read (AccessDenied).",
        "Deploy the read role into the account, or correct its trust policy and external id.",
    )
    suspended = NotAudited(
        NotAuditedCode.NOT_ACTIVE,
        "The account is suspended in the organization.",
        "Close it for good, or take it out of the scope with a reason.",
    )
    yield AccountResult(
        Account(REFUSED, "acquired-company", role_name="auditor-read"), refused, Spent({"AssumeRole": 3})
    )
    yield AccountResult(Account(SUSPENDED, '"><svg onload=alert(1)>', state="SUSPENDED"), suspended)


def _crowd(users: int) -> Iterator[AccountResult]:
    """Ordinary users with one key each, most of them too old, in accounts of 500."""
    for first in range(0, users, 500):
        account = Account(f"{900000000000 + first // 500:012d}", f"workload-{first // 500 + 1:03d}")
        numbers = range(first, min(users, first + 500))
        people = [_user(account.id, f"app-{number:05d}", [_ordinary_key(number)]) for number in numbers]
        yield _report_result(account, people)


def _ordinary_key(number: int) -> ReportKey:
    age = 20 + (number * 7919) % 900
    idle = (number * 104729) % 200
    return _key(1, age, min(age, idle) if number % 11 else None)
