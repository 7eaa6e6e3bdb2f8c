"""The join of report and listing: exactly one match, or unknown and why."""

from datetime import datetime

import pytest

from auditor.inventory import REPORT_GRACE, ResolvedKey, build_snapshot, resolve_keys
from auditor.model import (
    ROOT_USER,
    ControlId,
    KeyStatus,
    LastUsed,
    LiveKey,
    NeverUsed,
    Outcome,
    ReportKey,
    UnknownUse,
    UsedAt,
    UserLookup,
)
from tests.builders import SECOND, account_result, ago, judged, live_key, report_key, report_user, root, snapshot, used

GENERATED = ago(seconds=3600)


def resolve(
    reported: list[ReportKey], *listed: LiveKey, generated_at: datetime = GENERATED
) -> list[tuple[int | None, str | None, str, str]]:
    """Slot, id, status and identity of each key after the join."""
    keys = resolve_keys(reported, UserLookup("ann", listed), generated_at)
    return [(key.slot, key.access_key_id, key.status.value, key.identity) for key in keys]


def test_slots_are_matched_by_creation_never_by_position() -> None:
    """The listing's order and the report's slots say nothing about each other."""
    reported = [report_key(ago(100), slot=1), report_key(ago(10), slot=2)]
    listed = [live_key("AKIANEW", ago(10)), live_key("AKIAOLD", ago(100))]
    assert resolve(reported, *listed) == [
        (1, "AKIAOLD", "Active", "live"),
        (2, "AKIANEW", "Active", "live"),
    ]


def test_a_key_deactivated_since_the_report_takes_its_status_now() -> None:
    """One creation second, one candidate: the listing's status is the truth."""
    assert resolve([report_key(ago(100))], live_key("AKIAOLD", ago(100), active=False)) == [
        (1, "AKIAOLD", "Inactive", "live")
    ]


def test_a_key_rotated_since_the_report_is_gone_and_its_successor_is_there() -> None:
    """The reported key has no candidate and nothing contradicts: it was deleted; the new key has no slot yet."""
    assert resolve([report_key(ago(100))], live_key("AKIANEW", ago(seconds=60))) == [
        (1, None, "Deleted", "live"),
        (None, "AKIANEW", "Active", "live"),
    ]


def test_a_user_deleted_since_the_report_has_no_keys_left() -> None:
    """NoSuchEntity: every reported key is gone."""
    keys = resolve_keys([report_key(ago(100))], UserLookup("ann", exists=False), GENERATED)
    assert [key.status for key in keys] == [KeyStatus.DELETED]


def test_two_keys_of_one_second_are_told_apart_by_status_if_that_is_unambiguous() -> None:
    """One active and one inactive on both sides: each has exactly one match."""
    reported = [report_key(ago(100), slot=1), report_key(ago(100), slot=2, active=False)]
    listed = [live_key("AKIAOFF", ago(100), active=False), live_key("AKIAON", ago(100))]
    assert resolve(reported, *listed) == [
        (1, "AKIAON", "Active", "live"),
        (2, "AKIAOFF", "Inactive", "live"),
    ]


def test_status_tells_nothing_where_a_key_of_that_second_is_gone() -> None:
    """The one that is left may be either: the inactive one, or the active one switched off since."""
    reported = [report_key(ago(100), slot=1), report_key(ago(100), slot=2, active=False)]
    resolved = resolve(reported, live_key("AKIAOFF", ago(100), active=False))
    assert [(key_id, identity) for _, key_id, _, identity in resolved] == [(None, "unknown"), (None, "unknown")]


def test_an_account_has_as_many_keys_as_were_listed() -> None:
    """Two slots that cannot be told apart and one listed key are one key, in the user's row and in the account's."""
    user = report_user("ann", report_key(ago(100), slot=1), report_key(ago(100), slot=2))
    lookup = UserLookup("ann", (live_key("AKIAONE", ago(100)),))
    tables = snapshot(account_result(user, lookups={"ann": lookup}))
    assert tables.users["known_keys"].tolist() == [0, 1]
    assert tables.accounts["keys"].tolist() == [1]


def test_two_equal_keys_of_one_second_are_unknown_and_named() -> None:
    """Same second, same status: which slot is which key is not guessed; the reason names the candidates."""
    reported = [report_key(ago(100), slot=1), report_key(ago(100), slot=2)]
    lookup = UserLookup("ann", (live_key("AKIAONE", ago(100)), live_key("AKIATWO", ago(100))))
    keys = resolve_keys(reported, lookup, GENERATED)
    assert [(key.access_key_id, key.identity) for key in keys] == [(None, "alike"), (None, "alike")]
    assert all(key.problem and "AKIAONE, AKIATWO" in key.problem for key in keys)


def test_two_keys_of_one_second_that_are_both_gone_are_gone() -> None:
    """Nothing is listed, so there is nothing to tell apart."""
    reported = [report_key(ago(100), slot=1), report_key(ago(100), slot=2)]
    assert {status for _, _, status, _ in resolve(reported)} == {"Deleted"}


def test_the_status_is_known_where_all_candidates_share_it() -> None:
    """Which key is which is not known, but that both are active now is."""
    reported = [report_key(ago(100), slot=1), report_key(ago(100), slot=2, active=False)]
    listed = [live_key("AKIAONE", ago(100)), live_key("AKIATWO", ago(100))]
    assert {("Active", "alike")} == {(status, identity) for _, _, status, identity in resolve(reported, *listed)}


@pytest.mark.parametrize("listed", [1, 2, 3])
def test_no_listed_key_is_lost_or_counted_twice(listed: int) -> None:
    """However many keys share a second, the inventory holds as many keys as the listing, or as the report if more."""
    reported = [report_key(ago(100), slot=1), report_key(ago(100), slot=2)]
    keys = [live_key(f"AKIA{number}", ago(100)) for number in range(listed)]
    resolved = resolve(reported, *keys)
    assert len(resolved) == max(2, listed)
    assert {identity for *_, identity in resolved} == {"alike" if listed > 1 else "unknown"}


def test_an_older_key_that_the_report_does_not_show_is_a_contradiction() -> None:
    """The report's key has no match, and a listed key should have been in the report: unknown, not deleted."""
    assert resolve([report_key(ago(100))], live_key("AKIAODD", ago(200)))[0] == (1, None, "Active", "unknown")
    just_before = GENERATED - REPORT_GRACE + SECOND
    assert resolve([report_key(ago(100))], live_key("AKIANEW", just_before))[0] == (1, None, "Deleted", "live")


def test_a_third_key_is_kept() -> None:
    """A key that only the listing shows stands in the inventory without a slot."""
    reported = [report_key(ago(100), slot=1), report_key(ago(10), slot=2)]
    listed = [live_key("AKIA1", ago(100)), live_key("AKIA2", ago(10)), live_key("AKIA3", ago(300))]
    assert resolve(reported, *listed)[2] == (None, "AKIA3", "Active", "live")


def test_a_failed_lookup_leaves_the_report_and_says_so() -> None:
    """Nothing is confirmed, nothing is lost."""
    keys = resolve_keys([report_key(ago(100))], UserLookup("ann", failed="iam:ListAccessKeys: Throttling"), GENERATED)
    assert [(key.status, key.identity) for key in keys] == [(KeyStatus.ACTIVE, "unknown")]
    assert "Throttling" in str(keys[0].problem)


@pytest.mark.parametrize(
    ("live", "reported", "expected", "known"),
    [
        (used(1), used(5), used(1), used(1)),
        (used(5), used(1), used(1), used(1)),
        (NeverUsed(), used(5), used(5), used(5)),
        (used(1), NeverUsed(), used(1), used(1)),
        (NeverUsed(), NeverUsed(), NeverUsed(), None),
        (UnknownUse("why"), used(5), UnknownUse("why"), used(5)),
        (UnknownUse("why"), NeverUsed(), UnknownUse("why"), None),
    ],
)
def test_last_use_is_three_valued(live: LastUsed, reported: LastUsed, expected: LastUsed, known: UsedAt | None) -> None:
    """The later of two uses counts; unknown stays unknown beside what is known all the same."""
    lookup = UserLookup("ann", (live_key("AKIA1", ago(100), live),))
    (key,) = resolve_keys([report_key(ago(100), reported)], lookup, GENERATED)
    assert isinstance(key, ResolvedKey)
    assert (key.last_used, key.known_use) == (expected, known)


def test_owner_and_description_come_from_the_users_tags() -> None:
    """The owner tag is the configured one; the console keeps a key's description in a tag named by the key id."""
    lookup = UserLookup(
        "ann", (live_key("AKIA1", ago(100)),), tags={"owner": "payments", "AKIA1": "nightly export", "other": "x"}
    )
    tables = snapshot(account_result(report_user("ann", report_key(ago(100))), lookups={"ann": lookup}))
    key = tables.keys.iloc[0]
    assert (key["owner"], key["description"]) == ("payments", "nightly export")


def test_accounts_are_ordered_by_id_whatever_order_they_arrive_in() -> None:
    """The tables do not depend on which account was done first."""
    results = [account_result(report_user("ann"), account=number) for number in ("222222222222", "111111111111")]
    assert snapshot(*results).accounts.equals(snapshot(*reversed(results)).accounts)


@pytest.mark.parametrize("with_root", [True, False])
def test_root_keys_that_were_looked_up_have_ids_and_count(*, with_root: bool) -> None:
    """The root row's keys are joined as any user's; without a root row the look-up alone tells how many there are."""
    listed = (live_key("AKIAROOT", ago(900), used(3)), live_key("AKIAOFF", ago(800), active=False))
    lookups = {ROOT_USER: UserLookup(ROOT_USER, listed)}
    rows = [root(report_key(ago(900), slot=1), report_key(ago(800), slot=2))] if with_root else []
    facts = snapshot(account_result(*rows, with_root=with_root, lookups=lookups))
    (account,) = facts.accounts.to_dict("records")
    assert (account["root_keys_active"], account["root_keys_present"]) == (1, 2)
    keys = facts.keys.to_dict("records")
    found = [(key["access_key_id"], key["key_status"], key["identity"]) for key in keys if key["is_root"]]
    both = [("AKIAROOT", "Active", "live"), ("AKIAOFF", "Inactive", "live")]
    assert found == (both if with_root else [])


def test_keys_of_one_second_that_are_all_inactive_are_out_of_scope() -> None:
    """Whichever of them it is, it is inactive; of a mixed pair that is not known."""
    old = report_user("ann", report_key(ago(300), slot=1, active=False), report_key(ago(300), slot=2, active=False))
    listed = tuple(live_key(f"AKIA{n}", ago(300), active=False) for n in (1, 2))
    facts = build_snapshot([account_result(old, lookups={"ann": UserLookup("ann", listed)})])
    assert {found["outcome"] for found in judged(facts, ControlId.KEY_AGE)} == {Outcome.NOT_APPLICABLE}
    mixed = (listed[0], live_key("AKIA2", ago(300)))
    facts = build_snapshot([account_result(old, lookups={"ann": UserLookup("ann", mixed)})])
    assert {found["outcome"] for found in judged(facts, ControlId.KEY_AGE)} == {Outcome.UNKNOWN}
