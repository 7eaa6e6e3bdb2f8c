"""Keys that were made here and whose secret nobody can have: by the journal, and by what AWS shows. Reads only."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from auditor.aws.failures import AwsFailure
from auditor.remediation.decision import Step
from auditor.remediation.hands import Hands
from auditor.remediation.lifecycle import is_others_use
from auditor.remediation.plan import Item
from auditor.remediation.tracked import Tracked


@dataclass(frozen=True, slots=True)
class Orphan:
    """A key of an item, why it may be nobody's, and what to do; without a key where it cannot be known."""

    item: Item
    key: str | None
    why: str
    next_step: str
    is_known: bool = True
    """Whether AWS could be asked; where not, it may be one."""


def find_orphans(tracked: Iterable[Tracked], hands: Callable[[Item], Hands]) -> list[Orphan]:
    """Every orphan among the keys of these items, and what could not be looked at."""
    found: list[Orphan] = []
    tracked = list(tracked)
    made = {one.done.new_key for one in tracked}
    for one in tracked:
        is_creating = one.begun_as(Step.CREATE) is not None
        if not is_creating and one.done.new_key is None:
            continue
        try:
            found += _unfinished(one, hands(one.item), made) if is_creating else _unreadable(one, hands(one.item))
        except AwsFailure as failure:
            step = "Allow what is refused, and look again."
            found.append(Orphan(one.item, one.made or one.done.new_key, str(failure), step, is_known=False))
    return found


def _unfinished(tracked: Tracked, hands: Hands, made: Collection[str | None]) -> list[Orphan]:
    """Keys that appeared since one was to be made of which no result is known, and that are no other item's."""
    intent = tracked.begun_as(Step.CREATE)
    assert intent is not None
    others = {*intent.told["keys"], *made}
    appeared = [
        key.access_key_id
        for key in hands.look().keys
        if key.access_key_id not in others and not is_others_use(key.last_used)  # whoever uses it has its secret
    ]
    why = f"it appeared after {intent.at:%Y-%m-%d %H:%M}Z, when a key was to be made, and no secret is known"
    step = "`auditor remediate tick` deletes it where it is proved to be ours, and else says what to do."
    if tracked.ended is not None:
        step = "Find out whose it is, and delete it if it is nobody's: its item was closed, so that nothing here will."
    return [Orphan(tracked.item, key, why, step) for key in appeared]


def _unreadable(tracked: Tracked, hands: Hands) -> list[Orphan]:
    """The new key, where it is there and its version of the secret is not, holds another, or will be read by nobody."""
    done, live = tracked.done, hands.look()
    assert done.new_key is not None
    if live.key(done.new_key) is None:
        return []
    new = live.key(done.new_key)
    if tracked.ended is not None and not done.was_published and new is not None and not is_others_use(new.last_used):
        why = f"its item ended before any application could read it: {tracked.ended}"
        return [Orphan(tracked.item, done.new_key, why, "Delete it, where nobody took it out of its store by hand.")]
    if live.stored is not None and live.stored.is_deleted:
        why = "its secret is scheduled for deletion, so that no application can read it"
        return [Orphan(tracked.item, done.new_key, why, "Restore the secret (secretsmanager:RestoreSecret).")]
    kept = live.stored is not None and done.version in live.stored.versions
    if kept and done.version is not None and hands.stored_key(done.version) == done.new_key:
        return []
    delivery = tracked.item.delivery
    why = f"{delivery.secret if delivery else 'the store'} does not hold its secret any more"
    step = "Nobody new can read it: see that the application has it, or switch it off and plan a rotation."
    return [Orphan(tracked.item, done.new_key, why, step)]
