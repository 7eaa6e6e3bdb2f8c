"""Whatever happens in whatever order - applications, colleagues, time, crashes, faults, two operators - keys are safe.

Every write in AWS by the engine is looked at when it is made, by rules of its own: it never touches a colleague's key,
switches the old one off only when it was quiet and the new one is in use, and deletes only what was off for long.
`AUDITOR_EXAMPLES=500 pytest tests/remediation/test_state_machine.py` tries more stories.
"""

import os
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from moto.iam.models import iam_backends
from moto.secretsmanager.models import secretsmanager_backends

from auditor.errors import ApprovalError
from auditor.model import UsedAt
from auditor.remediation.journal import Event
from auditor.remediation.journal_file import open_journal
from tests.builders import AS_OF
from tests.remediation.test_engine import put_back
from tests.remediation.test_kill_matrix import FAULTS, calm, once
from tests.remediation.world import OTHER, Death, World, claim, engine, item_of, plan_of, tick, tracked

QUIET, QUARANTINE = timedelta(days=2), timedelta(days=14)
"""As the item's waits are."""

NUMBERS = count()

EXAMPLES = os.environ.get("AUDITOR_EXAMPLES")
"""The tests themselves run without such variables."""


class Story(RuleBasedStateMachine):
    """One user's key, from its plan on."""

    world: ClassVar[World]
    base: ClassVar[Path]

    @initialize(days=st.sampled_from([(), (0,), (0, 8), (0, 8, 1.5), (0, 8, 1.5, 16)]))
    def begin(self, days: tuple[float, ...]) -> None:
        """The plan is approved to the end, and some of it was done in peace, as the application moved."""
        number = next(NUMBERS)
        self.world.fault = calm
        self.item = item_of(self.world, f"user-{number}")
        self.folder = self.base / f"story-{number}"
        claim(self.world, self.folder, plan_of(self.item, at=self.now))
        self.seen = len(self.world.cloud.call_log)
        self.old_used: datetime = AS_OF - timedelta(days=0.05)
        self.new_used = self.confirmed = self.meddled = self.secret_meddled = False
        self.theirs: set[str] = set()
        self.seen_active, self.was_off = self.now, False
        for number_of in days:
            self.world.clock.pass_(days=number_of)
            self.application_runs(moves=True)
            self.look()
            tick(self.world, self.folder)
            self.look_at_writes()

    @property
    def now(self) -> datetime:
        """The world's time."""
        return self.world.clock.now

    # --------------------------------------------------------------------------------------------- who acts

    @rule(moves=st.booleans())
    def application_runs(self, *, moves: bool) -> None:
        """It reads its secret, or goes on with the key that it had while that works."""
        keys, value = self.world.keys(self.item.user), self.world.stored(f"auditor/{self.item.user}")
        read = str(value.get("AccessKeyId", self.item.key.id)) if value and moves else self.item.key.id
        if keys.get(read) != "Active":
            assert self.meddled or read == self.item.key.id, f"the application reads {read}, which does not work"
            return
        self.world.cloud.record_use(read, UsedAt(self.now, "s3", "eu-central-1"))
        if read == self.item.key.id:
            self.old_used = self.now
        else:
            self.new_used = True

    @rule(hours=st.sampled_from([0.02, 1, 30, 80, 200, 400]))
    def time_passes(self, hours: float) -> None:
        """From a minute to weeks."""
        self.world.clock.pass_(hours=hours)

    @rule(moves=st.sampled_from([True, False, None]), days=st.sampled_from([1.25, 1.25, 3, 16]))
    def days_go_by(self, *, moves: bool | None, days: float) -> None:
        """As most do: the application runs or rests, time passes, and the scheduler ticks."""
        if moves is not None:
            self.application_runs(moves=moves)
        self.world.clock.pass_(days=days)
        self.look()
        tick(self.world, self.folder)
        self.look_at_writes()

    @rule(at=st.integers(0, 60), after=st.booleans(), commits=st.booleans(), lives=st.sampled_from([True, True, False]))
    def operator_ticks(self, at: int, *, after: bool, commits: bool, lives: bool) -> None:
        """To the end, or killed at some call or commit."""
        death = None if lives else Death(at, after)
        self.look(is_seen=lives)
        tick(self.world, self.folder, **({"commits": death} if commits else {"death": death}))
        self.look_at_writes()

    @rule(at=st.integers(0, 30), fault=st.sampled_from(sorted(FAULTS)))
    def operator_ticks_in_bad_weather(self, at: int, fault: str) -> None:
        """One call fails in some way."""
        self.world.fault = once(FAULTS[fault], at)
        self.look(is_seen=False)
        tick(self.world, self.folder)
        self.world.fault = calm
        self.look_at_writes()

    @rule()
    def two_operators_tick(self) -> None:
        """The second is told so, and does nothing."""
        self.look()
        with engine(self.world, self.folder) as first:
            with pytest.raises(ApprovalError):
                tick(self.world, self.folder)
            list(first.tick())
        self.look_at_writes()

    @precondition(lambda self: len(self.world.keys(self.item.user)) < 2)
    @rule()
    def colleague_makes_a_key(self) -> None:
        """In the console."""
        self.theirs.add(self.world.make_key(self.item.user))

    @rule(which=st.integers(0, 7), status=st.sampled_from(["Active", "Inactive", None]))
    def colleague_meddles(self, which: int, status: str | None) -> None:
        """Switches a key on or off, or deletes it."""
        keys = sorted(self.world.keys(self.item.user))
        if which >= len(keys):
            return
        self.meddled = True
        if status is None:
            self.world.delete_key(self.item.user, keys[which])
        else:
            iam_backends[OTHER]["aws"].update_access_key(self.item.user, keys[which], status)

    @rule(event=st.sampled_from([Event.HELD, Event.RELEASED, Event.CONFIRMED]))
    def person_says(self, event: Event) -> None:
        """Holds it, releases it, or says that the new key is in use."""
        state = tracked(self.world, self.folder, self.item)
        if state.ended is not None or (event is Event.CONFIRMED and state.done.published_at is None):
            return
        with open_journal(self.folder, lambda: self.now) as journal:
            asked = state.waiting.told.get("code") if state.waiting else None
            if event is Event.RELEASED and state.intent is not None and asked == "ORPHAN_SUSPECT":
                step = state.intent.told["step"]
                journal.add("plan-1", self.item.id, Event.RESULT, step=step, outcome="failed", why="settled by hand")
            journal.add("plan-1", self.item.id, event, reason="so", by="ann")
        self.confirmed |= event is Event.CONFIRMED
        self.was_off &= event is not Event.RELEASED

    @precondition(lambda self: self.world.stored(f"auditor/{self.item.user}") is not None)
    @rule(is_deleted=st.booleans())
    def colleague_meddles_with_the_secret(self, *, is_deleted: bool) -> None:
        """Makes applications read the old key again, or deletes what they read."""
        if is_deleted:
            secretsmanager_backends[OTHER]["us-east-1"].secrets.pop(f"auditor/{self.item.user}")
        else:
            put_back(self.item)
        self.secret_meddled = True

    # --------------------------------------------------------------------------------------------- what holds

    def look(self, *, is_seen: bool = True) -> None:
        """How the old key is before a tick, which sees that itself unless it is cut short."""
        self.statuses = self.world.keys(self.item.user)
        status, state = self.statuses.get(self.item.key.id), tracked(self.world, self.folder, self.item)
        if not is_seen or state.ended is not None or state.intent is not None:
            return
        if status == "Active":
            self.seen_active = self.now
        elif status == "Inactive" and state.done.inactive_at is None:
            self.was_off = True

    def look_at_writes(self) -> None:
        """Every write that was tried since the last look."""
        log = self.world.cloud.call_log
        done = tracked(self.world, self.folder, self.item).done
        for call in log[self.seen :]:
            key = call.params.get("AccessKeyId")
            if call.action not in {"DeleteAccessKey", "UpdateAccessKey"}:
                continue
            assert key not in self.theirs, f"{call.action} of a colleague's key"
            if key != self.item.key.id:
                continue
            if call.action == "DeleteAccessKey":
                assert self.statuses[key] == "Inactive", "somebody switched it on again"
                assert done.inactive_at is not None
                assert self.now - done.inactive_at >= QUARANTINE
                assert self.now - self.old_used >= QUARANTINE
                assert self.now - self.seen_active >= QUARANTINE, "it was seen active since"
            elif call.params["Status"] == "Inactive":
                assert self.now - self.old_used >= QUIET, "it was used lately"
                assert not self.was_off, "somebody had switched it off, and needed it again"
                assert self.new_used or self.confirmed, "nobody uses the new one"
                value = self.world.stored(f"auditor/{self.item.user}")
                assert value is not None, "nobody can read the new one"
                assert value.get("AccessKeyId") not in {None, self.item.key.id}, "applications read the old one"
        self.seen = len(log)

    @invariant()
    def no_key_is_nobodys(self) -> None:
        """A key that is neither the old one nor a colleague's is stored, or is being seen to, or a person was asked."""
        if not hasattr(self, "item"):
            return
        state = tracked(self.world, self.folder, self.item)
        for key in self.world.keys(self.item.user).keys() - {self.item.key.id} - self.theirs:
            is_meddled = self.meddled or self.secret_meddled
            is_seen_to = state.intent is not None or is_meddled or state.done.held is not None
            assert is_seen_to or state.done.new_key == key, f"{key} is nobody's"
            if state.done.new_key == key and state.done.version and not self.secret_meddled:
                held = self.world.stored(f"auditor/{self.item.user}", state.done.version)
                assert held is not None
                assert held["AccessKeyId"] == key


def test_keys_are_safe_in_every_story(world: World, tmp_path: Path) -> None:
    """Stories of up to 25 acts."""
    Story.world, Story.base = world, tmp_path
    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=int(EXAMPLES or 12),
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.generate],  # a story goes on in the world of the last one: it is not told again, only printed
            derandomize=EXAMPLES is None,
            suppress_health_check=list(HealthCheck),
        ),
    )
