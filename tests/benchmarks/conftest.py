"""Load endpoints, and callers of the product that use them."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from auditor.aws.calls import Caller
from auditor.aws.clients import Clients, Connection, CredentialSource, StaticCredentials
from auditor.aws.identity import RoleSession
from auditor.aws.loop import run
from auditor.aws.timing import Timing
from auditor.model import Account
from benchmarks.endpoint import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY, Endpoint, Settings
from tests.builders import AS_OF


async def at_once(_: float) -> None:
    """Do not wait."""


AT_ONCE = Timing(sleep=at_once)
"""Waits for nothing between attempts."""

StartEndpoint = Callable[..., Endpoint]


@pytest.fixture(scope="module")
def start() -> Iterator[StartEndpoint]:
    with ExitStack() as running:

        def start(**settings: Any) -> Endpoint:
            return running.enter_context(Endpoint(replace(Settings(as_of=AS_OF, users=12), **settings)))

        yield start


def caller_of(endpoint: Endpoint, *, attempts: int = 1, key: str = CALLER_ACCESS_KEY_ID) -> Caller:
    """A caller with the endpoint's credentials, or with those of another access key id."""
    isolated = StaticCredentials(key, CALLER_SECRET_ACCESS_KEY)
    clients = Clients(Connection(endpoint_url=endpoint.url, isolated=isolated, read_timeout=5.0))
    return Caller(clients, clients.ambient(), "aws", AT_ONCE, attempts)


def carry_out(call: Callable[..., object], *arguments: Any, **params: Any) -> None:
    """Make a call, in the loop where it is the product's."""
    made = call(*arguments, **params)
    if isinstance(made, Coroutine):
        run(made)


def enter(caller: Caller, number: int, *, role: str = "audit", external_id: str | None = None) -> Caller:
    """A caller in the account of a number, through a role."""
    account = Account(str(100_000_000_000 + number), role_name=role, external_id=external_id)
    session: CredentialSource = RoleSession(account, caller, "auditor", 3600, AT_ONCE)
    run(session.frozen())
    return Caller(caller.clients, session, "aws", AT_ONCE, caller.attempts)
