"""The look-ups of a run, made again of AWS's own answers: what is judged is what AWS said, no more and no less.

The credential report is kept as it came. Look-ups are kept in a form of auditor's, and beside them what AWS answered:
the code that made the one of the other makes it again.
"""

import tomllib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from auditor.answers import ACCOUNT, KEYS, LISTING, QUARANTINE, REQUESTS, SERVICE_CREDENTIALS, decode_requests
from auditor.aws.account_wide import quarantined_users, service_credentials
from auditor.aws.clients import CREDENTIALS
from auditor.aws.failures import AwsFailure, is_over
from auditor.aws.keys import follow_renamed, list_users, look_up_root, look_up_users, root_keys_present
from auditor.aws.loop import run as in_loop
from auditor.aws.recorded import ENTERING, Ended, NotAnsweredError, Recorded, is_unsent
from auditor.config import GatherConfig
from auditor.evidence.bag import BagError
from auditor.gather import Progress
from auditor.gather.account import ACTIVE
from auditor.gather.beside import Beside
from auditor.history import POPULATION, RAW, TERMS, load_manifest
from auditor.history.raw import read_result
from auditor.model import (
    ANSWERED,
    ROOT_USER,
    Account,
    AccountFacts,
    AccountResult,
    ControlId,
    NotAudited,
    NotAuditedCode,
    Request,
    RunManifest,
    Source,
    UserLookup,
)
from auditor.policy import asks, users_to_look_up
from auditor.report_columns import ReportColumns

NOT_REFUSED = f"nothing of it was refused as its reason says, by {REQUESTS}"

GET_REPORT, LIST_USERS, LIST_KEYS = "iam:GetCredentialReport", "iam:ListUsers", "iam:ListAccessKeys"

OF_REPORT = frozenset({"iam:GenerateCredentialReport", GET_REPORT})

NEEDED = OF_REPORT | {LIST_USERS}
"""Without an answer to these nothing is known of an account; what else is refused is told of what it is about."""

BESIDE = frozenset({"sts:AssumeRoot", "sts:GetCallerIdentity", "iam:GetAccountSummary"})
"""What fails without an account's end, whatever it fails by."""

REFUSALS = frozenset(
    {
        NotAuditedCode.ACCESS_DENIED,
        NotAuditedCode.ROLE_REFUSED,
        NotAuditedCode.THROTTLED,
        NotAuditedCode.UNREACHABLE,
    }
)
"""Reasons that a request ended with."""

AFTER_ANSWERS = frozenset({NotAuditedCode.WRONG_ACCOUNT, NotAuditedCode.REPORT_UNREADABLE})
"""Reasons that an answer gave."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How many accounts' look-ups come of AWS's answers, and look-ups of which no answers were kept."""

    accounts: int
    not_kept: tuple[str, ...]
    of_files: int = 0
    """Accounts whose reports were downloaded, so that AWS was not asked."""


def confirm_answered(run: Path, progress: Progress) -> Answered:
    """Hold every account's look-ups against AWS's answers.

    Args:
        run: the run's folder; it is not changed.
        progress: told of every account.

    Raises:
        BagError: a look-up is not what AWS answered, or something cannot be read.
        OutputError: the run cannot be read.
    """
    places = sorted((run / RAW).iterdir())
    progress.phase("Holding look-ups against AWS's answers", len(places))
    manifest, terms = load_manifest(run), tomllib.loads((run / TERMS).read_text(encoding="utf-8"))
    asked_for = terms.get("gather", {}).get("key_ids", GatherConfig().key_ids)
    elsewhere = cache(lambda: _entering(run))
    kept, not_kept, of_files, ids = 0, [], [], set[str]()
    for place in places:
        result = read_result(run, place.name)
        outcome = result.outcome
        requests = _requests(place)
        wrong = _unasked(result, manifest)
        if isinstance(outcome, AccountFacts) and outcome.source is Source.FILE:
            of_files.append(place.name)
        elif isinstance(outcome, AccountFacts) and asked_for != manifest.key_ids:
            raise BagError(f"run.json says that {manifest.key_ids} keys were looked up, and {TERMS} {asked_for}")
        elif requests is None:
            names: tuple[str, ...] = (LISTING, KEYS, QUARANTINE, SERVICE_CREDENTIALS)
            is_asked = isinstance(outcome, NotAudited) and outcome.code in REFUSALS | AFTER_ANSWERS
            if is_asked and manifest.caller_arn is not None:
                names = (*names, ACCOUNT)
            not_kept += [f"{RAW}/{place.name}/{name}" for name in names if (place / name).exists()]
        if wrong is None and requests is not None:
            wrong = differing(requests, outcome, elsewhere) or _given_before(requests, ids)
            kept += wrong is None and isinstance(outcome, AccountFacts)
        if wrong is not None:
            raise BagError(f"{RAW}/{place.name}: {wrong}")
        progress.advance()
    is_of_aws = manifest.caller_arn is not None or (run / REQUESTS).exists() or (run / POPULATION).exists()
    if of_files and (is_of_aws or len(of_files) < manifest.coverage.accounts_audited):
        raise BagError(f"{RAW}/{of_files[0]}: it came from a file, in a run that asked AWS")
    return Answered(kept, tuple(not_kept), len(of_files))


def _given_before(requests: Iterable[Request], ids: set[str]) -> str | None:
    """The first of these answers whose id another answer of the run has; None where there is none, and `ids` grow."""
    for one in requests:
        if one.outcome == ANSWERED and (one.answer is not None or one.operation == GET_REPORT):
            if one.request_id in ids:
                return f"another was answered under the id {one.request_id}, by {REQUESTS}"
            ids.add(str(one.request_id))
    return None


def _unasked(result: AccountResult, manifest: RunManifest) -> str | None:
    """What AWS was not asked of what the policy wants to know; None where it was, or nobody asked AWS."""
    facts, policy = result.outcome, manifest.policy
    why = facts.code if isinstance(facts, NotAudited) else None
    if why is (None if result.account.state != ACTIVE else NotAuditedCode.NOT_ACTIVE):
        return f"it is {result.account.state}, by AWS Organizations"
    if isinstance(facts, NotAudited) or facts.source is Source.FILE:
        return None
    if facts.quarantine is None and asks(policy, ControlId.QUARANTINED_KEY):
        return "nobody asked who is in quarantine"
    if facts.service_credentials is None and asks(policy, ControlId.SERVICE_CREDENTIAL_AGE):
        return "nobody asked for service-specific credentials"
    passed_over = next((name for name in _to_look_up(result.account, facts, manifest) if name not in facts.lookups), "")
    return f"nobody looked {passed_over} up, and the policy wants it" if passed_over else None


def _to_look_up(account: Account, facts: AccountFacts, manifest: RunManifest) -> Iterable[str]:
    """The users of whom more had to be known than the report tells, or all where there is none."""
    if facts.report is None:
        return (user.name for user in facts.listed_users)
    also = Beside(facts.quarantine, facts.service_credentials).users()
    policy, every = manifest.policy, manifest.key_ids == "all"
    return users_to_look_up(facts.report, policy, manifest.as_of, account=account, every_key=every, also=set(also))


def _requests(place: Path) -> list[Request] | None:
    """An account's requests; None where there are none, or of a version that kept no answers."""
    path = place / REQUESTS
    if not path.exists():
        return None
    content = path.read_bytes()
    try:
        return list(decode_requests(content)) if b'"attempt": ' in content or not content else None
    except ValueError as error:
        raise BagError(f"{RAW}/{place.name}: {error}") from error


def _entering(run: Path) -> set[Ended]:
    """How requests of the whole run ended by which accounts are entered, where they share first roles."""
    found: set[Ended] = set()
    accounts = tomllib.loads((run / TERMS).read_text(encoding="utf-8")).get("accounts", {})
    if not any(entry.get("via") for entry in (accounts, *accounts.get("partition", {}).values())):
        return found
    for path in (run / REQUESTS, *(run / RAW).glob(f"*/{REQUESTS}")):
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else ()
        try:
            requests = list(decode_requests(b"".join(line for line in lines if b'"operation": "sts:' in line)))
        except ValueError as error:
            raise BagError(f"{path.relative_to(run)}: {error}") from error
        found |= {(one.operation, one.outcome) for one in requests if one.failed_in is None}
    return found


def differing(
    requests: Iterable[Request],
    outcome: AccountFacts | NotAudited,
    elsewhere: Callable[[], Collection[Ended]] = tuple,
) -> str | None:
    """What of how an account ended does not come of the answers that were kept; None where all does.

    Args:
        requests: the account's.
        outcome: how it ended.
        elsewhere: how requests of the whole run ended, as `Recorded` has it.
    """
    requests = list(requests)
    if isinstance(outcome, NotAudited):
        return _wrongly_not_audited(requests, outcome, elsewhere)
    reports = {one.request_id for one in requests if (one.operation, one.outcome) == (GET_REPORT, ANSWERED)}
    if (outcome.source is Source.CREDENTIAL_REPORT) is not bool(reports):
        return f"its credential report was {'received' if reports else 'never received'}, by {REQUESTS}"
    if reports and (outcome.meta is None or outcome.meta.request_id not in reports - {None}):
        return f"its credential report has not the id of a request of {REQUESTS}"
    try:
        recorded = Recorded(requests, elsewhere)
        wrong = in_loop(_differing(recorded, outcome))
        if wrong is None:
            recorded.confirm_all_given()
    except (NotAnsweredError, AwsFailure) as error:
        return f"its look-ups do not follow from {REQUESTS}: {error}"
    return f"{wrong} is not what AWS answered, by {REQUESTS}" if wrong is not None else None


def _wrongly_not_audited(
    requests: Sequence[Request], why: NotAudited, elsewhere: Callable[[], Collection[Ended]]
) -> str | None:
    """What of why an account was not audited is not how its requests ended; None where it is, or they cannot tell."""
    answered = {one.operation for one in requests if one.outcome == ANSWERED}
    is_entered = ("sts:AssumeRole", ANSWERED) in elsewhere()
    if why.code in AFTER_ANSWERS and not is_entered and answered.isdisjoint({GET_REPORT, "sts:AssumeRole"}):
        return f"nothing of it was answered, by {REQUESTS}"
    if why.code not in REFUSALS:
        return None
    is_own = f" {CREDENTIALS}: " in why.reason and not answered
    return None if is_own or any(_is_last(one, requests, why, elsewhere) for one in requests) else NOT_REFUSED


def _is_last(
    request: Request, requests: Sequence[Request], why: NotAudited, elsewhere: Callable[[], Collection[Ended]]
) -> bool:
    """Whether a request failed as the reason says, for good, and nothing can be learnt of an account after it."""
    operation, code = request.operation, request.outcome
    if code == ANSWERED or f" {request.failed_in or operation}: {code} (" not in f"{why.reason} (":
        return False
    sent = {(one.operation, one.outcome) for one in requests if one.failed_in is None}
    if BESIDE & {operation, request.failed_in} or (operation == LIST_KEYS and request.params == {}):
        return False
    if request.failed_in not in {None, CREDENTIALS} and not is_unsent(request, sent, elsewhere):
        return False
    if operation in OF_REPORT and any(one.operation == LIST_USERS for one in requests):
        return False  # it was given up, and the users were listed
    is_known = (GET_REPORT, ANSWERED) in sent or any(one.operation == LIST_KEYS and one.params for one in requests)
    is_end = is_over(code) or request.failed_in == CREDENTIALS or (operation in NEEDED | ENTERING and not is_known)
    return is_end and not _is_asked_again(request, requests)


def _is_asked_again(request: Request, requests: Sequence[Request]) -> bool:
    """Whether it did not end so: roles are others' as well, who may have got one later, but not by a further try."""
    after = next(number for number, one in enumerate(requests, 1) if one is request)
    alike = [one for one in requests[after:] if (one.operation, one.params) == (request.operation, request.params)]
    if request.operation in ENTERING:
        tried = next((number for number, one in enumerate(alike) if one.attempt == request.attempt + 1), None)
        sent = (one for one in alike[:tried] if one.failed_in is None)
        others = (one.attempt == request.attempt and one.outcome != ANSWERED for one in sent)
        return tried is not None and not any(others)  # else it is the further try of another
    return bool(alike)


async def _differing(recorded: Recorded, facts: AccountFacts) -> str | None:
    """What of the facts does not come of the answers; None where all does.

    Raises:
        NotAnsweredError: something was never asked, or has no answer of AWS's.
        AwsFailure: the session is over.
    """
    if facts.source is Source.LISTING and await list_users(recorded) != facts.listed_users:
        return "the list of users"
    found = await look_up_users(recorded, (name for name in facts.lookups if name != ROOT_USER))
    if facts.report is not None:
        found = await follow_renamed(recorded, facts.report, found)
    root = await _root(recorded)
    if root is not None:
        found[ROOT_USER] = root
    if found.keys() != facts.lookups.keys():
        return "whom was looked up"
    wrong = [f"the look-up of {name}" for name, one in facts.lookups.items() if one != found[name]]
    if await _root_keys(recorded, facts, root) is not facts.root_keys_present:
        wrong.append("whether there are root keys")
    if facts.quarantine is not None and facts.quarantine != await quarantined_users(recorded):
        wrong.append("who is in quarantine")
    if facts.service_credentials is not None and facts.service_credentials != await service_credentials(recorded):
        wrong.append("the service-specific credentials")
    return next(iter(wrong), None)


async def _root(recorded: Recorded) -> UserLookup | None:
    """The root user's keys, where they were asked for: nothing of it counts where a part was refused."""
    if not recorded.has(LIST_KEYS):
        return None
    try:
        return await look_up_root(recorded)
    except AwsFailure:
        return None


async def _root_keys(recorded: Recorded, facts: AccountFacts, root: UserLookup | None) -> bool | None:
    """As gathering has it: the account is asked where neither the report nor the root user's own keys tell."""
    if facts.report is not None and ReportColumns.of(facts.report.users).is_root.any():
        return None
    if root is not None:
        return bool(root.keys)
    try:
        return await root_keys_present(recorded)
    except AwsFailure:
        return None
