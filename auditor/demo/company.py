"""The made-up company of the demonstration: ten accounts, about three hundred IAM users, years of neglect.

Ordinary users are drawn from a vocabulary, with a share of neglected keys for each account; the users that show
something in particular are written out in `stories`. Same `as_of` and seed, same company.
"""

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain
from random import Random

from auditor.demo import stories
from auditor.demo.names import (
    CI_TOOLS,
    DESCRIPTIONS,
    DOMAIN,
    FIRST_NAMES,
    LAST_NAMES,
    REPOSITORIES,
    SERVICES,
    TEAMS,
)
from auditor.demo.neglect import GOOD, NEGLECTED, History, grown_key, with_earlier_uses
from auditor.demo.seed import (
    AccountSeed,
    KeySeed,
    OrganisationSeed,
    PasswordSeed,
    RoleSeed,
    UserSeed,
    ago,
    derived_key_id,
    derived_text,
)


@dataclass(frozen=True, slots=True)
class _Blueprint:
    """An account before its users are drawn; `neglected` is the share of ordinary keys that nobody cares for."""

    name: str
    organisational_unit: str
    people: int = 0
    services: int = 0
    pipelines: int = 0
    neglected: float = 0.0
    report_polls: int = 0
    years: float = 6.0
    state: str = "ACTIVE"
    joined_method: str = "CREATED"
    refuses: bool = False


_BLUEPRINTS = (
    _Blueprint("management", "", people=9, services=2, pipelines=1, neglected=0.1, years=8.5),
    _Blueprint("production", "Workloads/Production", 26, 44, 12, neglected=0.08, report_polls=2, years=7.2),
    _Blueprint("staging", "Workloads/Staging", 20, 22, 10, neglected=0.08, years=6.8),
    _Blueprint("data", "Workloads/Production", 17, 24, 5, neglected=0.08, report_polls=1, years=5.1),
    _Blueprint("sandbox", "Sandbox", 36, 6, 4, neglected=0.26, years=6.0),
    _Blueprint("security", "Security", people=7, services=4, years=4.4),
    _Blueprint("log-archive", "Security", years=4.4),
    _Blueprint("legacy-datacentre", "Legacy", people=5, services=10, pipelines=2, neglected=0.7, years=11.5),
    _Blueprint("brightpost-acquired", "Acquired", 6, 6, 2, neglected=0.5, joined_method="INVITED", refuses=True),
    _Blueprint("retired-mobile-api", "Suspended", 2, 4, neglected=1.0, years=9.0, state="SUSPENDED"),
)


def demo_organisation(as_of: datetime, random_seed: int = 7) -> OrganisationSeed:
    """The company at `as_of`, a UTC instant; another `random_seed` draws other ids, names and keys."""
    as_of = as_of.replace(microsecond=0)
    accounts = tuple(_account(blueprint, as_of, random_seed) for blueprint in _BLUEPRINTS)
    return OrganisationSeed(accounts=accounts, management_account_id=accounts[0].id, caller=stories.AUDITOR)


def _account(blueprint: _Blueprint, as_of: datetime, random_seed: int) -> AccountSeed:
    random = Random(f"{random_seed}/{blueprint.name}")  # noqa: S311 - a story, not a secret
    account_id = _account_id(blueprint, random_seed)
    story = stories.told(blueprint.name, as_of)
    told_names = {user.name.casefold() for user in story.users}
    drawn = [user for user in _users(blueprint, random, as_of) if user.name.casefold() not in told_names]
    users = tuple(_tagged(user, account_id, random) for user in chain(drawn, story.users))
    if story.report.generated_at is not None:
        users = with_earlier_uses(users, story.report.generated_at, random)
    return AccountSeed(
        id=account_id,
        name=f"larkfield-{blueprint.name}",
        users=users,
        root=story.root,
        state=blueprint.state,
        email=f"aws+{blueprint.name}@{DOMAIN}",
        created_at=ago(as_of, days=blueprint.years * 365),
        organisational_unit=blueprint.organisational_unit,
        joined_method=blueprint.joined_method,
        role=RoleSeed(refuses=blueprint.refuses),
        report=replace(story.report, polls=blueprint.report_polls),
    )


def _account_id(blueprint: _Blueprint, random_seed: int) -> str:
    """Twelve digits; the oldest account's begin with a zero, which spreadsheets like to lose."""
    digits = derived_text("account", random_seed, blueprint.name, alphabet=string.digits, length=12)
    return ("0" if blueprint.name.startswith("legacy") else "1") + digits[1:]


# ------------------------------------------------------------------------------------------------- ordinary users


def _users(blueprint: _Blueprint, random: Random, as_of: datetime) -> list[UserSeed]:
    """Ordinary users, with the blueprint's share of neglected keys among them, whatever the draw."""
    users = [
        *_people(blueprint.people, random, as_of),
        *_services(blueprint.services, random),
        *_pipelines(blueprint.pipelines, random),
    ]
    with_key = [position for position, user in enumerate(users) if user.password is None or random.random() < 0.4]  # noqa: PLR2004 - two people in five have a key
    neglected = set(random.sample(with_key, round(blueprint.neglected * len(with_key))))
    oldest = blueprint.years * 365 - 40
    for position in with_key:
        history = random.choice(NEGLECTED if position in neglected else GOOD)
        keys = (grown_key(history, random, as_of, oldest), *_spare_keys(random, as_of, oldest))
        users[position] = replace(users[position], keys=keys)
    return [_dated(user, random, as_of, oldest) for user in users]


def _spare_keys(random: Random, as_of: datetime, oldest: float) -> Iterator[KeySeed]:
    """One user in nine has kept the key of the last rotation."""
    if random.random() < 1 / 9:
        yield grown_key(History.SET_ASIDE, random, as_of, oldest)


def _dated(user: UserSeed, random: Random, as_of: datetime, oldest: float) -> UserSeed:
    """The user, created before its keys; one in four just before the first. No password is older than its user."""
    first = min((key.created_at for key in user.keys), default=ago(as_of, days=random.uniform(20, 90)))
    earliest = ago(as_of, days=oldest)
    created = earliest + (first - earliest) * random.random()
    created = ago(first if random.random() < 1 / 4 else created, seconds=random.uniform(20, 200))
    password = user.password
    if password is not None:
        password = replace(password, changed_at=max(password.changed_at, created + timedelta(seconds=2)))
    return replace(user, created_at=created, password=password)


def _people(count: int, random: Random, as_of: datetime) -> Iterator[UserSeed]:
    for number in random.sample(range(len(FIRST_NAMES) * len(LAST_NAMES)), count):
        first, last = FIRST_NAMES[number % len(FIRST_NAMES)], LAST_NAMES[number // len(FIRST_NAMES)]
        form = random.choice(("{0}.{1}", "{0}.{1}", "{0}.{1}@{2}", "{0}_{1}", "{0}.{1}+aws@{2}"))
        used = ago(as_of, days=random.uniform(0, 25)) if random.random() < 0.8 else None  # noqa: PLR2004 - most people
        yield UserSeed(
            name=form.format(first, last, DOMAIN),
            path=random.choice(("/", "/people/", f"/team/{random.choice(TEAMS)}/")),
            password=PasswordSeed(changed_at=ago(as_of, days=random.uniform(30, 900)), last_used_at=used),
            mfa_active=random.random() < 0.85,  # noqa: PLR2004 - most people
        )


def _services(count: int, random: Random) -> Iterator[UserSeed]:
    names = [f"svc-{service}{suffix}" for service in SERVICES for suffix in ("", "-eu", "-batch")]
    for name in random.sample(names, count):
        yield UserSeed(name=name, path=random.choice(("/service/", "/service/", f"/team/{random.choice(TEAMS)}/", "/")))


def _pipelines(count: int, random: Random) -> Iterator[UserSeed]:
    names = [f"ci-{tool}-{repository}" for tool in CI_TOOLS for repository in REPOSITORIES]
    for name in random.sample(names, count):
        yield UserSeed(name=name, path="/ci/")


def _tagged(user: UserSeed, account_id: str, random: Random) -> UserSeed:
    """The user with its owner, where anybody wrote one down, and the console's descriptions of some keys."""
    tags = dict(user.tags)
    label = random.choice(("owner",) * 13 + ("Owner", "team", "Team") + ("",) * 4)
    if label and not tags:
        team = random.choice(TEAMS)
        tags[label] = f"{team}@{DOMAIN}" if label.lower() == "owner" else team
    for position in _described(user.keys, random):
        tags[derived_key_id(account_id, user.name, position)] = random.choice(DESCRIPTIONS)
    return replace(user, tags=tags)


def _described(keys: Sequence[KeySeed], random: Random) -> list[int]:
    return [position for position in range(len(keys)) if random.random() < 0.35]  # noqa: PLR2004 - one key in three
