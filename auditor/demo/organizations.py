"""Organizations: the pages, fields and refusals that moto leaves out; every other action goes to moto."""

from collections.abc import Mapping, Sequence

from moto.organizations.models import FakeAccount

from auditor.demo.answers import Question, Reply, decode_token, encode_token
from auditor.demo.cloud import Cloud, from_moto
from auditor.demo.wire import Payload, RefusedError

LARGEST_PAGE = 20
"""AWS's limit of MaxResults."""

OPEN_ACTIONS = frozenset({"CreateOrganization", "DescribeOrganization"})
"""What others than the management account may call; moto answers these rightly."""


def require_management(question: Question) -> None:
    """Raise RefusedError unless the caller's account manages an organisation."""
    organization = question.cloud.organizations().org
    if organization is None:
        message = "Your account is not a member of an organization."
        raise RefusedError(400, "AWSOrganizationsNotInUseException", message)
    if question.caller.account_id != organization.master_account_id:
        message = "You don't have permissions to access this resource."
        raise RefusedError(400, "AccessDeniedException", message)


def list_accounts(question: Question) -> Payload:
    """All accounts of the organisation."""
    return _page(question, question.cloud.organizations().accounts)


def list_accounts_for_parent(question: Question) -> Payload:
    """The accounts directly in a root or OU, one level only; raises RefusedError for an unknown parent."""
    backend, parent = question.cloud.organizations(), question.params.get("ParentId")
    if all(unit.id != parent for unit in backend.ou):
        raise RefusedError(400, "ParentNotFoundException", "You specified parent that doesn't exist.")
    return _page(question, [account for account in backend.accounts if account.parent_id == parent])


def describe_account(question: Question) -> Payload:
    """One account of the organisation; raises RefusedError for an unknown one."""
    wanted = question.params.get("AccountId")
    for account in question.cloud.organizations().accounts:
        if account.id == wanted:
            return {"Account": _account(question.cloud, account)}
    raise RefusedError(400, "AccountNotFoundException", "You specified an account that doesn't exist.")


def _page(question: Question, accounts: Sequence[FakeAccount]) -> Payload:
    """At most 20 accounts and a NextToken; where the seed wants it, an empty page comes before each."""
    wanted = question.params.get("MaxResults", str(LARGEST_PAGE))
    if not wanted.isdigit() or not 1 <= int(wanted) <= LARGEST_PAGE:
        raise RefusedError(400, "InvalidInputException", "You specified an invalid value.")
    size = min(int(wanted), question.page_size or LARGEST_PAGE)
    start, announced = 0, 0
    if token := question.params.get("NextToken"):
        start, announced = decode_token(token, _INVALID_TOKEN)
    if question.cloud.seed.has_empty_pages and not announced:
        return {"Accounts": [], "NextToken": encode_token(start, 1)}
    end = start + size
    shown = [_account(question.cloud, account) for account in accounts[start:end]]
    return {"Accounts": shown} | ({"NextToken": encode_token(end, 0)} if end < len(accounts) else {})


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
    "DescribeAccount": describe_account,
}
