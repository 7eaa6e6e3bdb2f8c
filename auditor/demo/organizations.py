"""Organizations: the pages, fields and refusals that moto leaves out; every other action goes to moto."""

from collections.abc import Mapping, Sequence

from moto.organizations.models import FakeAccount

from auditor.demo.answers import Question, Reply, decode_token, encode_token
from auditor.demo.cloud import Cloud, from_moto
from auditor.demo.wire import Payload, RefusedError

LARGEST_PAGE = 20
"""AWS's limit of MaxResults."""

OPEN_ACTIONS = frozenset({"CreateOrganization", "DescribeOrganization"})
"""What every account may call; moto answers these rightly."""

READING = ("List", "Describe")
"""How the actions begin that a delegated administrator may call."""


def require_permission(question: Question) -> None:
    """Raise RefusedError unless the caller's account manages an organisation, or reads one that delegated that."""
    organization = question.cloud.organizations().org
    if organization is None:
        message = "Your account is not a member of an organization."
        raise RefusedError(400, "AWSOrganizationsNotInUseException", message)
    account_id, action = question.caller.account_id, question.request.action
    delegated = account_id in question.cloud.seed.delegated_administrator_ids and action.startswith(READING)
    if account_id != organization.master_account_id and not delegated:
        message = "You don't have permissions to access this resource."
        raise RefusedError(400, "AccessDeniedException", message)


def list_accounts(question: Question) -> Payload:
    """All accounts of the organisation."""
    return _account_page(question, question.cloud.organizations().accounts)


def list_accounts_for_parent(question: Question) -> Payload:
    """The accounts directly in a root or OU, one level only; raises RefusedError for an unknown parent."""
    parent = _parent(question)
    accounts = question.cloud.organizations().accounts
    return _account_page(question, [account for account in accounts if account.parent_id == parent])


def list_roots(question: Question) -> Payload:
    """The one root that there is."""
    units = question.cloud.organizations().ou
    return _page(question, "Roots", [unit.describe() for unit in units if unit.type == "ROOT"])


def list_organizational_units_for_parent(question: Question) -> Payload:
    """The OUs directly in a root or OU; raises RefusedError for an unknown parent."""
    parent = _parent(question)
    units = [unit.describe() for unit in question.cloud.organizations().ou if unit.parent_id == parent]
    return _page(question, "OrganizationalUnits", [unit["OrganizationalUnit"] for unit in units])


def list_tags_for_resource(question: Question) -> Payload:
    """An account's tags, in pages of a length that is AWS's own; raises RefusedError for what is no account."""
    wanted = question.params.get("ResourceId")
    for account in question.cloud.organizations().accounts:
        if account.id == wanted:
            return _page(question, "Tags", [{"Key": key, "Value": value} for key, value in account.tags.items()])
    raise RefusedError(400, "TargetNotFoundException", "You specified a target that doesn't exist.")


def describe_account(question: Question) -> Payload:
    """One account of the organisation; raises RefusedError for an unknown one."""
    wanted = question.params.get("AccountId")
    for account in question.cloud.organizations().accounts:
        if account.id == wanted:
            return {"Account": _account(question.cloud, account)}
    raise RefusedError(400, "AccountNotFoundException", "You specified an account that doesn't exist.")


def _parent(question: Question) -> str:
    parent = question.params.get("ParentId", "")
    if all(unit.id != parent for unit in question.cloud.organizations().ou):
        raise RefusedError(400, "ParentNotFoundException", "You specified parent that doesn't exist.")
    return parent


def _account_page(question: Question, accounts: Sequence[FakeAccount]) -> Payload:
    return _page(question, "Accounts", [_account(question.cloud, account) for account in accounts])


def _page(question: Question, name: str, items: Sequence[object]) -> Payload:
    """At most 20 items and a NextToken; where the seed wants it, an empty page comes before each."""
    wanted = question.params.get("MaxResults", str(LARGEST_PAGE))
    if not wanted.isdigit() or not 1 <= int(wanted) <= LARGEST_PAGE:
        raise RefusedError(400, "InvalidInputException", "You specified an invalid value.")
    size = min(int(wanted), question.page_size or LARGEST_PAGE)
    start, announced = 0, 0
    if token := question.params.get("NextToken"):
        start, announced = decode_token(token, _INVALID_TOKEN)
    if question.cloud.seed.has_empty_pages and not announced:
        return {name: [], "NextToken": encode_token(start, 1)}
    end = start + size
    return {name: items[start:end]} | ({"NextToken": encode_token(end, 0)} if end < len(items) else {})


_INVALID_TOKEN = RefusedError(400, "InvalidInputException", "You specified an invalid value.")


def _account(cloud: Cloud, account: FakeAccount) -> dict[str, object]:
    seed, fields = cloud.seed, account.describe()
    fields["JoinedTimestamp"] = from_moto(account.create_time)
    if seed.shows_paths:
        fields["Paths"] = [_path(cloud, account)]
    if not seed.shows_state:
        del fields["State"]
    if not seed.shows_status:
        del fields["Status"]
    return fields


def _path(cloud: Cloud, account: FakeAccount) -> str:
    """Organisation, root, OUs and the account itself, with a slash at the end."""
    backend = cloud.organizations()
    parents = {unit.id: unit.parent_id for unit in backend.ou}
    steps, unit = [account.id], account.parent_id
    while unit:
        steps.append(unit)
        unit = parents.get(unit) or ""
    return "/".join((account.organization_id, *reversed(steps), ""))


REPLIES: Mapping[str, Reply] = {
    "ListAccounts": list_accounts,
    "ListAccountsForParent": list_accounts_for_parent,
    "ListOrganizationalUnitsForParent": list_organizational_units_for_parent,
    "ListRoots": list_roots,
    "ListTagsForResource": list_tags_for_resource,
    "DescribeAccount": describe_account,
}
