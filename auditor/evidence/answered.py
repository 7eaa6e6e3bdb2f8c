"""The look-ups of a run, made again of AWS's own answers: what is judged is what AWS said, and no more.

The credential report is kept as it came. Look-ups are kept in a form of auditor's, and beside them what AWS answered:
the code that made the one of the other makes it again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from auditor.answers import REQUESTS, decode_requests
from auditor.aws.account_wide import quarantined_users, service_credentials
from auditor.aws.failures import AwsFailure
from auditor.aws.keys import follow_renamed, list_users, look_up_root, look_up_users, root_keys_present
from auditor.aws.loop import run as in_loop
from auditor.aws.recorded import Recorded
from auditor.evidence.bag import BagError
from auditor.gather import Progress
from auditor.history import RAW
from auditor.history.raw import read_result
from auditor.model import ROOT_USER, AccountFacts, LiveKey, Request, Source, UnknownUse, UserLookup


@dataclass(frozen=True, slots=True)
class Answered:
    """Accounts whose look-ups come of AWS's answers, and those whose answers nobody kept."""

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
    kept, not_kept = 0, []
    for place in places:
        is_kept = _confirm(run, place)
        kept += is_kept is True
        if is_kept is False:
            not_kept.append(place.name)
        progress.advance()
    return Answered(kept, tuple(not_kept))


def _confirm(run: Path, place: Path) -> bool | None:
    """Whether an account's answers were kept; None where it has no look-ups; BagError where they say something else."""
    facts = read_result(run, place.name).outcome
    if not isinstance(facts, AccountFacts) or facts.source is Source.FILE or not _looked_up(facts):
        return None
    if not (place / REQUESTS).exists():
        return False
    try:
        requests = list(decode_requests((place / REQUESTS).read_bytes()))
    except ValueError as error:
        raise BagError(f"{RAW}/{place.name}: {error}") from error
    if all(request.params is None for request in requests):
        return False
    wrong = differing(requests, facts)
    if wrong is not None:
        raise BagError(f"{RAW}/{place.name}: {wrong} is not what AWS answered, by {REQUESTS}")
    return True


def differing(requests: Iterable[Request], facts: AccountFacts) -> str | None:
    """What of an account's look-ups does not come of the answers that were kept; None where all does."""
    try:
        return in_loop(_differing(Recorded(requests), facts))
    except AwsFailure as failure:
        return f"something ({failure})"


def _looked_up(facts: AccountFacts) -> bool:
    asked = (facts.lookups, facts.listed_users, facts.quarantine, facts.service_credentials)
    return any(asked) or (facts.root_keys_present is not None and ROOT_USER not in facts.lookups)


async def _differing(recorded: Recorded, facts: AccountFacts) -> str | None:
    """What of the facts does not come of the answers; None where all does.

    Raises:
        AwsFailure: something was never asked, or its answer cannot be read.
    """
    if facts.listed_users and await list_users(recorded) != facts.listed_users:
        return "the list of users"
    found = await look_up_users(recorded, (name for name in facts.lookups if name != ROOT_USER))
    if facts.report is not None:
        found = await follow_renamed(recorded, facts.report, found)
    if ROOT_USER in facts.lookups:
        found[ROOT_USER] = await look_up_root(recorded)
    elif facts.root_keys_present is not None and await root_keys_present(recorded) is not facts.root_keys_present:
        return "whether there are root keys"
    wrong = next((name for name, one in facts.lookups.items() if not _is_same(one, found[name])), None)
    if wrong is not None:
        return f"the look-up of {wrong}"
    kept, again = facts.quarantine, await quarantined_users(recorded) if facts.quarantine else None
    if kept and again and (kept.users, kept.failed is None) != (again.users, again.failed is None):
        return "who is in quarantine"
    held, anew = facts.service_credentials, await service_credentials(recorded) if facts.service_credentials else None
    if held and anew and (held.found, held.failed is None) != (anew.found, anew.failed is None):
        return "the service-specific credentials"
    return None


def _is_same(kept: UserLookup, again: UserLookup) -> bool:
    """Whether a look-up is what comes of the answers; why something is not known may be told in other words."""
    if kept.failed is not None:
        return again.failed is not None
    said = [
        (one.failed is None, one.exists, one.renamed_to, one.tags_failed is None, one.tags, *map(_key, one.keys))
        for one in (kept, again)
    ]
    return said[0] == said[1]


def _key(key: LiveKey) -> Mapping[str, object]:
    used = "unknown" if isinstance(key.last_used, UnknownUse) else key.last_used
    return {"id": key.access_key_id, "status": key.status, "created_at": key.created_at, "last_used": used}
