"""AWS Organizations: the accounts of the company, where they stand in it, and their tags."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.model import Member

PAGE_SIZE = 20
"""The largest page that the lists of Organizations give (AWS Organizations API reference)."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A root or an organisational unit: ids from the root down to itself, and its names below the root."""

    path: tuple[str, ...]
    names: tuple[str, ...] = ()


async def list_accounts(caller: Caller, on_found: Callable[[int], None] = lambda _: None) -> tuple[Member, ...]:
    """Every account of the caller's organisation with its name and state, in AWS's order.

    `State` is read where AWS sends it, else the older `Status`.

    Args:
        caller: acts in the management account, or in a delegated administrator's.
        on_found: told how many there are so far; AWS gives them twenty at a time.

    Raises:
        AwsFailure: not in an organisation, or neither the management account nor a delegated administrator.
    """
    found: dict[str, Member] = {}
    async for entry in _pages(caller, "list_accounts", "Accounts"):
        member = _member(entry)
        found.setdefault(member.id, member)
        if len(found) % PAGE_SIZE == 0:
            on_found(len(found))
    return tuple(found.values())


async def walk_units(caller: Caller, enters: Callable[[Unit], bool] = lambda _: True) -> AsyncIterator[Unit]:
    """The roots and organisational units, parents first; `enters` says whether the units below one are asked for.

    Raises:
        AwsFailure: a list is refused, or a unit lies below itself.
    """
    waiting = [Unit((str(root["Id"]),)) async for root in _pages(caller, "list_roots", "Roots")]
    seen: set[str] = set()
    while waiting:
        unit = waiting.pop()
        parent = unit.path[-1]
        if parent in seen:
            what = f"{parent} stands in two places"
            operation = "organizations:ListOrganizationalUnitsForParent"
            raise AwsFailure(Kind.UNREADABLE, operation, "UnreadableAnswer", what)
        seen.add(parent)
        yield unit
        if enters(unit):
            below = _pages(caller, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=parent)
            waiting += [Unit((*unit.path, str(it["Id"])), (*unit.names, str(it.get("Name")))) async for it in below]


async def locate_accounts(caller: Caller) -> Mapping[str, tuple[str, ...]]:
    """Where every account stands, as `Member.units`, by account id: a call or more for every unit.

    Raises:
        AwsFailure: as `walk_units`.
    """
    return {
        str(entry["Id"]): unit.path
        async for unit in walk_units(caller)
        async for entry in _pages(caller, "list_accounts_for_parent", "Accounts", ParentId=unit.path[-1])
    }


async def account_tags(caller: Caller, account_id: str) -> Mapping[str, str]:
    """The tags of an account of the organisation; raises AwsFailure."""
    pages = _pages(caller, "list_tags_for_resource", "Tags", size=None, ResourceId=account_id)
    return {str(tag["Key"]): str(tag.get("Value", "")) async for tag in pages}


async def _pages(
    caller: Caller, method: str, key: str, *, size: int | None = PAGE_SIZE, **params: Any
) -> AsyncIterator[Mapping[str, Any]]:
    """The items of all pages of a list. A page may be empty and still continue."""
    token: dict[str, Any] = {"MaxResults": size} if size else {}
    while True:
        page = await caller.call("organizations", method, **params, **token)
        following = page.get("NextToken")
        if key not in page or (following and token.get("NextToken") == following):
            operation = "organizations:" + method.title().replace("_", "")
            what = f"a page without {key}, or one that leads back to itself"
            raise AwsFailure(Kind.UNREADABLE, operation, "UnreadableAnswer", what)
        for item in page[key]:
            yield item
        if not following:
            return
        token["NextToken"] = following


def _member(entry: Mapping[str, Any]) -> Member:
    state = entry.get("State") or entry.get("Status") or "UNKNOWN"
    account_id = str(entry["Id"])
    return Member(account_id, entry.get("Name") or None, str(state), _units(entry.get("Paths") or (), account_id))


def _units(paths: Any, account_id: str) -> tuple[str, ...]:
    """The ids between organisation and account in `o-…/r-…/ou-…/<account id>/`; none where it reads otherwise."""
    for path in map(str, paths):
        *units, last = path.rstrip("/").split("/")[1:] or [""]
        if last == account_id and units and units[0].startswith("r-") and all(x.startswith("ou-") for x in units[1:]):
            return tuple(units)
    return ()
