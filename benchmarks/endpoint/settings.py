"""What an endpoint is to be like: the company it serves, how slow, how strict, what goes wrong. To and from JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

EVERY_ACTION = "*"


class Fault(StrEnum):
    """What a rule does to a call instead of answering it, or before."""

    DENIED = "denied"
    """403 AccessDenied; from Organizations 400 AccessDeniedException."""
    THROTTLED = "throttled"
    """400 Throttling; from Organizations 400 TooManyRequestsException."""
    FAILURE = "failure"
    """500 ServiceFailure; from Organizations 500 ServiceException."""
    EXPIRED = "expired"
    """410 ReportExpired, however fresh the report is."""
    RESET = "reset"
    """The connection is reset without an answer."""
    HALF = "half"
    """Half of the true answer, then the connection is closed."""
    GARBAGE = "garbage"
    """200 with bytes that are neither XML nor JSON."""
    SLOW = "slow"
    """The true answer, or what another rule makes of it, so many seconds later; at once when the rules are changed."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault for the calls of an action in some accounts.

    The first rule that fits decides; those that are slow add up beside it. `AssumeRole` belongs to the account that is
    entered, every other call to the account whose credentials signed it.
    """

    fault: Fault
    accounts: tuple[int, ...] | str = "1/1"
    """Numbers of accounts, from 1; or a share such as "1/100": of each hundred, the last."""
    action: str = EVERY_ACTION
    times: int | None = None
    """How many calls of each account it hits; None is all."""
    seconds: float = 0.0
    """The delay of `Fault.SLOW`."""

    def __post_init__(self) -> None:
        """Raises ValueError where the rule cannot mean anything."""
        object.__setattr__(self, "fault", Fault(self.fault))
        if (self.fault is Fault.SLOW) != (self.seconds > 0):
            raise ValueError(f'seconds belong to "slow" and to nothing else: {self}')
        if isinstance(self.accounts, str):
            self._share(self.accounts)
        else:
            object.__setattr__(self, "accounts", tuple(self.accounts))

    def concerns(self, number: int) -> bool:
        """Whether it is a rule for the account of this number."""
        if isinstance(self.accounts, str):
            some, of = self._share(self.accounts)
            return number > 0 and (number - 1) % of >= of - some
        return number in self.accounts

    @staticmethod
    def _share(text: str) -> tuple[int, int]:
        some, slash, of = text.partition("/")
        if not (slash and some.isdecimal() and of.isdecimal() and 0 < int(some) <= int(of)):
            raise ValueError(f'"{text}" is no share of the accounts; "1/100" is one')
        return int(some), int(of)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that an endpoint can be told at its start. Times in seconds."""

    accounts: int = 5
    """Accounts of the organisation; number 1 is the management account and the caller's own."""
    users: int = 100
    """IAM users of each account."""
    flagged: float = 0.1
    """Share of the users with an active key that is older than 90 days or was not used for 45, from 0 to 1."""
    quarantined: int = 0
    """Users of each account whom AWS put in quarantine: its first ones."""
    service_credentials: int = 0
    """Service-specific credentials of each account: one each of its first users, of Bedrock and CodeCommit in turn."""
    seed: int = 1
    """Chooses the users' keys and the calls that are throttled at random."""
    as_of: datetime = field(default_factory=_now)
    """The instant that keys are as old as they are; whole seconds, UTC."""
    role_name: str = ""
    """The only role that can be assumed, without its path; empty lets any."""
    external_id: str = ""
    """What AssumeRole must say; empty accepts anything."""
    session_seconds: float | None = None
    """How long a session really lives, whatever it was promised; None is as long as was asked for."""
    empty_pages: bool = False
    """Whether ListAccounts puts an empty page that continues before every page."""
    report_seconds: float = 0.0
    """How long a credential report takes to be made."""
    report_life_seconds: float = 4 * 3600.0
    """How long it is there from then on."""
    latency: float = 0.0
    """How long every answer takes."""
    throttled: float = 0.0
    """Share of all calls that are throttled at random, from 0 to 1."""
    account_rate: float | None = None
    """IAM calls a second that an account allows in the long run; None is any number."""
    account_burst: float | None = None
    """IAM calls that it allows at once; None is as many as in a second."""
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for what is out of range."""
        ranges = (
            ("accounts", self.accounts, 1, 9_999_999),
            ("users", self.users, 0, 999_999),
            ("flagged", self.flagged, 0, 1),
            ("quarantined", self.quarantined, 0, self.users),
            ("service_credentials", self.service_credentials, 0, self.users),
            ("throttled", self.throttled, 0, 1),
        )
        for name, value, least, most in ranges:
            if not least <= value <= most:
                raise ValueError(f"{name} is {value}; it must be between {least} and {most}")

    def to_json(self) -> str:
        """As one line for the endpoint's command line."""
        return json.dumps(asdict(self) | {"as_of": self.as_of.isoformat()})

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """The settings of such a line; what it leaves out has its default.

        Raises:
            ValueError: not JSON, or a value that is out of range.
            TypeError: a name that no setting has.
        """
        found: dict[str, Any] = json.loads(text)
        if "as_of" in found:
            found["as_of"] = datetime.fromisoformat(found["as_of"])
        return cls(**found | {"rules": rules_from(found.get("rules", ()))})


def rules_from(found: Sequence[dict[str, Any]]) -> tuple[Rule, ...]:
    """Rules from parsed JSON; raises as `Settings.from_json`."""
    return tuple(Rule(**rule) for rule in found)
