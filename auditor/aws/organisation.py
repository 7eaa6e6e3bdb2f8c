"""AWS Organizations: the accounts of the company."""

from collections.abc import Iterator
from typing import Any

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind
from auditor.model import Account

PAGE_SIZE = 20
"""The largest page that ListAccounts gives (AWS Organizations API reference)."""


def list_accounts(caller: Caller) -> Iterator[Account]:
    """Every account of the caller's organisation with its name and state, in AWS's order.

    A page may be empty and still continue. `State` is read where AWS sends it, else the older `Status`.

    Raises:
        AwsFailure: not in an organisation, or neither the management account nor a delegated administrator.
    """
    token: dict[str, str] = {}
    seen: set[str] = set()
    while True:
        page = caller.call("organizations", "list_accounts", MaxResults=PAGE_SIZE, **token)
        if "Accounts" not in page or (token and page.get("NextToken") == token["NextToken"]):
            what = "a page without accounts, or one that leads back to itself"
            raise AwsFailure(Kind.UNREADABLE, "organizations:ListAccounts", "UnreadableAnswer", what)
        for entry in page["Accounts"]:
            account = _account(entry, caller.partition)
            if account.id not in seen:
                yield account
            seen.add(account.id)
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def _account(entry: dict[str, Any], partition: str) -> Account:
    state = entry.get("State") or entry.get("Status") or "UNKNOWN"
    return Account(id=str(entry["Id"]), name=entry.get("Name") or None, partition=partition, state=str(state))
