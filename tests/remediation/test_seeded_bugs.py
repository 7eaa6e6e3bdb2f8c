"""Bugs that rotators in the field have, put into the engine: the tests that are to find them do.

Those of single checks are in `test_lifecycle`; these are about what is done, and written down, around a step.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest

from auditor.model import KeyStatus
from auditor.remediation import lifecycle
from auditor.remediation.decision import Decision, Live, Progress, Terms
from auditor.remediation.hands import Hands
from auditor.remediation.healing import Healer
from auditor.remediation.journal import Event, Journal, Row
from auditor.remediation.key_state import KeyState
from auditor.remediation.plan import Item
from auditor.remediation.progress import Book
from auditor.remediation.tracked import Tracked
from tests.remediation.test_engine import (
    test_two_keys_are_refused_and_none_is_removed as two_keys_are_refused,
)
from tests.remediation.test_engine import (
    test_without_proof_a_strangers_key_is_left_alone as a_strangers_key_is_left_alone,
)
from tests.remediation.test_kill_matrix import calm, rotation
from tests.remediation.test_many_plans import OFF_AGAIN, ON, PLANNED, Act, fails, ticks
from tests.remediation.test_seen import (
    test_a_key_that_somebody_switched_off_and_on_again_is_needed as a_key_that_is_needed,
)
from tests.remediation.test_seen import (
    test_a_key_that_was_on_again_is_not_deleted_by_its_old_date as a_key_that_was_on_again_is_not_deleted,
)
from tests.remediation.world import Death, World, item_of


def test_a_guess_whose_key_it_is_is_found(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that appeared is taken for ours without CloudTrail's proof, and a colleague's is deleted."""

    def guess(healer: Healer, tracked: Tracked, _intent: Row, strangers: list[str]) -> Decision | None:
        return healer._discard(tracked, strangers[0], "it must be ours")

    monkeypatch.setattr(Healer, "_whose", guess)
    with pytest.raises(AssertionError):
        a_strangers_key_is_left_alone(world, tmp_path)


def test_making_room_is_found(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are two keys, the other one is deleted so that a new one fits."""
    decided, create = lifecycle._begin, Hands.create

    def begin(item: Item, done: Progress, live: Live, terms: Terms) -> Iterator[Decision]:
        alone = tuple(key for key in live.keys if key.access_key_id == item.key.id)
        yield from decided(item, done, replace(live, keys=alone), terms)

    def evict(hands: Hands, *arguments: object) -> str:
        for key in hands.look().keys:
            if key.access_key_id != hands.item.key.id:
                hands.delete(key.access_key_id)
        return create(hands, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(lifecycle, "_begin", begin)
    monkeypatch.setattr(Hands, "create", evict)
    with pytest.raises(AssertionError):
        two_keys_are_refused(world, tmp_path)


@pytest.mark.parametrize("is_off_anew", [False, True])
def test_forgetting_what_was_seen_is_found(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_off_anew: bool
) -> None:
    """Only how the key is now counts, so that whoever needed it meanwhile is forgotten."""
    monkeypatch.setattr(Book, "see", lambda book, item, _live, _now: book.ledger.key(item.key.id))
    rule = partial(a_key_that_was_on_again_is_not_deleted, is_held=False) if is_off_anew else a_key_that_is_needed
    with pytest.raises(AssertionError):
        rule(world, tmp_path)


ROLLED_BACK: list[Act] = [("person_rolls_back", (None, "broken")), ("person_says", (0, Event.RELEASED))]

STORIES = {
    "nobody is asked who needed it": [PLANNED, *ticks(60), OFF_AGAIN, *ticks(1), ON, *ticks(1, 30, 30, 30)],
    "its old date counts": [PLANNED, *ticks(60, 30), ON, *ticks(1), OFF_AGAIN, *ticks(30, 330, 30, 80)],
    "a rollback without an answer counts as none": [PLANNED, *ticks(60, 30, 200), *ROLLED_BACK, *ticks(140, 80)],
}
"""Several hands at one key, and the bug by which that is not safe any more."""


@pytest.mark.parametrize("has_bug", [False, True])
@pytest.mark.parametrize("bug", STORIES)
def test_what_is_forgotten_of_a_key_is_found(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str, *, has_bug: bool
) -> None:
    """By rules that judge what happens, and do not know what is remembered."""

    def seen_active(state: KeyState) -> datetime:
        return max(one.at for one in state.sights if one.status is KeyStatus.ACTIVE)

    bugs: dict[str, tuple[object, str, object]] = {
        "nobody is asked who needed it": (KeyState, "needed_at", None),
        "its old date counts": (lifecycle, "_switched_on_since", lambda *_: iter(())),
        "a rollback without an answer counts as none": (KeyState, "active_at", property(seen_active)),
    }
    if has_bug:
        monkeypatch.setattr(*bugs[bug])
    assert (fails(world, tmp_path, STORIES[bug]) is not None) is has_bug


@pytest.mark.parametrize("has_bug", [False, True])
def test_a_key_that_nothing_announced_is_found(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_bug: bool
) -> None:
    """Nothing is written before a step: killed right after CreateAccessKey, the new key is nobody's."""
    world.fault = calm
    calls = Death()
    rotation(world, item_of(world, "user-0"), tmp_path / "clean", calls)
    add = Journal.add

    def forgets(journal: Journal, plan: str, item: str, event: Event, /, **told: object) -> Row:
        return journal.rows[-1] if event is Event.INTENT else add(journal, plan, item, event, **told)

    if has_bug:
        monkeypatch.setattr(Journal, "add", forgets)
    death = Death(calls.names.index("create_access_key"), after=True)
    expected = pytest.raises(AssertionError, match="is nobody's") if has_bug else nullcontext()
    with expected:
        rotation(world, item_of(world, "user-1"), tmp_path / "killed", death)
