"""Whichever call goes wrong, in whichever way: how the account ended comes of the answers that were kept."""

from collections import Counter
from itertools import product

import pytest

from auditor.demo import (
    AccountSeed,
    Call,
    DropFault,
    ErrorFault,
    Fault,
    KeySeed,
    OrganisationSeed,
    RawFault,
    ReportSeed,
    RootSeed,
    UserSeed,
)
from auditor.model import Account, UsedAt
from tests.builders import ago
from tests.conftest import MemoryStore, StartCloud, VirtualTime, audited_account, settings_for

MAIN = "111111111111"

OLD = KeySeed(created_at=ago(400), last_used=UsedAt(ago(1), "s3", None))
USERS = (
    UserSeed("ann", (OLD, KeySeed(created_at=ago(3)))),
    UserSeed("bob", (OLD,)),
    UserSeed("leaked", (KeySeed(created_at=ago(9)),), quarantined_by=("AWSCompromisedKeyQuarantineV3",)),
)

FAULTS: tuple[Fault, ...] = (
    *(
        ErrorFault(403, code, "why (not): it's so.")
        for code in ("AccessDenied", "AccessDeniedException", "ExpiredToken")
    ),
    *(
        ErrorFault(403, code)
        for code in ("InvalidClientTokenId", "SignatureDoesNotMatch", "OptInRequired", "", "Odd (x")
    ),
    *(ErrorFault(400, code) for code in ("Throttling", "NoSuchEntity", "ValidationError")),
    ErrorFault(409, "LimitExceeded"),
    ErrorFault(410, "ReportNotPresent"),
    ErrorFault(404, "ReportInProgress"),
    ErrorFault(410, "ReportExpired"),
    ErrorFault(500, "ServiceFailure"),
    DropFault(),
    RawFault(b"<html>a proxy's page</html>"),
    RawFault(b"\xff\xfe\x00", 502),
    RawFault(b"", 403),
)

SPARED = {"always": 0, "later": 1, "late": 3}
"""How many calls of an account are answered before any goes wrong."""


@pytest.mark.parametrize(
    ("action", "is_listed"),
    [
        ("AssumeRole", False),
        ("GenerateCredentialReport", False),
        ("GetCredentialReport", False),
        ("ListUsers", True),
        ("ListAccessKeys", False),
        ("GetAccessKeyLastUsed", True),
        ("ListUserTags", False),
        ("ListPolicies", False),
        ("ListEntitiesForPolicy", False),
        ("ListServiceSpecificCredentials", False),
        ("GetAccountSummary", True),
    ],
)
def test_whatever_goes_wrong_comes_of_what_was_kept(
    start_cloud: StartCloud, store: MemoryStore, virtual_time: VirtualTime, action: str, *, is_listed: bool
) -> None:
    """Else an honest run is no evidence. Every account has a fault of its own; some make no report, and are listed."""
    cases = {f"{200000000000 + n}": case for n, case in enumerate(product(FAULTS, SPARED.values()))}
    root = RootSeed(keys=(KeySeed(created_at=ago(500)),))
    accounts = (AccountSeed(name, f"account {name}", USERS, root, report=ReportSeed(polls=1)) for name in cases)
    calls: Counter[str] = Counter()

    def fault(call: Call) -> Fault | None:
        account_id = call.params["RoleArn"].split(":")[4] if call.action == "AssumeRole" else call.account_id
        if is_listed and call.action == "GenerateCredentialReport":
            return ErrorFault(409, "LimitExceeded")
        if call.action != action or account_id not in cases:
            return None
        calls[account_id] += 1
        what, spared = cases[account_id]
        return what if calls[account_id] > spared else None

    cloud = start_cloud(OrganisationSeed((AccountSeed(MAIN), *accounts)), fault=fault)
    settings = settings_for(cloud, store, virtual_time, root_sessions=True)
    for name in cases:
        audited_account(Account(name, role_name=cloud.role_name, external_id=cloud.external_id), settings, store)
    assert set(calls) == set(cases)
