"""Several plans about one key, taken in any order, and whoever else is at it: no order of events makes it unsafe.

Every plan is made, approved, taken and carried out as by the commands. What may be done is judged by rules of its own,
out of what happened to the key and what plans and ticks were shown of it, without the journal's word.
`AUDITOR_EXAMPLES=1000 pytest tests/remediation/test_many_plans.py` tries more stories.
"""

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from random import Random

import pytest
from moto.iam.models import iam_backends

from auditor.aws.failures import AwsFailure
from auditor.config.remediation_records import Day, WindowConfig
from auditor.demo import Call, ErrorFault, Fault, LostFault
from auditor.errors import ApprovalError, CapError, UsageError
from auditor.model import UsedAt
from auditor.remediation.decision import Step
from auditor.remediation.engine import Standing
from auditor.remediation.healing import TRAIL_TAKES
from auditor.remediation.journal import Event, Row
from auditor.remediation.journal_file import open_journal
from auditor.remediation.news import Notice
from auditor.remediation.plan import Item, Kind, Plan
from auditor.remedy.by_hand import close_item, tell_journal
from auditor.remedy.carrying_out import advance, claim
from auditor.remedy.means import Means
from auditor.remedy.of_user import Wish, plan_for, subject_of
from auditor.remedy.rollback import switch_on
from tests.remediation.test_by_hand import BOB, CAT, means_of
from tests.remediation.test_whose_doing import NOTHING
from tests.remediation.world import OTHER, World

QUIET, QUARANTINE = timedelta(days=2), timedelta(days=14)
"""As the configuration has them here."""

NOTICE = {Step.DEACTIVATE: timedelta(hours=24), Step.DELETE: timedelta(hours=72)}

NUMBERS = count()

MOST_ANSWERS = 2
"""How often a person is asked the same of an item, when nobody meddles any more."""

STORIES, CHAPTERS = int(os.environ.get("AUDITOR_EXAMPLES", "60")), 4
"""How many are told, and in how many tests."""

WEATHER: dict[str, dict[str, Fault]] = {
    "calm": {},
    "lost": {"UpdateAccessKey": LostFault()},
    "broken": {"UpdateAccessKey": ErrorFault(500, "ServiceFailure")},
    "denied": {"UpdateAccessKey": ErrorFault(403, "AccessDenied")},
    "deletes lost": {"DeleteAccessKey": LostFault()},
    "lost, and unread": {"UpdateAccessKey": LostFault(), "ListAccessKeys": ErrorFault(500, "ServiceFailure")},
}
TRAILS: dict[str, dict[str, Fault]] = {
    "told": {},
    "late": {"LookupEvents": NOTHING},
    "silent": {"LookupEvents": ErrorFault(500, "InternalFailure")},
    "closed": {"LookupEvents": ErrorFault(403, "AccessDeniedException")},
}
NEEDED = frozenset({"REACTIVATED", "INACTIVE_ANEW"})
"""Questions whose answer is that whoever needed the key needs it no more."""


@dataclass(frozen=True)
class Fact:
    """What happened to the key, or was shown of it: active or inactive, by an own call, or a person let it go."""

    at: datetime
    what: str
    asked_at: datetime | None = None


@dataclass(frozen=True)
class Known:
    """What whoever reads all facts knows."""

    needed_at: datetime | None = None
    """Somebody switched the key on again, and nobody let it go since."""
    quiet_from: datetime | None = None
    active_at: datetime | None = None

    def with_fact(self, fact: Fact, before: str | None) -> "Known":
        """One fact more; `before` is how the key was known to be."""
        again = fact.what == "active" and before == "inactive"
        needed = {"off": None, "on": None}.get(fact.what, self.needed_at)
        if fact.what == "let go" and needed is not None and fact.asked_at is not None and fact.asked_at >= needed:
            needed = None
        is_quiet_from = again or fact.what in {"on", "maybe on", "let go"}
        return Known(
            fact.at if again else needed,
            fact.at if is_quiet_from else self.quiet_from,
            fact.at if fact.what in {"active", "on", "maybe on"} else self.active_at,
        )


def known_of(facts: list[Fact]) -> Known:
    """All facts, in the order of time."""
    known, status = Known(), None
    for fact in sorted(facts, key=lambda one: one.at):
        known = known.with_fact(fact, status)
        status = {"active": "active", "on": "active", "off": "inactive", "inactive": "inactive"}.get(fact.what, status)
    return known


class Story:
    """One key, and all that is done about it."""

    def __init__(self, world: World, base: Path) -> None:
        """The key is in use, and nothing is planned."""
        number = next(NUMBERS)
        self.world, self.user = world, f"story-{number}"
        self.folder = base / self.user
        self.folder.mkdir()
        backend = iam_backends[OTHER]["aws"]
        backend.create_user("us-east-1", self.user)
        self.key = self.world.make_key(self.user)
        self.lines: list[str] = []
        self.drafts: list[Plan] = []
        self.items: dict[str, tuple[Item, datetime]] = {}
        self.facts: list[Fact] = []
        self.trail, self.wrote_at = "told", self.now
        self.asked: dict[str, tuple[str, datetime]] = {}
        self.held: set[str] = set()
        self.announced: dict[tuple[str, Step], datetime] = {}
        self.done: set[str] = set()
        self.answers: dict[str, set[str]] = {}
        self.used = self.now
        self.world.cloud.record_use(self.key, UsedAt(self.now, "s3", "eu-central-1"))

    @property
    def now(self) -> datetime:
        """The world's time."""
        return self.world.clock.now

    @property
    def status(self) -> str | None:
        """How the key is; None once it is deleted."""
        return self.world.keys(self.user).get(self.key)

    @property
    def means(self) -> Means:
        """As a command has them; keys may be switched off at any time, and plans begun for long."""
        means = means_of(self.world, self.folder)
        window = WindowConfig(days=tuple(Day), starts="00:00", ends="23:59")
        approval = means.config.remediation.approval.model_copy(update={"plan_hours": 720})
        remediation = means.config.remediation.model_copy(update={"window": window, "approval": approval})
        return replace(means, config=means.config.model_copy(update={"remediation": remediation}))

    def rows(self) -> list[Row]:
        """The journal's."""
        with open_journal(self.folder, lambda: self.now, writes=False) as journal:
            return list(journal.rows)

    def passes(self, **time: float) -> None:
        """Nothing comes at once: AWS shows within a minute what was done."""
        self.world.clock.pass_(**time)

    # --------------------------------------------------------------------------------------------- who acts

    def time_passes(self, minutes: float) -> None:
        """From two minutes to two weeks."""
        self.passes(minutes=minutes)

    def application_runs(self) -> None:
        """With the key, where it works."""
        self.passes(minutes=2)
        if self.status == "Active":
            self.used = self.now
            self.world.cloud.record_use(self.key, UsedAt(self.now, "s3", "eu-central-1"))

    def colleague_switches(self, status: str) -> None:
        """In the console."""
        self.passes(minutes=2)
        if self.status is not None:
            iam_backends[OTHER]["aws"].update_access_key(self.user, self.key, status)

    def somebody_plans(self, goal: tuple[Kind, Kind, bool], is_taken: str) -> None:
        """What is possible now; it is taken at once, or later, or never."""
        self.passes(minutes=2)
        if self.status is None:
            return
        kind, through, leaked = goal
        wish = Wish(kind, through, "asked for", self.key, owner="payments", leaked=leaked)
        means = self.means
        plan = plan_for(means, subject_of(means, self.user, OTHER), wish, "ann@example.com")
        self.lines.append(f"plan: {[(one.code, one.reason) for one in plan.blocked]}")
        if plan.items:
            self.drafts.append(plan)
            if is_taken == "at once":
                self.plan_is_taken(len(self.drafts) - 1)

    def somebody_plans_when_idle(self, goal: tuple[Kind, Kind, bool]) -> None:
        """What is at its end is planned anew, after a while."""
        if not self.means.ledger().open():
            self.passes(hours=5)
            self.somebody_plans(goal, "at once")

    def plan_is_taken(self, which: int) -> None:
        """Approved by two, where it may still be taken."""
        self.passes(minutes=2)
        if not self.drafts:
            return
        plan = self.drafts.pop(which % len(self.drafts))
        try:
            through = claim(self.means, plan, [one.approves(plan, self.now) for one in (BOB, CAT)])
        except (ApprovalError, CapError) as error:
            self.lines.append(f"not taken: {error}")
            return
        (item,) = plan.items
        self.lines.append(
            f"{item.id} {item.kind} {item.through} urgent={item.urgent} taken, of {plan.created_at}: {through}"
        )
        self.items[item.id] = (item, plan.created_at)
        self.facts.append(Fact(plan.created_at, item.key.status.value.lower()))

    def trail_is(self, trail: str) -> None:
        """From now on CloudTrail is like this."""
        self.trail = trail

    def scheduler_ticks(self, weather: str, hours: float) -> None:
        """All that is open goes on as far as it may; what is to fail does so once something was to be written."""
        self.passes(hours=hours)
        faults, is_begun = WEATHER[weather], False

        def fault(call: Call) -> Fault | None:
            nonlocal is_begun
            if call.action in {"UpdateAccessKey", "DeleteAccessKey"}:
                is_begun, self.wrote_at = True, self.now
            is_told = self.trail == "late" and self.now - self.wrote_at > TRAIL_TAKES
            trail = TRAILS["told" if is_told else self.trail]
            return (faults if is_begun else {}).get(call.action) or trail.get(call.action)

        self.world.fault = fault
        self._tick()
        self.world.fault = lambda _call: None

    def person_says(self, which: int, event: Event) -> None:
        """Holds an item, or lets it go."""
        self.passes(minutes=2)
        if self.items:
            self._says(sorted(self.items)[which % len(self.items)], event)

    def person_answers(self, which: int) -> None:
        """An item about which one was asked goes on."""
        self.passes(minutes=2)
        if self.asked:
            self._says(sorted(self.asked)[which % len(self.asked)], Event.RELEASED)

    def person_closes(self, which: int, how: str = "settled") -> None:
        """An item, perhaps as it is."""
        self.passes(minutes=2)
        if self.items:
            name = sorted(self.items)[which % len(self.items)]
            with suppress(UsageError):
                close_item(self.means, name, "so", "ann", unsettled=how != "settled")

    def person_rolls_back(self, which: int | None, weather: str) -> None:
        """By an item, or by the key's id, account and user."""
        self.passes(minutes=2)
        if self.status is None or (which is not None and not self.items):
            return
        name = self.key if which is None else sorted(self.items)[which % len(self.items)]
        self.world.fault = lambda call: WEATHER[weather].get(call.action)
        whose = (None, None) if which is not None else (OTHER, self.user)
        with suppress(AwsFailure):
            switch_on(self.means, name, whose, "needed")
            assert self.status == "Active"
        self.world.fault = lambda _call: None
        what = {"denied": None, "broken": "maybe on"}.get(weather, "on")
        if what is not None:
            self.facts.append(Fact(self.now, what))
        items = self.means.ledger().items
        self.held |= {name for name, tracked in items.items() if tracked.ended is None}

    # --------------------------------------------------------------------------------------------- how

    def _says(self, item_id: str, event: Event) -> None:
        code, asked_at = self.asked.get(item_id, ("", None))
        was_held = item_id in self.held
        try:
            tell_journal(self.means, item_id, event, reason="so", by="ann")
        except UsageError:
            return
        self.lines.append(f"{event} {item_id} ({code})")
        if event is Event.HELD:
            self.held.add(item_id)
            self.asked.pop(item_id, None)
            return
        self.held.discard(item_id)
        self.asked.pop(item_id, None)
        self.answers.setdefault(item_id, set()).add(code)
        is_answer = code in NEEDED and not was_held
        if is_answer or any(fact.what in {"on", "maybe on"} for fact in self.facts):
            self.facts.append(Fact(self.now, "let go", asked_at if is_answer else None))

    def _tick(self) -> None:
        means, before = self.means, len(self.rows())
        if means.ledger().due() and self.status:
            self.facts.append(Fact(self.now, self.status.lower()))
        told: list[tuple[Notice, datetime]] = []
        for outcome in advance(means, lambda notice: told.append((notice, self.now))):
            self.asked.pop(outcome.item.id, None)
            self.lines.append(f"{self.now:%m-%d %H:%M} {outcome.item.id} {outcome.standing}: {outcome.told}")
            if outcome.standing is Standing.NEEDS_PERSON and "held" not in outcome.told:
                self.asked[outcome.item.id] = (outcome.told.rpartition("(")[2].rstrip(")"), self.now)
        for row in self.rows()[before:]:
            step = row.told.get("step")
            if row.event is Event.INTENT and step in {Step.DEACTIVATE, Step.DELETE}:
                self._judge(row, Step(step))
        for notice, at in told:
            if notice.due is not None and notice.step is not None:
                self.announced[notice.item.id, notice.step] = at

    def _judge(self, row: Row, step: Step) -> None:
        """A call is sent that switches the key off, or deletes it."""
        item, planned_at = self.items[row.item]
        known = known_of(self.facts)
        rests = {"used": row.at - self.used, "on again": row.at - (known.quiet_from or planned_at - QUARANTINE)}
        assert item.id not in self.held, "it is held"
        if not (item.urgent and step is Step.DEACTIVATE):
            told = self.announced.get((item.id, step))
            assert told is not None, "nobody was told"
            assert row.at - told >= NOTICE[step], "nobody was told in time"
            assert self.used <= told, "it was used since it was told"
            changes = [fact for fact in self.facts if fact.at > told and fact.what in {"active", "inactive"}]
            assert len({fact.what for fact in changes}) <= 1, "it was otherwise since it was told"
            assert min(rests.values()) >= QUIET, rests
            needed = known.needed_at is not None and known.needed_at > planned_at
            assert not needed, "somebody needed it, and nobody let it go"
        if step is Step.DELETE:
            assert known.active_at is not None
            assert row.at - known.active_at >= QUARANTINE, "it was active since"
            assert row.at - self.used >= QUARANTINE, "it was used since"
            assert self.status in {"Inactive", None}, "somebody switched it on again"
            is_taken = self.answers.get(item.id, set()) & {"ALREADY_INACTIVE", "INACTIVE_ANEW", "USED_SINCE"}
            assert item.kind is Kind.DELETE or item.id in self.done or is_taken, "nobody here switched it off"
            return
        self.facts.append(Fact(row.at, "active"))
        if self.status == "Inactive":
            self.done.add(item.id)
            self.facts.append(Fact(row.at + timedelta.resolution, "off"))

    def ends(self) -> None:
        """Asked, a person lets everything go, but for what somebody else switched off: then all comes to its end."""
        self.trail = "told"
        answered: Counter[tuple[str, str]] = Counter()
        for _ in range(40):
            self.passes(days=3.5)
            self._tick()
            due = self.means.ledger().due()
            if not due:
                return
            for tracked in due:
                name = tracked.item.id
                code, _ = self.asked.get(name, ("", None))
                is_left = tracked.item.makes_key and tracked.done.published_at is not None  # nobody moves
                if is_left or (code == "ALREADY_INACTIVE" and answered[name, code]):
                    close_item(self.means, name, "so", "ann", unsettled=True)
                elif tracked.needs_person or tracked.done.held is not None:
                    answered[name, code] += 1
                    assert answered[name, code] <= MOST_ANSWERS, f"it is asked for ever: {code}"
                    self._says(name, Event.RELEASED)
        raise AssertionError("it never ends")


Act = tuple[str, tuple[object, ...]]


def times(number: int, name: str, *arguments: object) -> list[Act]:
    """An act that is so often among those that there are."""
    return [(name, arguments)] * number


def ticks(*hours: float) -> list[Act]:
    """Ticks in peace, so long after one another."""
    return [("scheduler_ticks", ("calm", one)) for one in hours]


OFF = (Kind.DEACTIVATE, Kind.DELETE, False)
LEAKED = (Kind.DEACTIVATE, Kind.DEACTIVATE, True)
GONE = (Kind.DEACTIVATE, Kind.DELETE, True)
DELETED = (Kind.DELETE, Kind.DELETE, False)
ROTATED = (Kind.ROTATE, Kind.DELETE, False)

GOALS = (OFF, OFF, OFF, LEAKED, LEAKED, GONE, DELETED, DELETED)

ACTS: list[Act] = [
    *times(2, "application_runs"),
    *times(8, "colleague_switches", "Active"),
    *times(5, "colleague_switches", "Inactive"),
    *(("somebody_plans", (goal, "at once")) for goal in GOALS),
    *(("somebody_plans", (goal, "later")) for goal in (OFF, OFF, LEAKED, GONE, DELETED)),
    *(("plan_is_taken", (which,)) for which in (0, 1, 2, 0)),
    *(("scheduler_ticks", (weather, hours)) for weather in (*WEATHER, "lost") for hours in (1, 30)),
    *(("trail_is", (trail,)) for trail in (*TRAILS, "told")),
    *times(1, "person_says", 0, Event.HELD),
    *(("person_says", (which, Event.RELEASED)) for which in (0, 1)),
    *(("person_answers", (which,)) for which in (0, 0, 0, 1, 1)),
    *times(1, "person_closes", 0),
    *times(1, "person_closes", 0, "unsettled"),
    *(("person_rolls_back", (which, weather)) for which in (None, 0) for weather in ("calm", "lost", "broken")),
    *(("person_rolls_back", (which, "denied")) for which in (None, 1)),
]
"""What may come next, each as often as it is to come."""

PACES = [
    (),
    (),
    (0.05,),
    (1,),
    (1,),
    (30,),
    (1, 30, 30),
    (1, 50, 30, 30),
    (30, 30, 30),
    (60, 60, 60),
    (1, 370),
    (340, 75),
]
"""After how many hours ticks come in peace before the next act."""

LATE: Act = ("trail_is", ("late",))
CLOSED: Act = ("trail_is", ("closed",))

PLANNED: Act = ("somebody_plans", (OFF, "at once"))
LOST: Act = ("scheduler_ticks", ("lost", 30))
UNREAD: Act = ("scheduler_ticks", ("lost, and unread", 30))
ON: Act = ("colleague_switches", ("Active",))
OFF_AGAIN: Act = ("colleague_switches", ("Inactive",))
SILENT: Act = ("trail_is", ("silent",))
AT_LAST = [("trail_is", ("told",)), *ticks(1, 340, 30, 80)]

KNOWN: dict[str, list[Act]] = {
    "needed before it is known that it is off": [LATE, PLANNED, *ticks(60), LOST, ON, *ticks(0.1), OFF_AGAIN, *AT_LAST],
    "needed for a day": [SILENT, PLANNED, *ticks(60), LOST, ON, *ticks(24), OFF_AGAIN, *AT_LAST],
    "never seen to be off": [SILENT, PLANNED, *ticks(60), UNREAD, ON, *ticks(1), OFF_AGAIN, *AT_LAST],
    "given up as it was": [
        ("somebody_plans", (OFF, "later")),
        SILENT,
        ("somebody_plans", (LEAKED, "at once")),
        ("scheduler_ticks", ("lost", 1)),
        ON,
        ("person_closes", (0, "unsettled")),
        ("plan_is_taken", (0,)),
        *ticks(60, 30, 30, 30),
    ],
    "given up after it was seen, and planned anew": [
        SILENT,
        PLANNED,
        *ticks(60),
        LOST,
        ON,
        *ticks(1),
        ("person_closes", (0, "unsettled")),
        PLANNED,
        *ticks(1, 30, 30),
    ],
}
"""Orders of events by which a key was once switched off or deleted too soon."""

BEGINNINGS: dict[str, list[Act]] = {
    "nothing": [],
    "planned often": [("somebody_plans", (goal, "later")) for goal in (OFF, LEAKED, OFF, GONE)],
    "announced": [("somebody_plans", (OFF, "at once")), *ticks(60)],
    "off": [("somebody_plans", (OFF, "at once")), *ticks(60, 30)],
    "off for long": [("somebody_plans", (OFF, "at once")), *ticks(60, 30, 360)],
    "rotated": [("somebody_plans", (ROTATED, "at once")), *ticks(1)],
    "leaked, and off": [("somebody_plans", (GONE, "at once")), *ticks(1)],
    "leaked, and may be off": [CLOSED, ("somebody_plans", (GONE, "at once")), ("scheduler_ticks", ("lost", 1))],
    "maybe off": [LATE, ("somebody_plans", (OFF, "at once")), *ticks(60), ("scheduler_ticks", ("lost", 30))],
    "unseen": [LATE, ("somebody_plans", (OFF, "at once")), *ticks(60), ("scheduler_ticks", ("lost, and unread", 30))],
}


def story_of(number: int) -> list[Act]:
    """The story of this number: something done in peace, and then acts with ticks between them."""
    chance = Random(number)
    acts = [*BEGINNINGS[chance.choice(sorted(BEGINNINGS))]]
    for _ in range(chance.randint(4, 16)):
        idle = ("somebody_plans_when_idle", (chance.choice(GOALS),))
        acts += [idle, chance.choice(ACTS), *ticks(*chance.choice(PACES))]
    return acts


def fails(world: World, base: Path, acts: Sequence[Act]) -> tuple[str, list[str]] | None:
    """What is wrong in a story, and how it went; None where all is well."""
    story = Story(world, base)
    try:
        for name, arguments in acts:
            story.lines.append(f"{story.now:%m-%d %H:%M} {name} {arguments}")
            getattr(story, name)(*arguments)
        story.ends()
    except AssertionError as error:
        return str(error), story.lines
    finally:
        world.fault = lambda _call: None
    return None


def shortened(world: World, base: Path, acts: list[Act], why: str) -> list[str]:
    """How a story went that failed, without the acts that it fails without."""
    lines: list[str] = []
    for place in reversed(range(len(acts))):
        without = [*acts[:place], *acts[place + 1 :]]
        found = fails(world, base, without)
        if found is not None and found[0] == why:
            acts, lines = without, found[1]
    return lines


@pytest.mark.parametrize("name", KNOWN)
def test_what_once_went_wrong_is_safe(world: World, tmp_path: Path, name: str) -> None:
    """To its end."""
    assert fails(world, tmp_path, KNOWN[name]) is None


@pytest.mark.parametrize("chapter", range(CHAPTERS))
def test_a_key_is_safe_whatever_plans_there_are(world: World, tmp_path: Path, chapter: int) -> None:
    """In every story of up to 16 acts; of one that fails its shortest form is told."""
    for number in range(chapter, STORIES, CHAPTERS):
        acts = story_of(number)
        found = fails(world, tmp_path, acts)
        if found is not None:
            lines = shortened(world, tmp_path, acts, found[0]) or found[1]
            raise AssertionError("\n".join([f"story {number}: {found[0]}", *lines]))
