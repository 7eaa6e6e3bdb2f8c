"""Since when keys are inactive, over any history of runs: no run makes it later, and none tells more than was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.answers import decode_observed, encode_observed
from auditor.inventory import build_snapshot, with_inactive_since
from auditor.model import ObservedKey, ReportUser, UserLookup
from auditor.tables import plain_texts
from tests.builders import ACCOUNT, AS_OF, account_result, ago, live_key, report_key, report_user

NAMES = ("ann", "bob")
LONGEST = 5

few = settings(max_examples=40, deadline=None)
"""Each example judges some runs."""


@dataclass(frozen=True)
class Sight:
    """What a run saw of a user's keys: active or not, or gone, by slot; and whether it looked the user up."""

    slots: tuple[bool | None, bool | None]
    live: bool


sights = st.builds(Sight, st.tuples(*[st.sampled_from([False, False, True, None])] * 2), st.booleans())
histories = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, sights)), min_size=1, max_size=LONGEST)
"""Runs, the first one first; a key that is gone may come back: AWS's report may be older than the key."""


def born(slot: int, *, twins: bool) -> datetime:
    """Of twins in the same second."""
    return ago(900) if twins else ago(900 + slot)


def seen_by(sight: Sight, name: str, *, twins: bool) -> tuple[ReportUser, UserLookup | None]:
    """The user as a report, and a look-up if any, shows it."""
    present = [(slot, active) for slot, active in enumerate(sight.slots, 1) if active is not None]
    keys = [report_key(born(slot, twins=twins), slot=slot, active=active) for slot, active in present]
    listed = tuple(live_key(f"AKIA{name}{slot}", born(slot, twins=twins), active=active) for slot, active in present)
    return report_user(name, *keys), UserLookup(name, listed) if sight.live else None


def told(history: Sequence[Mapping[str, Sight]], *, twins: bool = False) -> dict[tuple[str, int], datetime]:
    """Since when each key is inactive that the last run saw so, by user and slot; each run hands it on to the next."""
    observed: Sequence[ObservedKey] = ()
    found: dict[tuple[str, int], datetime] = {}
    for number, sights_of in enumerate(history):
        users = [seen_by(sight, name, twins=twins) for name, sight in sights_of.items()]
        lookups = {lookup.user: lookup for _, lookup in users if lookup}
        now = at(history, number)
        facts = build_snapshot([account_result(*(user for user, _ in users), lookups=lookups, generated_at=now)])
        keys = with_inactive_since(facts, {ACCOUNT: observed}, now).keys
        assert keys["inactive_since"].notna().equals(keys["key_status"].eq("Inactive").astype(bool))
        keys = keys[keys["key_status"].eq("Inactive")]
        texts = (plain_texts(keys[name]) for name in ("access_key_id", "user_arn"))
        births = [None if pd.isna(one) else one.to_pydatetime() for one in keys["created_at"]]
        since = [one.to_pydatetime() for one in keys["inactive_since"]]
        seen = (ObservedKey(*row) for row in zip(*texts, births, since, strict=True))
        observed = decode_observed(encode_observed(seen))
        found = {(user, int(slot)): one for user, slot, one in zip(keys["user"], keys["slot"], since, strict=True)}
    return found


def at(history: Sequence[object], number: int) -> datetime:
    """The instant of a run; the last is AS_OF, so that an older one moves none of the others."""
    return ago(30 * (len(history) - 1 - number))


def begin(history: Sequence[Mapping[str, Sight]], name: str, slot: int) -> datetime:
    """The first of the runs, up to the last, that saw the key inactive without a break."""
    inactive = [run[name].slots[slot - 1] is False for run in history]
    broken = [number for number, is_so in enumerate(inactive) if not is_so]
    return at(history, broken[-1] + 1 if broken else 0)


@few
@given(histories)
def test_a_key_counts_from_the_first_run_of_an_unbroken_row(history: list[dict[str, Sight]]) -> None:
    """Whether runs looked the user up or not, and whenever its ids were learnt or lost."""
    for (name, slot), since in told(history).items():
        assert since == begin(history, name, slot)


@few
@given(histories, st.booleans())
def test_no_time_is_before_what_was_seen_or_to_come(history: list[dict[str, Sight]], twins: bool) -> None:  # noqa: FBT001 - drawn
    """Of keys of one second the earlier may count for both, never one that no run saw inactive."""
    for (name, slot), since in told(history, twins=twins).items():
        slots = (1, 2) if twins else (slot,)
        firsts = [n for n, run in enumerate(history) if any(run[name].slots[one - 1] is False for one in slots)]
        assert at(history, firsts[0]) <= since <= AS_OF


@few
@given(histories, st.fixed_dictionaries(dict.fromkeys(NAMES, sights)), st.booleans())
def test_an_older_run_makes_no_time_later(
    history: list[dict[str, Sight]],
    older: dict[str, Sight],
    twins: bool,  # noqa: FBT001 - drawn
) -> None:
    """It can only have seen a key before the others did."""
    alone, after = told(history, twins=twins), told([older, *history], twins=twins)
    assert alone.keys() == after.keys()
    assert all(after[key] <= since for key, since in alone.items())
