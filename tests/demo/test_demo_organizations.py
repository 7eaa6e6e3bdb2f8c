"""AWS Organizations over HTTP: pages, fields and who may ask."""

import re
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import pytest
from botocore.exceptions import ClientError

from auditor.demo import AccountSeed, EmbeddedOrganisation, OrganisationSeed

AS_OF = datetime(2026, 6, 15, 9, 30, 20, tzinfo=UTC)
MANAGEMENT = "111111111111"


def organisation(count: int = 2, page_size: int | None = None, **seed: Any) -> EmbeddedOrganisation:
    accounts = tuple(AccountSeed(str(111111111111 + number), f"account-{number}") for number in range(count))
    return EmbeddedOrganisation(OrganisationSeed(accounts, **seed), as_of=AS_OF, page_size=page_size)


def pages(client: Any, **params: Any) -> list[list[str]]:
    """The ids on each page, following NextToken by hand."""
    found: list[list[str]] = []
    token: dict[str, str] = {}
    while True:
        page = client.list_accounts(**params, **token)
        found.append([account["Id"] for account in page["Accounts"]])
        if "NextToken" not in page:
            return found
        token = {"NextToken": page["NextToken"]}


def test_accounts_come_in_pages_of_twenty(aws: Any) -> None:
    """Twenty accounts a page, or fewer where MaxResults asks so; each account once."""
    with organisation(45) as cloud:
        client = aws.client("organizations", cloud)
        twenties, sevens = pages(client), pages(client, MaxResults=7)
    assert [len(page) for page in twenties] == [20, 20, 5]
    assert [len(page) for page in sevens] == [7, 7, 7, 7, 7, 7, 3]
    assert [*chain(*twenties)] == [*chain(*sevens)] == [str(111111111111 + number) for number in range(45)]


@pytest.mark.parametrize("params", [{"MaxResults": 21}, {"NextToken": "made up"}])
def test_larger_pages_and_strange_tokens_are_invalid(aws: Any, params: dict[str, Any]) -> None:
    """MaxResults above twenty, or a token that was never given, is InvalidInputException."""
    with organisation() as cloud, pytest.raises(ClientError) as error:
        aws.client("organizations", cloud).list_accounts(**params)
    assert aws.refusal(error) == (400, "InvalidInputException")


def test_a_page_may_be_empty_and_continue(aws: Any) -> None:
    """With the switch an empty page with a NextToken comes before each page, and no account is lost."""
    with organisation(3, page_size=2, has_empty_pages=True) as cloud:
        sizes = [len(page) for page in pages(aws.client("organizations", cloud))]
    assert sizes == [0, 2, 0, 1]


def test_an_account_has_state_status_and_paths(aws: Any) -> None:
    """Accounts show State and the older Status, how and when they joined, and their path through the OUs."""
    created = datetime(2023, 4, 5, 6, 7, 8, tzinfo=UTC)
    closed = AccountSeed("222222222222", "old", state="CLOSED", joined_method="INVITED", created_at=created)
    nested = AccountSeed("333333333333", "prod", organisational_unit="Workloads/Production", email="p@x.example")
    seed = OrganisationSeed((closed, nested, AccountSeed(MANAGEMENT)), management_account_id=MANAGEMENT)
    with EmbeddedOrganisation(seed, as_of=AS_OF) as cloud:
        organizations = aws.client("organizations", cloud)
        first, second, third = organizations.list_accounts()["Accounts"]
        described = organizations.describe_account(AccountId="333333333333")["Account"]
    assert (first["State"], first["Status"], first["JoinedMethod"]) == ("CLOSED", "SUSPENDED", "INVITED")
    assert first["JoinedTimestamp"] == created
    assert (second["Name"], second["Email"], second["State"]) == ("prod", "p@x.example", "ACTIVE")
    unit = r"ou-[a-z0-9]{4}-[a-z0-9]{8}"
    assert re.fullmatch(rf"o-[a-z0-9]{{10}}/r-[a-z0-9]{{4}}/{unit}/{unit}/333333333333/", second["Paths"][0])
    assert re.fullmatch(r"o-[a-z0-9]{10}/r-[a-z0-9]{4}/111111111111/", third["Paths"][0])
    assert described == second


@pytest.mark.parametrize(("switch", "field"), [("shows_state", "State"), ("shows_status", "Status")])
def test_state_or_status_may_be_missing(aws: Any, switch: str, field: str) -> None:
    """Organizations is replacing Status by State, and either can be left out."""
    with organisation(**{switch: False}) as cloud:
        account = aws.client("organizations", cloud).list_accounts()["Accounts"][0]
    assert {"State", "Status"} - set(account) == {field}


def test_organisational_units_can_be_walked(aws: Any) -> None:
    """From the root through the OUs, ListAccountsForParent gives one level, with the fields of ListAccounts."""
    accounts = (
        AccountSeed(MANAGEMENT),
        AccountSeed("222222222222", "a", organisational_unit="Workloads"),
        AccountSeed("333333333333", "b", organisational_unit="Workloads/Production"),
    )
    with EmbeddedOrganisation(OrganisationSeed(accounts), as_of=AS_OF) as cloud:
        client = aws.client("organizations", cloud)
        parent, found = client.list_roots()["Roots"][0]["Id"], []
        while parent:
            found.append([account["Id"] for account in client.list_accounts_for_parent(ParentId=parent)["Accounts"]])
            units = client.list_organizational_units_for_parent(ParentId=parent)["OrganizationalUnits"]
            parent = units[0]["Id"] if units else ""
        with pytest.raises(ClientError) as error:
            client.list_accounts_for_parent(ParentId="ou-abcd-12345678")
    assert found == [[MANAGEMENT], ["222222222222"], ["333333333333"]]
    assert aws.refusal(error) == (400, "ParentNotFoundException")


def test_a_member_account_may_not_list(aws: Any) -> None:
    """A member is refused ListAccounts with AccessDeniedException, yet may describe the organisation."""
    with organisation() as cloud:
        client = aws.client("organizations", cloud, aws.assume(cloud, "111111111112"))
        with pytest.raises(ClientError) as error:
            client.list_accounts()
        described = client.describe_organization()["Organization"]
    assert aws.refusal(error) == (400, "AccessDeniedException")
    assert described["MasterAccountId"] == MANAGEMENT


def test_a_lone_account_has_no_organisation(aws: Any) -> None:
    """Without an organisation both ListAccounts and DescribeOrganization are AWSOrganizationsNotInUseException."""
    with organisation(1, has_organizations=False) as cloud:
        client = aws.client("organizations", cloud)
        for method in (client.list_accounts, client.describe_organization):
            with pytest.raises(ClientError) as error:
                method()
            assert aws.refusal(error) == (400, "AWSOrganizationsNotInUseException")


def test_an_unknown_account_is_not_found(aws: Any) -> None:
    """DescribeAccount of an account outside the organisation is AccountNotFoundException."""
    with organisation() as cloud, pytest.raises(ClientError) as error:
        aws.client("organizations", cloud).describe_account(AccountId="999999999999")
    assert aws.refusal(error) == (400, "AccountNotFoundException")
