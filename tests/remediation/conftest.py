"""The cloud in which keys are rotated."""

import pytest

from auditor.demo import AccountSeed, OrganisationSeed
from tests.conftest import StartCloud
from tests.remediation.world import MAIN, OTHER, Clock, World, user_seed

USERS = 200


@pytest.fixture
def world(start_cloud: StartCloud) -> World:
    clock = Clock()
    users = tuple(user_seed(f"user-{number}") for number in range(USERS))
    accounts = (
        AccountSeed(MAIN, "management"),
        AccountSeed(OTHER, "other", users, organisational_unit="Workloads"),
        AccountSeed("333333333333", "sandbox", organisational_unit="Sandbox"),
    )
    seed = OrganisationSeed(accounts)
    made: list[World] = []
    cloud = start_cloud(seed, clock=lambda: clock.now, fault=lambda call: made[0].fault(call) if made else None)
    made.append(World(cloud, clock))
    return made[0]
