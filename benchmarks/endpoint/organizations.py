"""Organizations: one root with the management account, a few organisational units with all others (JSON 1.1)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.endpoint.cloud import Call, Cloud, RefusedError
from benchmarks.endpoint.company import MANAGEMENT

PAGE = 20
"""The largest page (Organizations API reference, ListAccounts)."""

UNITS = 5

_ORGANISATION = "o-benchmark00"
_ROOT = "r-bnch"
_JOINED = 1_500_000_000.0
_STAGES = ("production", "staging", "development")
_COST_CENTRES = 50

Answer = Callable[[Cloud, Call], dict[str, Any]]


def list_accounts(cloud: Cloud, call: Call) -> dict[str, Any]:
    """A page of all accounts, with empty ones between where the settings say so; a token is the next one's number."""
    numbers = range(1, cloud.settings.accounts + 1)
    token = str(call.params.get("NextToken", ""))
    if cloud.settings.empty_pages and not token.startswith("full-"):
        return {"Accounts": [], "NextToken": f"full-{token}"}
    return _page(cloud, call, "Accounts", numbers, token.removeprefix("full-"))


def list_accounts_for_parent(cloud: Cloud, call: Call) -> dict[str, Any]:
    """A page of the accounts that stand directly below the root or a unit."""
    unit = _parent(call)
    first = next(number for number in range(MANAGEMENT, MANAGEMENT + UNITS + 1) if _unit_of(number) == unit)
    last = cloud.settings.accounts if unit else MANAGEMENT
    numbers = range(first, last + 1, UNITS)
    return _page(cloud, call, "Accounts", numbers, str(call.params.get("NextToken", "")))


def describe_organization(cloud: Cloud, call: Call) -> dict[str, Any]:  # noqa: ARG001 - the same for every caller
    """The organisation; every account may ask."""
    account_id = cloud.company.account_id(MANAGEMENT)
    arn = f"arn:aws:organizations::{account_id}"
    return {
        "Organization": {
            "Id": _ORGANISATION,
            "Arn": f"{arn}:organization/{_ORGANISATION}",
            "FeatureSet": "ALL",
            "MasterAccountArn": f"{arn}:account/{_ORGANISATION}/{account_id}",
            "MasterAccountId": account_id,
            "MasterAccountEmail": _email(MANAGEMENT),
            "AvailablePolicyTypes": [],
        }
    }


def list_roots(cloud: Cloud, call: Call) -> dict[str, Any]:
    """The one root."""
    _only_management(call)
    return {"Roots": [{"Id": _ROOT, "Arn": _arn(cloud, "root", _ROOT), "Name": "Root", "PolicyTypes": []}]}


def list_organizational_units_for_parent(cloud: Cloud, call: Call) -> dict[str, Any]:
    """The units stand below the root, and nothing below them."""
    units = range(1, UNITS + 1) if _parent(call) == 0 else ()
    return {
        "OrganizationalUnits": [
            {"Id": _unit_id(unit), "Arn": _arn(cloud, "ou", _unit_id(unit)), "Name": f"unit-{unit}"} for unit in units
        ]
    }


def list_tags_for_resource(cloud: Cloud, call: Call) -> dict[str, Any]:
    """Tags of an account, computed from its number; roots and units have none."""
    _only_management(call)
    number = cloud.company.account_number(str(call.params.get("ResourceId", "")))
    if number is None:
        return {"Tags": []}
    tags = {"cost-centre": f"cc-{number % _COST_CENTRES:02d}", "stage": _STAGES[number % len(_STAGES)]}
    return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def _page(cloud: Cloud, call: Call, key: str, numbers: Sequence[int], token: str) -> dict[str, Any]:
    _only_management(call)
    start = int(token) if token else 0
    end = start + min(int(call.params.get("MaxResults", PAGE)), PAGE)
    page: dict[str, Any] = {key: [_account(cloud, number) for number in numbers[start:end]]}
    if end < len(numbers):
        page["NextToken"] = str(end)
    return page


def _account(cloud: Cloud, number: int) -> dict[str, Any]:
    account_id, unit = cloud.company.account_id(number), _unit_of(number)
    above = f"{_ORGANISATION}/{_ROOT}/" + (f"{_unit_id(unit)}/" if unit else "")
    return {
        "Id": account_id,
        "Arn": _arn(cloud, "account", account_id),
        "Name": f"account-{number:05d}",
        "Email": _email(number),
        "Status": "ACTIVE",
        "State": "ACTIVE",
        "Paths": [f"{above}{account_id}/"],
        "JoinedMethod": "CREATED",
        "JoinedTimestamp": _JOINED,
    }


def _only_management(call: Call) -> None:
    if call.number != MANAGEMENT:
        raise RefusedError(400, "AccessDeniedException", "You don't have permissions to access this resource.")


def _parent(call: Call) -> int:
    """The unit of the call's ParentId, 0 for the root."""
    _only_management(call)
    wanted = str(call.params.get("ParentId", ""))
    known = {_ROOT: 0} | {_unit_id(unit): unit for unit in range(1, UNITS + 1)}
    if wanted not in known:
        raise RefusedError(400, "ParentNotFoundException", "We can't find a root or OU with the ParentId specified.")
    return known[wanted]


def _unit_of(number: int) -> int:
    return 0 if number == MANAGEMENT else number % UNITS + 1


def _unit_id(unit: int) -> str:
    return f"ou-bnch-{unit:08d}"


def _arn(cloud: Cloud, kind: str, name: str) -> str:
    return f"arn:aws:organizations::{cloud.company.account_id(MANAGEMENT)}:{kind}/{_ORGANISATION}/{name}"


def _email(number: int) -> str:
    return f"account-{number:05d}@example.com"


ORGANIZATIONS: Mapping[str, Answer] = {
    "ListAccounts": list_accounts,
    "DescribeOrganization": describe_organization,
    "ListRoots": list_roots,
    "ListOrganizationalUnitsForParent": list_organizational_units_for_parent,
    "ListAccountsForParent": list_accounts_for_parent,
    "ListTagsForResource": list_tags_for_resource,
}
