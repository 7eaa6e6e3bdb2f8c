"""The look-ups of a run, made again of AWS's own answers: what is judged is what AWS said, no more and no less.

The credential report is kept as it came. Look-ups are kept in a form of auditor's, and beside them what AWS answered:
the code that made the one of the other makes it again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from auditor.answers import KEYS, LISTING, QUARANTINE, REQUESTS, SERVICE_CREDENTIALS, decode_requests
from auditor.aws.account_wide import quarantined_users, service_credentials
from auditor.aws.failures import AwsFailure
from auditor.aws.keys import follow_renamed, list_users, look_up_root, look_up_users, root_keys_present
from auditor.aws.loop import run as in_loop
from auditor.aws.recorded import NotAnsweredError, Recorded
from auditor.evidence.bag import BagError
from auditor.gather import Progress
from auditor.history import RAW, load_manifest
from auditor.history.raw import read_result
from auditor.model import (
    ANSWERED,
    ROOT_USER,
    AccountFacts,
    ControlId,
    NotAudited,
    NotAuditedCode,
    Policy,
    Request,
    Source,
    UserLookup,
)
from auditor.policy import asks
from auditor.report_columns import ReportColumns

REFUSALS = frozenset({NotAuditedCode.ACCESS_DENIED, NotAuditedCode.ROLE_REFUSED, NotAuditedCode.THROTTLED})
"""Reasons of which AWS itself is the author."""


@dataclass(frozen=True, slots=True)
class Answered:
    """How many accounts' look-ups come of AWS's answers, and look-ups of which no answers were kept."""

    accounts: int
    not_kept: tuple[str, ...]


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
    manifest = load_manifest(run)
    is_of_aws = manifest.caller_arn is not None
    kept, not_kept = 0, []
    for place in places:
        outcome = read_result(run, place.name).outcome
        wrong = _unasked(outcome, manifest.policy) if is_of_aws else None
        requests = _requests(place)
        if requests is None:
            looked_up = (name for name in (LISTING, KEYS, QUARANTINE, SERVICE_CREDENTIALS) if (place / name).exists())
            not_kept += [f"{RAW}/{place.name}/{name}" for name in looked_up if not _is_file(outcome)]
        elif wrong is None:
            wrong = differing(requests, outcome)
            kept += wrong is None and isinstance(outcome, AccountFacts)
        if wrong is not None:
            raise BagError(f"{RAW}/{place.name}: {wrong}")
        progress.advance()
    return Answered(kept, tuple(not_kept))


def _unasked(outcome: AccountFacts | NotAudited, policy: Policy) -> str | None:
    """What AWS was not asked, in a run that asked it; None where all was that the policy wants."""
    if isinstance(outcome, NotAudited):
        return None
    wanted = {
        "it came from a file, in a run that asked AWS": not _is_file(outcome),
        "nobody asked who is in quarantine": outcome.quarantine or not asks(policy, ControlId.QUARANTINED_KEY),
        "nobody asked for service-specific credentials": outcome.service_credentials
        or not asks(policy, ControlId.SERVICE_CREDENTIAL_AGE),
    }
    return next((what for what, is_asked in wanted.items() if not is_asked), None)


def _is_file(outcome: AccountFacts | NotAudited) -> bool:
    return isinstance(outcome, AccountFacts) and outcome.source is Source.FILE


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


def differing(requests: Iterable[Request], outcome: AccountFacts | NotAudited) -> str | None:
    """What of how an account ended does not come of the answers that were kept; None where all does."""
    requests = list(requests)
    if isinstance(outcome, NotAudited):
        is_refused = not requests or any(one.outcome != ANSWERED for one in requests)
        return None if is_refused or outcome.code not in REFUSALS else f"nothing of it was refused, by {REQUESTS}"
    is_reported = any((one.operation, one.outcome) == ("iam:GetCredentialReport", ANSWERED) for one in requests)
    if (outcome.source is Source.CREDENTIAL_REPORT) is not is_reported:
        return f"its credential report was {'received' if is_reported else 'never received'}, by {REQUESTS}"
    try:
        recorded = Recorded(requests)
        wrong = in_loop(_differing(recorded, outcome))
        if wrong is None:
            recorded.confirm_all_given()
    except (NotAnsweredError, AwsFailure) as error:
        return f"its look-ups do not follow from {REQUESTS}: {error}"
    return f"{wrong} is not what AWS answered, by {REQUESTS}" if wrong is not None else None


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
    if not recorded.has("iam:ListAccessKeys"):
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
