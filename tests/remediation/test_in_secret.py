"""A key that applications read at their next start is not "unused", however long nobody used it."""

from datetime import timedelta
from pathlib import Path

import pytest

from auditor.demo import ErrorFault
from auditor.model import KeyStatus, UsedAt
from auditor.remediation.journal import Event
from auditor.remediation.plan import Basis, Delivery, Kind, PlannedKey, Use
from auditor.remediation.planning import Candidate, plan_items
from auditor.remedy.by_hand import tell_journal
from auditor.remedy.carrying_out import advance
from auditor.remedy.drafting import Population, look, settings_of
from auditor.remedy.of_user import Wish, plan_for, subject_of
from tests.remediation.test_admission import Team
from tests.remediation.world import OTHER, World


@pytest.mark.parametrize(
    ("what", "leaked", "code"),
    [
        ("published", False, "IN_SECRET"),
        ("checked", False, "IN_SECRET"),
        ("confirmed", False, "IN_SECRET"),
        ("used", False, None),
        ("adopted", False, None),
        ("published", True, None),
        ("replaced", False, None),
        ("unreadable", False, "UNREADABLE"),
    ],
)
def test_a_published_key_is_not_switched_off_as_unused(
    world: World,
    tmp_path: Path,
    what: str,
    *,
    leaked: bool,
    code: str | None,
) -> None:
    """A job of each quarter has not read it yet; one that leaked, or that another took the place of, may go.

    So may one that its application used once and does not any more; our own check of it, or somebody's word, is no use.
    """
    team = Team(world, tmp_path)
    is_watched = what in {"confirmed", "adopted"}
    first = team.item("user-0", through=Kind.DEACTIVATE if is_watched else Kind.ROTATE)
    team.claims(team.plan(first))
    list(advance(team.means(), lambda _: None))
    done = team.means().ledger().items[first.id].done
    key = str(done.new_key)
    world.clock.pass_(days=1)
    if what in {"checked", "used", "adopted"}:
        service = "sts" if what == "checked" else "s3"
        world.cloud.record_use(key, UsedAt(world.clock.now - timedelta(hours=1), service, "eu-west-1"))
    if what == "confirmed":
        tell_journal(team.means(), first.id, Event.CONFIRMED, reason="it reads it", by="bob")
    if what in {"confirmed", "adopted"}:
        world.clock.pass_(days=7)
        list(advance(team.means(), lambda _: None))
        assert team.means().ledger().items[first.id].done.adopted_at is not None
    if what == "adopted":  # and the last that is known of it was as our own check is
        world.cloud.record_use(key, UsedAt(world.clock.now, "sts", "eu-west-1"))
    if what in {"checked", "confirmed", "used", "adopted"}:
        if first.through is not Kind.ROTATE:
            tell_journal(team.means(), first.id, Event.ENDED, how="closed: enough", by="bob")
        world.delete_key("user-0", first.key.id)
    world.clock.pass_(days=100)
    if what == "replaced":
        world.delete_key("user-0", first.key.id)
        world.cloud.record_use(key, UsedAt(world.clock.now, "s3", "eu-west-1"))
        planned = PlannedKey(id=key, created_at=world.created("user-0", key), status=KeyStatus.ACTIVE, last_used=Use())
        delivery = Delivery(secret="auditor/user-0", region="us-east-1", current=done.version)
        second = first.model_copy(update={"id": "second", "key": planned, "delivery": delivery})
        team.claims(team.plan(second, number=2))
        list(advance(team.means(), lambda _: None))
        assert {it.ended for it in team.means().ledger().items.values()} == {"rotated"}
    if what == "unreadable":
        world.fault = lambda call: ErrorFault(403, "AccessDenied") if call.action == "DescribeSecret" else None
    means = team.means()
    basis = (Basis(control="key-unused", severity="medium", reason="unused"),)
    found = [
        Candidate(OTHER, "other", "aws", "user-0", key, None, basis, "payments", Kind.DEACTIVATE, is_urgent=leaked)
    ]
    accounts, ledger = means.accounts([means.account(OTHER, "aws")]), means.ledger()
    settings = settings_of(means, frozenset(Kind), Kind.DEACTIVATE, Population(found))
    items, blocked = plan_items(found, lambda one: look(means, one, accounts, means.delivery, ledger), settings)
    assert [one.code for one in blocked] == ([code] if code else [])
    assert [item.key.id for item in items] == ([] if code else [key])
    wish = Wish(Kind.DEACTIVATE, Kind.DEACTIVATE, "unused", key, owner="payments", leaked=leaked)
    plan = plan_for(means, subject_of(means, "user-0", OTHER), wish, "ann")
    assert [one.code for one in plan.blocked] == ([code] if code == "UNREADABLE" else [])
    warned = [basis.reason for item in plan.items for basis in item.basis if basis.reason.startswith("Careful: ")]
    assert len(warned) == (code == "IN_SECRET"), "who names the key is warned, and so is who approves it"
