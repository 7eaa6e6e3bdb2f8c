"""Discovery: the whole organisation or an error, filters that mean what they say, and numbers that add up."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from moto.organizations.models import organizations_backends

from auditor.aws.identity import Via
from auditor.config import AccountEntry, AccountFilter, AccountOverride, AccountsConfig, AccountSource
from auditor.demo import AccountSeed, Call, EmbeddedOrganisation, ErrorFault, Fault, OrganisationSeed, RoleSeed
from auditor.errors import NothingAuditedError, UsageError
from auditor.gather import Scope, resolve_scope
from tests.conftest import StartCloud, VirtualTime, connect

MAIN, PROD, NESTED, SANDBOX, CLOSED = (f"{n}" * 12 for n in range(1, 6))

ALL = (MAIN, PROD, NESTED, SANDBOX, CLOSED)

SEED = OrganisationSeed(
    (
        AccountSeed(MAIN, "management"),
        AccountSeed(PROD, "payments", organisational_unit="Workloads/Production", tags={"stage": "prod"}),
        AccountSeed(NESTED, "payments-eu", organisational_unit="Workloads/Production/EU", tags={"stage": "prod"}),
        AccountSeed(SANDBOX, "sandbox-ann", organisational_unit="Sandbox", tags={"stage": "test", "owner": "ann"}),
        AccountSeed(CLOSED, "old-payments", organisational_unit="Workloads", state="SUSPENDED"),
    )
)

Resolve = Callable[..., Scope]


@pytest.fixture
def resolve(virtual_time: VirtualTime) -> Resolve:
    def resolve(
        cloud: EmbeddedOrganisation,
        *only: str,
        include: AccountFilter = AccountFilter(),  # noqa: B008 - frozen
        exclude: AccountFilter = AccountFilter(),  # noqa: B008 - frozen
        policy_units: Sequence[str] = (),
        **options: Any,
    ) -> Scope:
        wanted = AccountsConfig(
            source=AccountSource.ORGANISATION, role_name="r", include=include, exclude=exclude, **options
        )
        return resolve_scope(wanted, only, connect(cloud), virtual_time.timing, policy_units=policy_units)

    return resolve


def ids(scope: Scope) -> set[str]:
    """The accounts in scope."""
    return {account.id for account in scope.accounts}


def left_out(scope: Scope) -> dict[str, str]:
    """Why which account is not in scope; and the numbers add up."""
    out = {entry.member.id: entry.left_out for entry in scope.population if entry.left_out}
    assert [entry.member.id for entry in scope.population if not entry.left_out] == [it.id for it in scope.accounts]
    return out


def test_without_filters_everything_is_in_scope(start_cloud: StartCloud, resolve: Resolve) -> None:
    """The management account and the accounts that are not active too; nothing but ListAccounts is called."""
    cloud = start_cloud(SEED)
    scope = resolve(cloud)
    assert ids(scope) == set(ALL)
    assert left_out(scope) == {}
    assert {account.id: account.state for account in scope.accounts}[CLOSED] == "SUSPENDED"
    assert {call.action for call in cloud.call_log} == {"GetCallerIdentity", "ListAccounts"}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (AccountFilter(ids=(MAIN,)), {MAIN}),
        (AccountFilter(names=("payments",)), {PROD}),
        (AccountFilter(names=("payments*",)), {PROD, NESTED}),
        (AccountFilter(names=("*payments*", "sandbox-???")), {PROD, NESTED, CLOSED, SANDBOX}),
        (AccountFilter(ous=("/Workloads",)), {PROD, NESTED, CLOSED}),
        (AccountFilter(ous=("/Workloads/Production",)), {PROD, NESTED}),
        (AccountFilter(ous=("/Workloads/Production/EU", "/Sandbox")), {NESTED, SANDBOX}),
        (AccountFilter(tags=("stage=prod",)), {PROD, NESTED}),
        (AccountFilter(tags=("owner", "stage=prod")), {PROD, NESTED, SANDBOX}),
        (AccountFilter(ids=(MAIN,), names=("old-*",), ous=("/Sandbox",)), {MAIN, CLOSED, SANDBOX}),
    ],
)
@pytest.mark.parametrize("paths", [True, False], ids=["paths", "walked"])
def test_each_filter_includes_and_excludes_alike(
    wanted: AccountFilter, found: set[str], start_cloud: StartCloud, resolve: Resolve, *, paths: bool
) -> None:
    """What a filter matches is in scope as `include`, and all the rest as `exclude`; with `Paths` and without."""
    cloud = start_cloud(replace(SEED, shows_paths=paths), page_size=1)
    included, excluded = resolve(cloud, include=wanted), resolve(cloud, exclude=wanted)
    assert ids(included) == found
    assert ids(excluded) == set(ALL) - found
    assert set(left_out(included).values()) == {"accounts.include"}
    assert {why.split('"')[0] for why in left_out(excluded).values()} == {
        f"accounts.exclude.{kind} " for kind, entries in wanted.model_dump().items() if entries
    }


@pytest.mark.parametrize("paths", [True, False], ids=["paths", "walked"])
def test_units_are_meant_by_id_too(start_cloud: StartCloud, resolve: Resolve, *, paths: bool) -> None:
    """A root's id means every account, a unit's those below it; names are not asked for, `Paths` save the walk."""
    cloud = start_cloud(replace(SEED, shows_paths=paths))
    backend = organizations_backends[MAIN]["aws"]
    units = {unit.name: unit.id for unit in backend.ou}
    assert ids(resolve(cloud, include=AccountFilter(ous=(backend.ou[0].id,)))) == set(ALL)
    assert ids(resolve(cloud, exclude=AccountFilter(ous=(units["Production"],)))) == {MAIN, SANDBOX, CLOSED}
    assert (cloud.calls[MAIN, "ListOrganizationalUnitsForParent"] == 0) is paths


@pytest.mark.parametrize("has_empty_pages", [False, True])
def test_tree_and_tags_come_in_pages(start_cloud: StartCloud, resolve: Resolve, *, has_empty_pages: bool) -> None:
    """Units, accounts of a unit and tags of an account are read to the last page, empty ones on the way or not."""
    cloud = start_cloud(replace(SEED, shows_paths=False, has_empty_pages=has_empty_pages), page_size=1)
    scope = resolve(cloud, exclude=AccountFilter(ous=("/Workloads/Production/EU",), tags=("owner=ann",)))
    assert ids(scope) == {MAIN, PROD, CLOSED}


@pytest.mark.parametrize("is_delegated", [True, False])
def test_a_delegated_administrator_lists_the_organisation(
    start_cloud: StartCloud, virtual_time: VirtualTime, *, is_delegated: bool
) -> None:
    """It reads as the management account does, which is entered by the role then; any other member may not."""
    hub = RoleSeed("hub", external_id=None)
    accounts = tuple(replace(account, role=hub) if account.id == PROD else account for account in SEED.accounts)
    seed = OrganisationSeed(accounts, delegated_administrator_ids=(PROD,) if is_delegated else ())
    connection = connect(start_cloud(seed), via=Via((f"arn:aws:iam::{PROD}:role/hub",), "tests", 3600))
    everything = AccountFilter(ous=("/Workloads",), tags=("owner",), names=("management",))
    wanted = AccountsConfig(source=AccountSource.ORGANISATION, role_name="r", include=everything)
    if not is_delegated:
        with pytest.raises(NothingAuditedError, match="AccessDenied") as caught:
            resolve_scope(wanted, (), connection, virtual_time.timing)
        assert "delegated administrator" in caught.value.next_step
        return
    scope = resolve_scope(wanted, (), connection, virtual_time.timing)
    assert {account.id: account.role_name for account in scope.accounts} == {
        MAIN: "r",
        PROD: None,
        NESTED: "r",
        SANDBOX: "r",
        CLOSED: "r",
    }


def test_a_path_of_names_asks_only_along_its_way(start_cloud: StartCloud, resolve: Resolve) -> None:
    """For /Workloads/Production the root and Workloads are asked for their units, nothing else."""
    cloud = start_cloud(SEED)
    resolve(cloud, include=AccountFilter(ous=("/Workloads/Production",)))
    assert (cloud.calls[MAIN, "ListRoots"], cloud.calls[MAIN, "ListOrganizationalUnitsForParent"]) == (1, 2)
    assert cloud.calls[MAIN, "ListAccountsForParent"] == 0


def test_tags_are_asked_only_where_they_decide(start_cloud: StartCloud, resolve: Resolve) -> None:
    """Accounts that other filters include or exclude cost no call, and no account costs two."""
    cloud = start_cloud(SEED)
    scope = resolve(
        cloud,
        include=AccountFilter(ids=(MAIN,), tags=("stage=prod",)),
        exclude=AccountFilter(ous=("/Workloads/Production/EU",), names=("old-*",)),
    )
    assert ids(scope) == {MAIN, PROD}
    asked = [call.params["ResourceId"] for call in cloud.call_log if call.action == "ListTagsForResource"]
    assert sorted(asked) == [PROD, SANDBOX]


def test_a_tag_of_an_account_that_others_leave_out_is_no_slip(start_cloud: StartCloud, resolve: Resolve) -> None:
    """Before a tag is said to match nothing, every account is asked for its tags, each once."""
    cloud = start_cloud(SEED)
    scope = resolve(cloud, include=AccountFilter(ous=("/Workloads",)), exclude=AccountFilter(tags=("owner=ann",)))
    assert ids(scope) == {PROD, NESTED, CLOSED}
    assert cloud.calls[MAIN, "ListTagsForResource"] == len(ALL)


NOTHING = AccountFilter(ids=("9" * 12,), names=("paymen", "PAYMENTS"), ous=("/Work", "ou-zzzz-zzzzzzzz"), tags=("x=y",))


def test_entries_that_match_nothing_are_named_all_at_once(start_cloud: StartCloud, resolve: Resolve) -> None:
    """An id, a name, a unit or a tag that nothing has is an error wherever it stands, never a smaller run."""
    cloud = start_cloud(SEED)
    with pytest.raises(NothingAuditedError) as caught:
        resolve(cloud, include=replace_filter(NOTHING, ids=(*NOTHING.ids, MAIN, PROD)), exclude=NOTHING)
    for side in ("include", "exclude"):
        for kind, entries in NOTHING.model_dump().items():
            for entry in entries:
                assert f'accounts.{side}.{kind} "{entry}"' in caught.value.what
    assert MAIN not in caught.value.what
    assert caught.value.next_step


def replace_filter(wanted: AccountFilter, **entries: tuple[str, ...]) -> AccountFilter:
    """The filter with other entries."""
    return wanted.model_copy(update=entries)


def test_filters_that_leave_nothing_are_an_error(start_cloud: StartCloud, resolve: Resolve) -> None:
    """An empty run proves nothing."""
    with pytest.raises(NothingAuditedError, match="leave out all 5"):
        resolve(start_cloud(SEED), exclude=AccountFilter(names=("*",)))


def test_the_command_line_narrows_and_is_named(start_cloud: StartCloud, resolve: Resolve) -> None:
    """--account leaves out what the filters left, and the population says so."""
    scope = resolve(start_cloud(SEED), PROD, exclude=AccountFilter(names=("sandbox-*",)))
    assert ids(scope) == {PROD}
    assert left_out(scope) == {
        MAIN: "--account",
        NESTED: "--account",
        CLOSED: "--account",
        SANDBOX: 'accounts.exclude.names "sandbox-*"',
    }


def test_an_override_changes_how_one_account_is_entered(start_cloud: StartCloud, resolve: Resolve) -> None:
    """What it does not say is as for the rest; the caller's own account is entered by a role where it says so."""
    overrides = (
        AccountOverride(id=MAIN, role_name="own"),
        AccountOverride(id=PROD, external_id="special"),
        AccountOverride(id=NESTED, role_name="legacy/read", external_id="other"),
    )
    scope = resolve(start_cloud(SEED), override=overrides, external_id="usual")
    assert {account.id: (account.role_name, account.external_id) for account in scope.accounts} == {
        MAIN: ("own", "usual"),
        PROD: ("r", "special"),
        NESTED: ("legacy/read", "other"),
        SANDBOX: ("r", "usual"),
        CLOSED: ("r", "usual"),
    }


def test_overrides_of_what_is_not_in_scope_are_named(start_cloud: StartCloud, resolve: Resolve) -> None:
    """Accounts that do not exist and such as are left out, all at once; narrowing on the command line is no matter."""
    cloud = start_cloud(SEED)
    overrides = tuple(AccountOverride(id=account, role_name="x") for account in ("9" * 12, SANDBOX, PROD))
    with pytest.raises(NothingAuditedError, match=f"not in scope: {SANDBOX}, {'9' * 12}") as caught:
        resolve(cloud, exclude=AccountFilter(ous=("/Sandbox",)), override=overrides)
    assert PROD not in caught.value.what
    assert ids(resolve(cloud, MAIN, override=overrides[1:])) == {MAIN}


DENIED, THROTTLED, BROKEN = (
    ErrorFault(400, "AccessDeniedException", "no"),
    ErrorFault(400, "TooManyRequestsException", "slow down"),
    ErrorFault(500, "ServiceException", "sorry"),
)


def failing(action: str, fault: Fault, number: int) -> Callable[[Call], Fault | None]:
    """The fault at the n-th call of an action and ever after."""
    return lambda call: fault if call.action == action and call.number >= number else None


@pytest.mark.parametrize("fault", [DENIED, THROTTLED, BROKEN], ids=["denied", "throttled", "broken"])
def test_page_three_of_the_accounts_failing_fails_the_run(
    fault: Fault, start_cloud: StartCloud, resolve: Resolve
) -> None:
    """Two pages of accounts are not the organisation: without the third the population is unknown."""
    seed = OrganisationSeed(tuple(AccountSeed(f"{n:012d}", f"account {n}") for n in range(1, 46)))
    cloud = start_cloud(seed, fault=failing("ListAccounts", fault, 3))
    with pytest.raises(NothingAuditedError, match="organizations:ListAccounts") as caught:
        resolve(cloud)
    assert caught.value.next_step
    assert cloud.calls["000000000001", "ListAccounts"] >= 3


@pytest.mark.parametrize("fault", [DENIED, THROTTLED, BROKEN], ids=["denied", "throttled", "broken"])
@pytest.mark.parametrize(
    ("action", "number"),
    [
        ("ListRoots", 1),
        ("ListOrganizationalUnitsForParent", 1),
        ("ListOrganizationalUnitsForParent", 3),
        ("ListAccountsForParent", 2),
        ("ListTagsForResource", 3),
    ],
)
def test_any_call_of_discovery_failing_fails_the_run(
    action: str, number: int, fault: Fault, start_cloud: StartCloud, resolve: Resolve
) -> None:
    """Half a tree or half the tags would leave accounts out in silence."""
    cloud = start_cloud(replace(SEED, shows_paths=False), fault=failing(action, fault, number))
    with pytest.raises(NothingAuditedError, match=f"organizations:{action}") as caught:
        resolve(cloud, exclude=AccountFilter(ous=("/Sandbox",), tags=("stage=prod",)))
    assert f"organizations:{action}" in caught.value.next_step


@pytest.mark.parametrize(("action", "times"), [("ListAccounts", 3), ("ListAccountsForParent", 5)])
def test_throttling_that_passes_costs_no_account(
    action: str, times: int, start_cloud: StartCloud, resolve: Resolve
) -> None:
    """Organizations allows few calls a second; the same population comes in the end."""
    cloud = start_cloud(
        replace(SEED, shows_paths=False, has_empty_pages=True),
        fault=lambda call: THROTTLED if call.action == action and call.number <= times else None,
    )
    scope = resolve(cloud, exclude=AccountFilter(ous=("/Sandbox",)))
    assert ids(scope) == set(ALL) - {SANDBOX}


def test_an_account_that_stands_nowhere_is_an_error(start_cloud: StartCloud, resolve: Resolve) -> None:
    """One that was moved while the tree was walked may be in the unit that is left out, so it is not guessed."""
    cloud = start_cloud(replace(SEED, shows_paths=False))
    organizations_backends[MAIN]["aws"].accounts[1].parent_id = "ou-gone-00000000"
    with pytest.raises(NothingAuditedError, match=f"{PROD} stand in no organisational unit"):
        resolve(cloud, exclude=AccountFilter(ous=("/Sandbox",)))


# ------------------------------------------------------------------------------------------------- the policy's units


def units_of(scope: Scope) -> dict[str, tuple[int | None, tuple[str, ...] | None]]:
    """By account, how many units are known above it, and their names."""
    found = {it.id: (None if it.units is None else len(it.units), it.unit_names) for it in scope.accounts}
    assert all(it.units is None or it.units[0].startswith("r-") for it in scope.accounts)
    return found


DEPTHS = {MAIN: 1, PROD: 3, NESTED: 4, SANDBOX: 2, CLOSED: 2}
NAMES = {
    MAIN: (),
    PROD: ("Workloads", "Production"),
    NESTED: ("Workloads", "Production", "EU"),
    SANDBOX: ("Sandbox",),
    CLOSED: ("Workloads",),
}


def test_accounts_carry_the_units_that_aws_tells(start_cloud: StartCloud, resolve: Resolve) -> None:
    """Ids, because they come with the list; no names, because nobody asked; nothing where the list has no paths."""
    assert units_of(resolve(start_cloud(SEED))) == {id_: (depth, None) for id_, depth in DEPTHS.items()}


def test_accounts_without_paths_are_not_located_for_nothing(start_cloud: StartCloud, resolve: Resolve) -> None:
    """Where AWS does not say where an account stands, and nobody needs to know, it stays unknown."""
    cloud = start_cloud(replace(SEED, shows_paths=False))
    assert units_of(resolve(cloud)) == dict.fromkeys(ALL, (None, None))
    assert {call.action for call in cloud.call_log} == {"GetCallerIdentity", "ListAccounts"}


@pytest.mark.parametrize("shows_paths", [True, False])
@pytest.mark.parametrize("include", [AccountFilter(), AccountFilter(ous=("/Workloads",))])
def test_a_path_of_names_in_the_policy_brings_all_names(
    start_cloud: StartCloud, resolve: Resolve, include: AccountFilter, *, shows_paths: bool
) -> None:
    """Each account gets its whole path, whatever the filters; the unit need not be above any account in scope."""
    cloud = start_cloud(replace(SEED, shows_paths=shows_paths))
    scope = resolve(cloud, include=include, policy_units=["/Workloads/Production", "/Sandbox"])
    expected = {id_: (DEPTHS[id_], NAMES[id_]) for id_ in ALL}
    assert units_of(scope) == {id_: expected[id_] for id_ in ids(scope)}
    assert ids(scope) == (set(ALL) if include == AccountFilter() else {PROD, NESTED, CLOSED})


@pytest.mark.parametrize("shows_paths", [True, False])
def test_an_id_in_the_policy_needs_places_but_no_names(
    start_cloud: StartCloud, resolve: Resolve, *, shows_paths: bool
) -> None:
    """The accounts are located; the tree is walked only where AWS did not say where they stand."""
    cloud = start_cloud(replace(SEED, shows_paths=shows_paths))
    named = resolve(cloud, policy_units=["/Workloads/Production"])
    (production,) = {it.units[-1] for it in named.accounts if it.id == PROD and it.units}
    before = len(cloud.call_log)
    assert units_of(resolve(cloud, policy_units=[production])) == {id_: (depth, None) for id_, depth in DEPTHS.items()}
    assert ("ListRoots" in {call.action for call in cloud.call_log[before:]}) is not shows_paths


@pytest.mark.parametrize("entry", ["/Workloads/production", "/Production", "/Nowhere", "ou-none-12345678", "r-none"])
def test_a_unit_of_the_policy_that_does_not_exist_is_an_error(
    start_cloud: StartCloud, resolve: Resolve, entry: str
) -> None:
    """As with the filters: a slip of the pen must not make a rule that never applies."""
    with pytest.raises(NothingAuditedError, match=f'"{entry}"') as caught:
        resolve(start_cloud(SEED), policy_units=["/Sandbox", entry])
    assert '"/Sandbox"' not in str(caught.value)


def test_units_in_the_policy_need_an_organisation(start_cloud: StartCloud, virtual_time: VirtualTime) -> None:
    """A rule for a unit would never apply to accounts of which nobody knows where they stand; nothing is called."""
    cloud = start_cloud(SEED)
    with pytest.raises(UsageError, match="no organisation is asked") as caught:
        resolve_scope(AccountsConfig(), (), connect(cloud), virtual_time.timing, policy_units=["/Sandbox"])
    assert "/Sandbox" in str(caught.value)
    assert not cloud.call_log


def test_a_unit_without_accounts_exists(start_cloud: StartCloud, resolve: Resolve) -> None:
    """It stands in the organisation: a rule may wait there for the accounts to come."""
    lonely = replace(SEED, accounts=tuple(it for it in SEED.accounts if it.id in {MAIN, NESTED}))
    cloud = start_cloud(lonely)
    assert ids(resolve(cloud, policy_units=["/Workloads"])) == {MAIN, NESTED}


def test_a_tree_that_cannot_be_walked_is_no_scope(start_cloud: StartCloud, resolve: Resolve) -> None:
    """Without the names it is not known which rules hold where."""

    def refuse(call: Call) -> Fault | None:
        return ErrorFault(400, "AccessDeniedException", "no") if call.action == "ListRoots" else None

    with pytest.raises(NothingAuditedError, match="ListRoots"):
        resolve(start_cloud(SEED, fault=refuse), policy_units=["/Sandbox"])


def test_root_users_are_entered_in_other_members_alone(start_cloud: StartCloud, resolve: Resolve) -> None:
    """Not in the caller's own account, nor in one that is listed beside the organisation."""
    beside = AccountEntry(id="999999999999", role_name="r")
    assert resolve(start_cloud(SEED), list=(beside,)).without_root_sessions == {MAIN, "999999999999"}
