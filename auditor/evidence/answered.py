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
    NotAudited,
    NotAuditedCode,
    Request,
    Source,
    UnknownUse,
    UserLookup,
)
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
    is_of_aws = load_manifest(run).caller_arn is not None
    kept, not_kept = 0, []
    for place in places:
        outcome = read_result(run, place.name).outcome
        wrong = "it came from a file, in a run that asked AWS" if is_of_aws and _is_file(outcome) else None
        requests = _requests(place)
        if requests is None:
            looked_up = (name for name in (LISTING, KEYS, QUARANTINE, SERVICE_CREDENTIALS) if (place / name).exists())
            not_kept += [f"{RAW}/{place.name}/{name}" for name in looked_up if not _is_file(outcome)]
        elif wrong is None:
            wrong = differing(requests, outcome)
            kept += wrong is None
        if wrong is not None:
            raise BagError(f"{RAW}/{place.name}: {wrong}")
        progress.advance()
    return Answered(kept, tuple(not_kept))


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
        is_ours = outcome.reason.startswith("The credentials no longer work")  # which nobody has to ask AWS for
        return (
            None
            if is_refused or is_ours or outcome.code not in REFUSALS
            else f"nothing of it was refused, by {REQUESTS}"
        )
    is_reported = any((one.operation, one.outcome) == ("iam:GetCredentialReport", ANSWERED) for one in requests)
    if (outcome.source is Source.CREDENTIAL_REPORT) is not is_reported:
        return f"its credential report was {'received' if is_reported else 'never received'}, by {REQUESTS}"
    try:
        recorded = Recorded(requests)
        wrong = in_loop(_differing(recorded, outcome))
        if wrong is None and not _lacked_a_session(outcome):
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
    kept = {name: one for name, one in facts.lookups.items() if _was_not_sent(one)}
    asked = (name for name in facts.lookups if name != ROOT_USER and name not in kept)
    found = kept | await look_up_users(recorded, asked)
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
    kept_quarantine, kept_credentials = facts.quarantine, facts.service_credentials
    if (
        kept_quarantine
        and not _is_unsent(kept_quarantine.failed)
        and kept_quarantine != await quarantined_users(recorded)
    ):
        wrong.append("who is in quarantine")
    is_sent = kept_credentials is not None and not _is_unsent(kept_credentials.failed)
    if is_sent and kept_credentials != await service_credentials(recorded):
        wrong.append("the service-specific credentials")
    return next(iter(wrong), None)


def _lacked_a_session(facts: AccountFacts) -> bool:
    """Whether anything failed before it was sent: then not all that was tried can be made again."""
    beside = (facts.quarantine, facts.service_credentials)
    return any(map(_was_not_sent, facts.lookups.values())) or any(one and _is_unsent(one.failed) for one in beside)


def _was_not_sent(lookup: UserLookup) -> bool:
    """Whether a part of it failed before it was sent, for want of a session: of that there is no request."""
    uses = (key.last_used for key in lookup.keys)
    whys = (lookup.failed, lookup.tags_failed, *(used.why for used in uses if isinstance(used, UnknownUse)))
    return any(map(_is_unsent, whys))


def _is_unsent(why: str | None) -> bool:
    return why is not None and why.startswith("sts:")


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
