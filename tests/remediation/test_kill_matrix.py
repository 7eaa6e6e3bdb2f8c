"""A fault at every call and at every commit of a whole rotation: whatever is interrupted, the end is the same.

The numbers stand at the end of what pytest prints.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from auditor.demo import Call, ErrorFault, Fault, LostFault
from auditor.remediation.decision import Step
from auditor.remediation.engine import Standing
from auditor.remediation.plan import Item
from tests.remediation.world import Death, World, claim, item_of, plan_of, tick, tracked

DAYS = (0, 8, 1.5, 16, 3.5)
"""Days until each tick that has something to do: rotate, announce, switch off, announce, delete."""

AGAIN = 45
"""Minutes until a tick that heals; CloudTrail knows by then."""

FAULTS: Mapping[str, Fault] = {
    "lost": LostFault(),
    "denied": ErrorFault(403, "AccessDenied"),
    "throttled": ErrorFault(400, "Throttling"),
    "broken": ErrorFault(500, "InternalFailure"),
}
CALLS = ("killed before", "killed after", *FAULTS)
COMMITS = ("killed before the commit", "killed after the commit")


def calm(_call: Call) -> None:
    """No fault."""


def once(fault: Fault, at: int) -> Callable[[Call], Fault | None]:
    """The fault at the n-th call."""
    counted = -1

    def decide(_call: Call) -> Fault | None:
        nonlocal counted
        counted += 1
        return fault if counted == at else None

    return decide


def sound(world: World, item: Item, folder: Path) -> None:
    """What holds at every moment: the application works, there are never more than two keys, and none is nobody's."""
    world.application_runs(item)
    keys = world.keys(item.user)
    assert len(keys) <= 2
    state = tracked(world, folder, item)
    for key in keys.keys() - {item.key.id}:
        version = state.done.version
        held = world.stored(f"auditor/{item.user}", version) if version else None
        assert state.intent is not None or (held and held["AccessKeyId"] == key), f"{key} is nobody's"


def rotation(world: World, item: Item, folder: Path, death: Death | None = None, commits: Death | None = None) -> None:
    """The whole rotation with what may go wrong once, and ticks that heal after it."""
    claim(world, folder, plan_of(item, at=world.clock.now))
    for days in DAYS:
        world.clock.pass_(days=days)
        world.application_runs(item)
        tick(world, folder, death=death, commits=commits)
        sound(world, item, folder)
        if (death and death.dead) or (commits and commits.dead) or world.fault is not calm:
            death = commits = None
            for _ in range(3):
                world.clock.pass_(minutes=AGAIN)
                outcomes = tick(world, folder)
                sound(world, item, folder)
                if all(outcome.standing is not Standing.FAILED for outcome in outcomes):
                    break
    for _ in range(8):
        if tracked(world, folder, item).ended is not None:
            return
        world.clock.pass_(days=4)
        tick(world, folder)
        sound(world, item, folder)


def ends_well(world: World, item: Item, folder: Path) -> None:
    """The end of a whole rotation: one key, the one that applications read; the old one is gone."""
    assert tracked(world, folder, item).ended == "deleted"
    ((key, status),) = world.keys(item.user).items()
    value = world.stored(f"auditor/{item.user}")
    assert (status, key != item.key.id) == ("Active", True)
    assert value is not None
    assert value["AccessKeyId"] == key
    assert {one.key: one.step for one in world.told if one.item.id == item.id} == {
        f"{item.id}/deactivate/0": Step.DEACTIVATE,
        f"{item.id}/delete/1": Step.DELETE,
    }


@pytest.mark.parametrize("kind", [*CALLS, *COMMITS])
def test_every_fault_at_every_place_has_the_same_end(
    world: World, tmp_path: Path, kind: str, record_property: Callable[[str, object], None]
) -> None:
    """Killed, lost, refused or broken at each call, killed at each commit: then ticks until it is done."""
    world.fault = calm
    item = item_of(world, "user-0")
    calls, commits = Death(), Death()
    rotation(world, item, tmp_path / "clean", calls, commits)
    ends_well(world, item, tmp_path / "clean")
    assert calls.counted == len(world.cloud.call_log)  # so that what goes wrong by number does so at every one
    places, what = (calls.counted, "calls") if kind in CALLS else (commits.counted, "commits")
    faults = {}
    for at in range(places):
        item, folder = item_of(world, f"user-{at + 1}"), tmp_path / str(at)
        fault = FAULTS.get(kind)
        world.fault = once(fault, at) if fault else calm
        death = Death(at, after="after" in kind)
        try:
            rotation(world, item, folder, *((death, None) if kind in CALLS else (None, death)))
            ends_well(world, item, folder)
        except AssertionError as error:
            faults[at] = f"{calls.names[at] if kind in CALLS else 'commit'}: {error}"
    record_property("kill matrix", f"{kind}: at each of {places} {what}, {len(faults)} ended badly")
    assert not faults
