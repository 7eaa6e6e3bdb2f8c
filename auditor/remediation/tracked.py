"""One item as the journal tells of it: how far it has come, what is open, what it waits for, and whose turn it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from auditor.model import KeyStatus
from auditor.remediation.decision import Progress, Step
from auditor.remediation.journal import Event, Row
from auditor.remediation.key_state import KeyState
from auditor.remediation.plan import Item, Kind

CALL_LASTS = timedelta(minutes=10)
"""How long a call may take with all its tries; a result that comes later is one of healing, and wrote nothing."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """One item: the plan that it is of, how far it is approved, what was done, and what is open."""

    item: Item
    plan_id: str
    planned_at: datetime
    expires_at: datetime
    approved: Kind | None = None
    """As the journal says; what decides is what of it can be proved (`auditor.remediation.kept_approvals`)."""
    done: Progress = field(default_factory=Progress)
    begun: tuple[Row, ...] = ()
    """What was begun and of which no result is known, in that order."""
    over: Mapping[str, datetime] = field(default_factory=dict)
    """When calls were over of which no answer came, by intent."""
    made: str | None = None
    """The id of a key that was made and of whose secret it is not known that it is stored."""
    discarded: str | None = None
    """What was done to that key, which nobody can use: deleted, or inactive."""
    ended: str | None = None
    ended_by: int = 0
    """The number of the row that ended it."""
    waiting: Row | None = None
    """What it waits for, and since when."""
    asked_at: datetime | None = None
    """When a person was asked last what that tells of."""
    told_at: datetime | None = None
    """When anything was last written down of it."""
    passed_over: Row | None = None
    """Why it could not be looked at lately, and since when."""
    failed: str | None = None
    """Why the last step that was tried did not come off."""

    @property
    def intent(self) -> Row | None:
        """What is to be settled next of what was begun; of an item at its end, what a rollback began after that.

        What AWS shows comes first: whose key it is that was to be made may have to be asked of a person.
        """
        known = self.unsettled
        return next((row for row in known if row.told["step"] != Step.CREATE), known[0] if known else None)

    @property
    def unsettled(self) -> tuple[Row, ...]:
        """What was begun and is to be settled: what a person closed as it was is not."""
        return tuple(row for row in self.begun if self.ended is None or row.number > self.ended_by)

    def over_at(self, intent: Row) -> datetime:
        """When the call of an intent was over, as far as that is known; AWS shows what it did a while after that."""
        return self.over.get(str(intent.told["intent"]), intent.at)

    def over_by(self, intent: Row) -> datetime:
        """When it was over at the latest, also where a process died in the middle of it."""
        return self.over.get(str(intent.told["intent"]), intent.at + CALL_LASTS)

    def begun_as(self, step: Step) -> Row | None:
        """The intent of this step, of which no result is known."""
        return next((row for row in self.begun if row.told["step"] == step), None)

    def state(self, key: KeyState) -> str:
        """How far it has come, in a word or two; `key` is what is known of its key."""
        reached = (
            ("held", self.done.held),
            ("deleted", self.done.deleted_at),
            ("active again" if key.status is KeyStatus.ACTIVE else "inactive", self.done.inactive_at),
            ("adopted", self.done.adopted_at),
            ("published", self.done.published_at),
            ("verified", self.done.verified_at),
            ("created", self.done.created_at),
            ("prepared", self.done.prepared_at),
        )
        return self.ended or next((name for name, at in reached if at), "claimed")

    @property
    def is_untouched(self) -> bool:
        """Whether nothing was begun about it yet."""
        done = self.done
        return not (self.begun or done.prepared_at or done.new_key or done.announced or done.inactive_at)

    @property
    def who(self) -> str:
        """Who must act; empty where nobody has to, or it is not known."""
        if self.ended is not None and self.intent is None:
            return ""
        if self.done.held is not None:
            return "whoever held it, with `release`"
        if self.waits_by is not None:
            is_asked = self.waits_by.event is Event.ASKED
            return str(self.waits_by.told.get("who") or ("whoever runs auditor" if is_asked else ""))
        return f"{self.item.user}, by a tick of their own" if self.item.own else "nobody: the next tick goes on"

    @property
    def waits_by(self) -> Row | None:
        """What says what it waits for, and since when: a person, or to be looked at, or what it did when it was."""
        return self.passed_over if self.passed_over is not None and not self.needs_person else self.waiting

    @property
    def waits_for(self) -> str | None:
        """In words; None where it is at its end."""
        if self.waits_by is None:
            return "the next tick" if self.ended is None or self.intent is not None else None
        reason = str(self.waits_by.told["reason"])
        if self.waits_by.event is Event.ASKED:
            reason = f"{reason} ({self.waits_by.told['code']})"
        return f"it could not be looked at: {reason}" if self.waits_by is self.passed_over else reason

    @property
    def since(self) -> datetime | None:
        """Since when it waits; None where it is at its end."""
        if self.waits_for is None:
            return None
        return self.waits_by.at if self.waits_by else self.told_at

    @property
    def until(self) -> datetime | None:
        """Until when it waits at least; None where no time ends it."""
        said = self.waits_by.told.get("until") if self.waits_by else None
        return datetime.fromisoformat(said) if said else None

    @property
    def needs_person(self) -> bool:
        """Whether it goes on only when somebody says so."""
        is_asked = self.waiting is not None and self.waiting.event is Event.ASKED
        return self.ended is None and (is_asked or self.done.held is not None)
