"""Who is protected by where the account stands in the organisation: as Organizations tells it now."""

from pathlib import Path

import pytest

from auditor.demo import Call, ErrorFault, Fault
from auditor.remediation.engine import Standing
from auditor.remediation.plan import Kind
from auditor.remedy.carrying_out import advance
from tests.remediation.test_by_hand import claim_signed, means_of
from tests.remediation.world import World, item_of


def refusing(call: Call) -> Fault | None:
    """Organizations tells nothing."""
    return ErrorFault(403, "AccessDeniedException") if call.action == "ListAccounts" else None


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("/Sandbox", (Standing.DONE, "rotated")),
        ("/Workloads", (Standing.REFUSED, "protected: ")),
        ("unreadable", (Standing.WAITS, "what tells cannot be read")),
    ],
)
def test_a_unit_protects_the_users_of_its_accounts(
    world: World, tmp_path: Path, unit: str, expected: tuple[Standing, str]
) -> None:
    """Those of other units go on; where the units cannot be read, everybody may be protected."""
    item = item_of(world, "user-3", Kind.ROTATE, Kind.ROTATE)
    claim_signed(world, tmp_path, item)
    means = means_of(world, tmp_path)
    protected = means.config.remediation.protected.model_copy(
        update={"ous": (unit if unit.startswith("/") else "/Sandbox",)}
    )
    remediation = means.config.remediation.model_copy(update={"protected": protected})
    means.config = means.config.model_copy(update={"remediation": remediation})
    if unit == "unreadable":
        world.fault = refusing
    (outcome,) = advance(means, lambda _: None, item)
    assert outcome.standing is expected[0], outcome.told
    assert expected[1] in outcome.told
