"""How access keys come to be what they are: young and used, or neglected in one of the usual ways."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from random import Random

from auditor.demo.names import USED_SERVICES
from auditor.demo.seed import KeySeed, UserSeed, ago
from auditor.model import KeyStatus, UsedAt


class History(StrEnum):
    """What has become of a key; by a policy of 90 days of age and 45 days without use."""

    YOUNG = "young, in use"
    DUE_SOON = "in use, 90 days old within two weeks"
    OLD_IN_USE = "long past 90 days, in daily use"
    UNUSED = "old, and last used long ago"
    NEVER_USED = "made and never used"
    SET_ASIDE = "deactivated and kept"


GOOD = (History.YOUNG,) * 6 + (History.DUE_SOON,)
NEGLECTED = (History.OLD_IN_USE,) * 5 + (History.UNUSED,) * 3 + (History.NEVER_USED,) * 2


def grown_key(history: History, random: Random, as_of: datetime, oldest: float) -> KeySeed:
    """A key with this history at `as_of`, not more than `oldest` days old."""
    match history:
        case History.YOUNG:
            age = random.uniform(2, 74)
            return _key(random, as_of, age, random.uniform(0, min(age, 20)))
        case History.DUE_SOON:
            return _key(random, as_of, random.uniform(77, 89), random.uniform(0, 5))
        case History.OLD_IN_USE:
            return _key(random, as_of, _long(random, oldest), random.uniform(0, 2))
        case History.UNUSED:
            age = _long(random, oldest)
            return _key(random, as_of, age, random.uniform(50, age - 20))
        case History.NEVER_USED:
            return _key(random, as_of, random.uniform(50, 900), None)
        case History.SET_ASIDE:
            key = grown_key(History.UNUSED, random, as_of, oldest)
            return replace(key, status=KeyStatus.INACTIVE)


def used_at(random: Random, instant: datetime) -> UsedAt:
    """A use of some service at `instant`."""
    service, region = random.choice(USED_SERVICES)
    return UsedAt(instant, service, region)


def with_earlier_uses(users: Sequence[UserSeed], generated_at: datetime, random: Random) -> tuple[UserSeed, ...]:
    """The users with what a report of `generated_at` knew of the keys that were used again since."""
    return tuple(
        replace(user, keys=tuple(_with_earlier_use(key, generated_at, random) for key in user.keys)) for user in users
    )


def _with_earlier_use(key: KeySeed, generated_at: datetime, random: Random) -> KeySeed:
    if key.last_used is None or key.last_used.at <= generated_at or key.earlier_use or key.created_at > generated_at:
        return key
    earlier = max(key.created_at, ago(generated_at, hours=random.uniform(0.2, 30)))
    return replace(key, earlier_use=replace(key.last_used, at=earlier))


def _key(random: Random, as_of: datetime, age_days: float, unused_days: float | None) -> KeySeed:
    used = used_at(random, ago(as_of, days=unused_days)) if unused_days is not None else None
    return KeySeed(created_at=ago(as_of, days=age_days) - timedelta(seconds=1), last_used=used)


def _long(random: Random, oldest: float) -> float:
    """Days: mostly under two years, now and then all the years there are."""
    return 120 + (oldest - 120) * random.random() ** 3
