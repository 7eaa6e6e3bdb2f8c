"""Since when a key is inactive: it is known again by its id, else by its user and the second of its creation."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from auditor.answers import decode_observed, encode_observed, facts_digest
from auditor.inventory import build_snapshot, with_inactive_since
from auditor.model import ControlId, ObservedKey, Operator, Outcome, Policy
from auditor.policy import evaluate
from tests.builders import (
    ACCOUNT,
    AS_OF,
    SECOND,
    account_result,
    ago,
    days,
    judged,
    looked_up,
    report_key,
    report_user,
    seen_inactive_since,
    verdict_on,
)

BORN = ago(400)
ANN = f"arn:aws:iam::{ACCOUNT}:user/ann"
ID = "AKIA333ANN1"
"""What the look-up of the builders calls the first key."""


def since(*observed: ObservedKey, live: bool = False, second: bool = False, account: str = ACCOUNT) -> list[datetime]:
    """Since when the inactive keys of ann are so, that have one second of birth."""
    slots = (1, 2) if second else (1,)
    ann = report_user("ann", *(report_key(BORN, slot=slot, active=False) for slot in slots))
    result = account_result(ann, lookups={"ann": looked_up(ann)} if live else {})
    keys = with_inactive_since(build_snapshot([result]), {account: observed}, AS_OF).keys
    if live:
        assert ID in set(keys["access_key_id"])
    return [at.to_pydatetime() for at in keys["inactive_since"]]


def seen(at: datetime, key_id: str | None = None, arn: str = ANN, born: datetime | None = BORN) -> ObservedKey:
    return ObservedKey(key_id, arn, born, at)


@pytest.mark.parametrize("live", [False, True])
def test_a_key_that_nobody_saw_is_inactive_since_this_run(live: bool) -> None:  # noqa: FBT001 - both ways
    """The first run to see it so counts."""
    assert since(live=live) == [AS_OF]


def test_an_active_key_is_not_inactive_since_any_time() -> None:
    """Nor is there a verdict on how long it is kept, whatever earlier runs saw."""
    ann = report_user("ann", report_key(BORN))
    facts = with_inactive_since(build_snapshot([account_result(ann)]), {ACCOUNT: [seen(ago(200))]}, AS_OF)
    assert facts.keys["inactive_since"].isna().all()
    assert judged(facts, ControlId.INACTIVE_KEY_RETAINED) == []


@pytest.mark.parametrize(
    ("observed", "live"),
    [
        (seen(ago(200)), False),
        (seen(ago(200)), True),
        (seen(ago(200), ID), True),
        (seen(ago(200), ID), False),
        (seen(ago(200), ID, arn=f"{ANN}-renamed"), True),
    ],
    ids=["never by id", "id learnt later", "always by id", "id not known any more", "user renamed"],
)
def test_a_key_is_known_again(observed: ObservedKey, live: bool) -> None:  # noqa: FBT001 - both ways
    """By its id where both runs know it, else by its user and its creation."""
    assert since(observed, live=live) == [ago(200)]


@pytest.mark.parametrize(
    ("observed", "live"),
    [
        (seen(ago(200), "AKIAANOTHER"), True),
        (seen(ago(200), born=BORN + SECOND), False),
        (seen(ago(200), arn=f"{ANN}e"), False),
        (seen(ago(200), born=None), False),
    ],
    ids=["another id", "another creation", "another user", "creation not known"],
)
def test_another_key_lends_no_time(observed: ObservedKey, live: bool) -> None:  # noqa: FBT001 - both ways
    """What differs is another key, which this run is the first to see."""
    assert since(observed, live=live) == [AS_OF]


def test_a_key_of_another_account_lends_no_time() -> None:
    """Accounts are apart."""
    assert since(seen(ago(200), ID), live=True, account="444455556666") == [AS_OF]


def test_twins_of_one_second_are_told_apart_by_their_ids() -> None:
    """Without ids both count from the earlier; with them each counts for itself."""
    assert since(seen(ago(200)), seen(ago(100)), second=True) == [ago(200), ago(200)]
    twins = report_user("ann", *(report_key(BORN, slot=slot, active=False) for slot in (1, 2)))
    facts = build_snapshot([account_result(twins)])
    second = ID.replace("ANN1", "ANN2")
    facts = replace(facts, keys=facts.keys.assign(access_key_id=[ID, second]))

    def known(*observed: ObservedKey) -> list[datetime]:
        keys = with_inactive_since(facts, {ACCOUNT: observed}, AS_OF).keys
        return [at.to_pydatetime() for at in keys["inactive_since"]]

    assert known(seen(ago(200), ID), seen(ago(100), second)) == [ago(200), ago(100)]
    assert known(seen(ago(200), ID)) == [ago(200), AS_OF]


@pytest.mark.parametrize("turn", [1, -1])
def test_an_id_learnt_later_is_of_the_keys_without_one(turn: int) -> None:
    """A twin that was known by its id lends none of its time, in whatever order the two were seen."""
    assert since(*[seen(ago(200), "AKIAANOTHER"), seen(ago(100))][::turn], live=True) == [ago(100)]


def test_a_run_that_is_dated_back_saw_nothing_then() -> None:
    """Its sight counts from when the report was made; one that is dated ahead saw it at its own instant."""
    ann = report_user("ann", report_key(BORN, active=False))

    def seen_at(generated_at: datetime | None) -> object:
        facts = build_snapshot([account_result(ann, generated_at=generated_at)])
        return with_inactive_since(facts, {}, AS_OF).keys["inactive_since"][0].to_pydatetime()

    assert [seen_at(at) for at in (ago(-9), AS_OF, ago(9), None)] == [ago(-9), AS_OF, AS_OF, AS_OF]
    assert since(seen(ago(-9))) == [ago(-9)]


@pytest.mark.parametrize("operator", Operator)
def test_a_key_that_was_kept_too_long_fails(operator: Operator) -> None:
    """On the second of the limit with ">=", one later with ">"."""
    facts = build_snapshot([account_result(report_user("ann", report_key(BORN, active=False)))])
    policy = Policy(inactive_retained=days(90, operator))

    def outcome(seconds: int) -> object:
        facts_then = seen_inactive_since(facts, ago(90) - seconds * SECOND)
        return verdict_on(facts_then, ControlId.INACTIVE_KEY_RETAINED, policy)["outcome"]

    on_it = Outcome.NON_COMPLIANT if operator is Operator.AT_LEAST else Outcome.COMPLIANT
    assert [outcome(seconds) for seconds in (-1, 0, 1)] == [Outcome.COMPLIANT, on_it, Outcome.NON_COMPLIANT]


def test_what_was_seen_is_part_of_what_a_run_rests_on() -> None:
    """Another time, another key or none: another digest; the order in which they were seen is nothing."""
    result = account_result(report_user("ann", report_key(BORN, active=False)))
    one, two = seen(ago(200)), seen(ago(100), ID)
    sets: Sequence[Sequence[ObservedKey]] = [(), (one,), (two,), (one, two), (replace(one, since=ago(199)),)]
    assert len({facts_digest(result, keys) for keys in sets}) == len(sets)
    assert facts_digest(result, (one, two)) == facts_digest(result, (two, one))


def test_what_was_seen_is_kept_and_read_back() -> None:
    """With and without id and creation; anything else is refused."""
    keys = (seen(ago(200)), seen(ago(100), ID), seen(ago(1), born=None))
    assert set(decode_observed(encode_observed(keys))) == set(keys)
    for wrong in (b"", b"[]", b"{}", b'{"inactive": [{}]}', b'{"inactive": 3}', b"\xff"):
        with pytest.raises(ValueError, match=r"."):
            decode_observed(wrong)


def test_no_account_and_no_keys_are_fine() -> None:
    """Facts without any key, and observations of nobody's."""
    facts = with_inactive_since(build_snapshot([]), {ACCOUNT: [seen(ago(9))]}, AS_OF)
    assert facts.keys.empty
    assert evaluate(facts, Policy(), AS_OF).empty
