"""How a key stands, and who needed it, as far as the journal tells: one record, from which all items about it decide.

It does not matter which plan, tick or hand a row comes from, nor in what order plans are taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from auditor.model import KeyStatus

SETTLES = timedelta(minutes=1)
"""How long ListAccessKeys may show what was before a write."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The key was so at an instant."""

    at: datetime
    status: KeyStatus
    is_ours: bool | None = False
    """Whether we made it so; None where that is not known."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """See the module."""

    sights: tuple[Sight, ...] = ()
    """In the order of time: what plans and ticks saw, and what calls of ours are known to have done."""
    tries: Mapping[str, datetime] = field(default_factory=dict)
    """When it was to be switched on by hand, by intent, in the order of sending; but what certainly was not done."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Why, by the same."""
    off_at: datetime | None = None
    """When it was last switched off here, or taken for that by a person."""
    answered_at: datetime | None = None
    """When it was asked who needed it, of the last such question that a person answered."""
    let_go_at: datetime | None = None
    """When a person let it go that had been switched on again, who may have needed it until then."""
    wrote_at: datetime | None = None
    """When what a call of ours about its status did was known last, or the call was over at the latest."""

    @property
    def status(self) -> KeyStatus | None:
        """How it was seen, or made, last."""
        return self.sights[-1].status if self.sights else None

    @property
    def changed_at(self) -> datetime | None:
        """When it was last seen, or made, otherwise than before."""
        pairs = zip(self.sights, self.sights[1:], strict=False)
        return next((one.at for before, one in reversed([*pairs]) if before.status is not one.status), None)

    @property
    def switched_on_at(self) -> datetime | None:
        """When it was last switched on by hand, or may have been."""
        return max(self.tries.values(), default=None)

    @property
    def why_switched_on(self) -> str | None:
        """Why that was last done, or to be; None where nobody said."""
        return self.reasons.get(max(self.tries, key=self.tries.__getitem__)) if self.tries else None

    @property
    def is_on_for_sure(self) -> bool:
        """Whether a call of ours is known to have switched it on."""
        return any(one.is_ours and one.status is KeyStatus.ACTIVE for one in self.sights)

    @property
    def active_at(self) -> datetime | None:
        """When it was last known to be active, or may have been."""
        seen = (one.at for one in self.sights if one.status is KeyStatus.ACTIVE)
        return max([*seen, *self.tries.values()], default=None)

    @property
    def switched_off_at(self) -> datetime | None:
        """When it was switched off here, if it was not active since."""
        is_over = self.off_at is None or (self.active_at is not None and self.active_at > self.off_at)
        return None if is_over else self.off_at

    @property
    def again_at(self) -> datetime | None:
        """When it was last active again that had been inactive, by whoever needed it: not by our hand, nor since ours.

        What we did to it later was done knowing that.
        """
        found, before = None, None
        for one in self.sights:
            if one.is_ours:
                found = None
            elif one.status is KeyStatus.ACTIVE and before is KeyStatus.INACTIVE:
                found = one.at
            before = one.status
        return found

    @property
    def needed_at(self) -> datetime | None:
        """When it was active again, and nobody let it go since."""
        again, answered = self.again_at, self.answered_at
        return again if again is not None and (answered is None or again > answered) else None

    @property
    def quiet_from(self) -> datetime | None:
        """From when on it has to be quiet at least: whoever switched it on needed it then, though AWS shows no use."""
        return max((at for at in (self.again_at, self.switched_on_at, self.let_go_at) if at), default=None)

    @property
    def is_off_by_us(self) -> bool | None:
        """Whether it is inactive by our hand, of whichever item; None where nothing shows whether it is."""
        for one in reversed(self.sights):
            if one.status is KeyStatus.ACTIVE:
                return False
            if one.is_ours is not False:
                return one.is_ours
        return False

    def is_seen_since(self, at: datetime) -> bool:
        """Whether anything is known of how it was after this."""
        return bool(self.sights) and self.sights[-1].at > at

    def is_settling(self, now: datetime) -> bool:
        """Whether AWS may show it as it was before the last call of ours."""
        return self.wrote_at is not None and now - self.wrote_at < SETTLES

    def is_last_try(self, intent: str) -> bool:
        """Whether nobody tried to switch it on again after this."""
        return not self.tries or [*self.tries][-1] == intent

    def seen(self, status: KeyStatus, at: datetime) -> "KeyState":
        """A plan, or AWS, shows it so; a plan may be taken long after it saw that."""
        return replace(self, sights=tuple(sorted((*self.sights, Sight(at, status)), key=lambda one: one.at)))

    def sent(self, at: datetime) -> "KeyState":
        """A call of ours about its status was made."""
        return replace(self, wrote_at=max(at, self.wrote_at or at))

    def did(self, status: KeyStatus, begun: datetime, at: datetime, *, is_ours: bool | None = True) -> "KeyState":
        """A call of ours made it so; found out at once, or late, when more was seen since it was sent.

        Args:
            status: how it made it.
            begun: when it was sent.
            at: when that was known.
            is_ours: None where somebody else may have made it so.
        """
        before = tuple(one for one in self.sights if one.at <= begun)
        since = self.sights[len(before) :]
        if since and since[0].status is status:
            made, since = replace(since[0], is_ours=is_ours), since[1:]
        else:
            made = Sight(begun if since else at, status, is_ours)
        is_off = status is KeyStatus.INACTIVE and is_ours
        return replace(self, sights=(*before, made, *since), off_at=made.at if is_off else self.off_at)

    def tried(self, intent: str, at: datetime | None, reason: str | None = None) -> "KeyState":
        """It is to be switched on by hand, or was, at this instant; None where that certainly came to nothing."""
        tries = {name: when for name, when in self.tries.items() if name != intent or at is not None}
        if at is not None:
            tries[intent] = at  # of a try that is known its place stays, in the order of sending
        return replace(self, tries=tries, reasons={**self.reasons, **({intent: reason} if reason else {})})

    def taken_off(self, at: datetime) -> "KeyState":
        """A person has it count as switched off here from then on."""
        return self.did(KeyStatus.INACTIVE, at, at)

    def let_go(self, at: datetime, asked_at: datetime | None) -> "KeyState":
        """A person lets it go, who was asked who needed it, or that switched it on."""
        return replace(self, let_go_at=at, answered_at=asked_at or self.answered_at)
