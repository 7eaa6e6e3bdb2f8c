"""What may be done next, for every state of a key one or two facts away from a good one; and that these rules bite.

`unsafe` says for itself what must hold before a step, without the code that decides. Each seeded bug takes a check
out of that code: then some state must show a step that is not safe, else the rules see nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest

from auditor.model import KeyStatus, LiveKey, NeverUsed, StoredSecret, UnknownUse, UsedAt
from auditor.remediation import lifecycle
from auditor.remediation.decision import Decision, Do, Live, Progress, Step, Terms, Wait
from auditor.remediation.lifecycle import decide, sentinel_of
from auditor.remediation.plan import Basis, Delivery, Item, Kind, PlannedKey, Use, Waits
from auditor.remediation.protection import Stopped
from tests.builders import AS_OF, ago

OLD, NEW, STRANGE, VERSION = "AKIAOLD", "AKIANEW", "AKIASTRANGE", "version-1"
WAITS = Waits(grace_days=7, quiet_days=14, quarantine_days=15)
MARGIN = timedelta(hours=6)


@dataclass(frozen=True)
class State:
    """All that a decision rests on."""

    item: Item
    done: Progress
    live: Live
    terms: Terms

    def decided(self) -> Decision:
        """What comes next."""
        return decide(self.item, self.done, self.live, self.terms)

    def to(self, **changes: Any) -> "State":
        """With another part, or with fields of a part changed: done__held="x"."""
        state = self
        for name, value in changes.items():
            part, _, field = name.partition("__")
            inner = getattr(state, part)
            changed = inner.model_copy(update={field: value}) if part == "item" else replace(inner, **{field: value})
            state = replace(state, **{part: changed})
        return state

    def with_key(self, key_id: str, **changes: Any) -> "State":
        """With a live key changed."""
        keys = tuple(replace(key, **changes) if key.access_key_id == key_id else key for key in self.live.keys)
        return self.to(live__keys=keys)

    def without_key(self, key_id: str) -> "State":
        """With a live key gone."""
        return self.to(live__keys=tuple(key for key in self.live.keys if key.access_key_id != key_id))


def item_of(kind: Kind, through: Kind) -> Item:
    """An item of a key that was used long ago."""
    status = KeyStatus.INACTIVE if kind is Kind.DELETE else KeyStatus.ACTIVE
    return Item(
        id="item",
        kind=kind,
        through=through,
        account_id="111122223333",
        account_name=None,
        partition="aws",
        user="app",
        user_id="AIDA",
        key=PlannedKey(id=OLD, created_at=ago(300), status=status, last_used=Use(at=ago(200))),
        basis=(Basis(control="key-age", severity="high", reason="old"),),
        owner="payments",
        inactive_since=ago(100) if kind is Kind.DELETE else None,
        delivery=Delivery(secret="auditor/app") if kind is Kind.ROTATE else None,
        waits=WAITS,
    )


def key(key_id: str, status: KeyStatus = KeyStatus.ACTIVE, used: float = 200) -> LiveKey:
    """A live key."""
    return LiveKey(key_id, status, ago(300 if key_id == OLD else 60), UsedAt(ago(used), "s3"))


def good_states() -> dict[str, tuple[State, Step]]:
    """For each step a state in which it is the right one."""
    rotate = item_of(Kind.ROTATE, Kind.DELETE)
    fresh = State(rotate, Progress(), Live("AIDA", (key(OLD),)), Terms(AS_OF, Kind.DELETE))
    sentinel = StoredSecret({sentinel_of(rotate): frozenset({"AWSCURRENT"})})
    prepared = fresh.to(done__prepared_at=ago(0.01), live__stored=sentinel)
    both = StoredSecret({**sentinel.versions, VERSION: frozenset({"AWSPENDING"})})
    made = Progress(ago(60), NEW, VERSION, ago(60))
    created = replace(prepared, done=made).to(live__stored=both, live__keys=(key(OLD), key(NEW, used=1)))
    verified = created.to(done__verified_at=ago(60))
    moved = StoredSecret({VERSION: frozenset({"AWSCURRENT"})})
    published = verified.to(done__published_at=ago(60), done__adopted_at=ago(50), live__stored=moved)
    quiet = published.to(done__announced=ago(2))
    off = replace(published.done, inactive_at=ago(20), used_when_inactive=ago(200), announced=ago(4))
    inactive = replace(published, done=off).with_key(OLD, status=KeyStatus.INACTIVE)
    unused = replace(fresh, item=item_of(Kind.DEACTIVATE, Kind.DEACTIVATE)).to(done__announced=ago(2))
    leaked = unused.to(item__urgent=True, done__announced=None).with_key(OLD, last_used=UsedAt(ago(0.1), "s3"))
    retained = replace(fresh, item=item_of(Kind.DELETE, Kind.DELETE)).to(done__announced=ago(4))
    return {
        "prepare": (fresh, Step.PREPARE),
        "create": (prepared, Step.CREATE),
        "verify": (created, Step.VERIFY),
        "publish": (verified, Step.PUBLISH),
        "deactivate after a rotation": (quiet, Step.DEACTIVATE),
        "deactivate what is unused": (unused, Step.DEACTIVATE),
        "deactivate what leaked": (leaked, Step.DEACTIVATE),
        "delete after a rotation": (inactive, Step.DELETE),
        "delete what is kept inactive": (retained.with_key(OLD, status=KeyStatus.INACTIVE), Step.DELETE),
    }


CHANGES: dict[str, Callable[[State], State]] = {
    "another user": lambda it: it.to(live__user_id="AIDB"),
    "no user": lambda it: it.to(live__user_id=None),
    "protected": lambda it: it.to(live__stopped=Stopped("protected", is_sure=True)),
    "may be protected": lambda it: it.to(live__stopped=Stopped("unreadable", is_sure=False)),
    "held": lambda it: it.to(done__held="incident"),
    "not approved": lambda it: it.to(terms__approved=None),
    "approved to rotate": lambda it: it.to(terms__approved=Kind.ROTATE),
    "approved to deactivate": lambda it: it.to(terms__approved=Kind.DEACTIVATE),
    "expired": lambda it: it.to(terms__may_begin=False),
    "closed": lambda it: it.to(terms__closed="frozen"),
    "own key": lambda it: it.to(terms__own_keys=(OLD,)),
    "old key gone": lambda it: it.without_key(OLD),
    "old key active": lambda it: it.with_key(OLD, status=KeyStatus.ACTIVE),
    "old key inactive": lambda it: it.with_key(OLD, status=KeyStatus.INACTIVE),
    "old key used now": lambda it: it.with_key(OLD, last_used=UsedAt(ago(0.1), "s3")),
    "old key used after it was off": lambda it: it.with_key(OLD, last_used=UsedAt(ago(15), "s3")),
    "old key never used": lambda it: it.with_key(OLD, last_used=NeverUsed()),
    "old key's use unknown": lambda it: it.with_key(OLD, last_used=UnknownUse("throttled")),
    "old key made anew": lambda it: it.with_key(OLD, created_at=ago(1)),
    "new key gone": lambda it: it.without_key(NEW),
    "new key inactive": lambda it: it.with_key(NEW, status=KeyStatus.INACTIVE),
    "new key not used": lambda it: it.with_key(NEW, last_used=NeverUsed()).to(done__adopted_at=None),
    "new key used by us": lambda it: it.with_key(NEW, last_used=UsedAt(ago(1), "sts")).to(done__adopted_at=None),
    "a stranger's key": lambda it: it.to(live__keys=(*it.live.keys, key(STRANGE))),
    "no secret": lambda it: it.to(live__stored=None),
    "another version current": lambda it: it.to(live__stored=StoredSecret({"theirs": frozenset({"AWSCURRENT"})})),
    "the secret rotates itself": lambda it: it.to(live__stored=StoredSecret({}, rotates_itself=True)),
    "somebody's parameter": lambda it: it.to(live__stored=StoredSecret({"version 1": frozenset()}, is_foreign=True)),
    "not announced": lambda it: it.to(done__announced=None),
    "announced an hour ago": lambda it: it.to(done__announced=ago(1 / 24)),
    "announced a day ago": lambda it: it.to(done__announced=ago(1.5)),
    "announced long ago": lambda it: it.to(done__announced=ago(40)),
    "inactive since yesterday": lambda it: it.to(
        **({"done__inactive_at": ago(1)} if it.done.inactive_at else {"item__inactive_since": ago(1)})
    ),
    "inactive since nobody knows": lambda it: it.to(item__inactive_since=None),
    "published today": lambda it: it.to(
        **({"done__published_at": ago(0.5), "done__verified_at": ago(0.5)} if it.done.published_at else {})
    ),
}


def states() -> Iterator[tuple[str, State]]:
    """Every good state, and every one that is one or two changes away from it."""
    for name, (good, _) in good_states().items():
        for number in range(3):
            for changes in combinations(CHANGES, number):
                state = good
                for change in changes:
                    state = CHANGES[change](state)
                yield f"{name}, {', '.join(changes)}", state


def unsafe(state: State, step: Step) -> list[str]:
    """What is wrong with making this step in this state."""
    item, done, live, terms = state.item, state.done, state.live, state.terms
    old, new = live.key(OLD), live.key(NEW)
    wanted = {Step.DEACTIVATE: Kind.DEACTIVATE, Step.DELETE: Kind.DELETE}.get(step, Kind.ROTATE)
    rules = {
        "the user is another": live.user_id == item.user_id,
        "protected": live.stopped is None,
        "held": done.held is None,
        "not approved": terms.approved is not None and terms.approved.rank >= wanted.rank,
    }
    if step in {Step.PREPARE, Step.CREATE}:
        rules |= {
            "not the only key": [one.access_key_id for one in live.keys] == [OLD],
            "not the key of the plan": old is not None and old.created_at == item.key.created_at,
            "not active": old is not None and old.status is KeyStatus.ACTIVE,
            "expired": terms.may_begin,
            "the auditor's own": OLD not in terms.own_keys,
            "the store is not ours": live.stored is None or not (live.stored.rotates_itself or live.stored.is_foreign),
        }
    if step is Step.CREATE:
        rules["the store is not proved"] = done.prepared_at is not None and live.stored is not None
    if step is Step.PUBLISH:
        rules["not what is pending"] = live.stored is not None and VERSION in live.stored.versions
        rules["not verified"] = done.verified_at is not None
    if step in {Step.DEACTIVATE, Step.DELETE}:
        rules |= disruptive_rules(state, step, old)
        is_rotated = item.kind is Kind.ROTATE
        is_read = live.stored is not None and live.stored.current == VERSION
        rules["applications may read the old one"] = not is_rotated or is_read
        rules["no other key works"] = not is_rotated or (new is not None and new.status is KeyStatus.ACTIVE)
    return [rule for rule, holds in rules.items() if not holds]


def disruptive_rules(state: State, step: Step, old: LiveKey | None) -> dict[str, bool]:
    """What must hold before a key stops working."""
    item, done, terms = state.item, state.done, state.terms
    if old is None:
        return {"the key is gone": False}
    used = old.last_used.at if isinstance(old.last_used, UsedAt) else old.created_at
    notice = timedelta(hours=24 if step is Step.DEACTIVATE else 72)
    at_once = item.urgent and step is Step.DEACTIVATE
    rules = {
        "its use is not known": not isinstance(old.last_used, UnknownUse),
        "used after it was announced": at_once
        or done.announced is None
        or not isinstance(old.last_used, UsedAt)
        or used <= done.announced,
        "not announced in time": at_once or (done.announced is not None and terms.at - done.announced >= notice),
        "closed": at_once or terms.closed is None,
    }
    if step is Step.DEACTIVATE:
        rules |= {
            "not active": old.status is KeyStatus.ACTIVE,
            "in use": item.urgent or terms.at - used >= timedelta(days=WAITS.quiet_days) + MARGIN,
            "not adopted": item.kind is not Kind.ROTATE or done.adopted_at is not None,
            "no time to move": done.published_at is None or terms.at - done.published_at >= timedelta(days=7),
            "the auditor's own": OLD not in terms.own_keys,
        }
    else:
        since = done.inactive_at or item.inactive_since
        before = done.used_when_inactive if done.inactive_at else item.key.last_used.at
        is_used = isinstance(old.last_used, UsedAt) and (before is None or used > before)
        rules |= {
            "not inactive": old.status is KeyStatus.INACTIVE,
            "not long enough": since is not None and terms.at - since >= timedelta(days=WAITS.quarantine_days),
            "used since": not is_used,
            "not to be deleted": item.through is Kind.DELETE,
        }
    return rules


def faults() -> list[str]:
    """Steps that are not safe, over all states."""
    found = []
    for name, state in states():
        decision = state.decided()
        if isinstance(decision, Do):
            found += [f"{name}: {decision.step.value}: {rule}" for rule in unsafe(state, decision.step)]
    return found


def test_no_step_is_made_that_is_not_safe() -> None:
    """Some thousand states; in the good ones the step is made, so that the others mean something."""
    for name, (good, step) in good_states().items():
        assert good.decided() == Do(step), name
    assert sum(1 for _ in states()) > 5000
    assert faults() == []


def nothing(*_: object) -> Iterator[Decision]:
    """A check that was taken out."""
    yield from ()


@pytest.mark.parametrize(
    ("check", "found"),
    [
        ("_adoption", "not adopted"),
        ("_quiet", "in use"),
        ("_new_key_lost", "no other key works"),
        ("_active_again", "not inactive"),
        ("_used_since", "used since"),
        ("_read_elsewhere", "applications may read the old one"),
        ("_unusable", "the store is not ours"),
        ("_changed", "not the key of the plan"),
    ],
)
def test_a_seeded_bug_is_found(monkeypatch: pytest.MonkeyPatch, check: str, found: str) -> None:
    """Without a check, the rules above show a step that is not safe."""
    monkeypatch.setattr(lifecycle, check, nothing)
    assert any(fault.endswith(found) for fault in faults())


@pytest.mark.parametrize(
    ("name", "cadence", "expected"),
    [
        ("deactivate what is unused", 100, "deactivate"),
        ("deactivate what is unused", 365, "the key must be quiet for 365 days"),
        ("deactivate what is unused", "the tag has 'quarterly'", "the tag has 'quarterly'"),
        ("deactivate after a rotation", 365, "the key must be quiet for 365 days"),
        ("delete what is kept inactive", 365, "the key stays inactive for a while"),
        ("delete what is kept inactive", "the tag has 'quarterly'", "the tag has 'quarterly'"),
    ],
)
def test_a_tag_that_says_now_how_long_a_key_rests_counts(name: str, cadence: int | str, expected: str) -> None:
    """Whoever sets it after the plan was made is heard; what it says instead of days waits for who meant something."""
    decision = good_states()[name][0].to(live__cadence=cadence).decided()
    told = decision.step.value if isinstance(decision, Do) else decision.reason if isinstance(decision, Wait) else ""
    assert told.startswith(expected), decision


def test_a_leaked_key_does_not_wait_for_its_rhythm() -> None:
    """Others have it."""
    state, step = good_states()["deactivate what leaked"]
    for cadence in (365, "the tag has 'quarterly'"):
        assert state.to(live__cadence=cadence).decided() == Do(step)
