"""The settings of exemptions: violations that are excused, by whom, why, and until when."""

from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from auditor.config.forms import ACCOUNT_ID, FILE, IAM_PATH, KEY_ID, LINE, RULE_ID, TAG, USER_NAME
from auditor.config.policy_conflicts import LONGEST, with_days
from auditor.config.section import UNSET, Choice, Many, Section, table
from auditor.model import ControlId, Exemption, Scope, Severity


class Width(StrEnum):
    """How wide the scope of an exemption is, the narrowest first."""

    KEY = "key"
    USER = "user"
    TAG = "tag"
    PATH = "path"
    ACCOUNT = "account"


class ExemptionConfig(Section):
    """A violation that is excused. Its scope is one key, or one user of an account, a tag, a path, or an account."""

    id: Annotated[str, RULE_ID]
    """What it is called in reports."""
    control: Choice[ControlId]
    """The control whose violation is excused."""
    key: Annotated[Annotated[str, KEY_ID] | None, UNSET] = None
    """The access key id."""
    user: Annotated[Annotated[str, USER_NAME] | None, UNSET] = None
    """The user's whole name; give the account as well."""
    tag: Annotated[Annotated[str, TAG] | None, UNSET] = None
    """A tag of the users, as key=value; with an account, of users there."""
    path: Annotated[Annotated[str, IAM_PATH] | None, UNSET] = None
    """An IAM path with all that is below it; with an account, of users there."""
    account: Annotated[Annotated[str, ACCOUNT_ID] | None, UNSET] = None
    """The account."""
    reason: Annotated[str, LINE]
    """Why the violation is accepted."""
    owner: Annotated[str, LINE]
    """Who answers for the risk."""
    approver: Annotated[str, LINE]
    """Who approved it: somebody else than the owner."""
    ticket: Annotated[str, LINE]
    """Where the approval is found."""
    starts: date
    """The day from which on it holds, from 00:00 UTC."""
    expires: date
    """The day from which on it holds no more, from 00:00 UTC."""

    @model_validator(mode="before")
    @classmethod
    def _read_days(cls, data: object) -> object:
        """TOML's own dates, and the texts that they are in a stored run."""
        return with_days(data, "starts", "expires")

    @property
    def width(self) -> Width:
        """How wide the scope is."""
        return next(width for width in Width if getattr(self, width.value) is not None)

    def to_exemption(self) -> Exemption:
        """The exemption as the evaluation takes it."""

        def one(value: str | None) -> tuple[str, ...]:
            return (value,) if value is not None else ()

        scope = Scope(one(self.key), one(self.user), one(self.tag), one(self.path), one(self.account))
        starts, expires = (datetime.combine(day, time(), UTC) for day in (self.starts, self.expires))
        return Exemption(
            self.id, self.control, scope, self.reason, self.owner, self.approver, self.ticket, starts, expires
        )


class LongestConfig(Section):
    """The most days that an exemption may last, by the severity of its control; 0 for none at all."""

    low: int = Field(default=LONGEST[Severity.LOW], ge=0, le=3650)
    """For controls of low severity."""
    medium: int = Field(default=LONGEST[Severity.MEDIUM], ge=0, le=3650)
    """For controls of medium severity."""
    high: int = Field(default=LONGEST[Severity.HIGH], ge=0, le=3650)
    """For controls of high severity."""
    critical: int = Field(default=LONGEST[Severity.CRITICAL], ge=0, le=3650)
    """For controls of critical severity."""


class ExemptionsConfig(Section):
    """Violations that are excused, and what may be excused at all."""

    file: Annotated[Annotated[str, FILE] | None, UNSET] = None
    """A file of [[exemption]] tables beside those here; relative to the configuration."""
    widest: Choice[Width] = Width.ACCOUNT
    """The widest scope that an exemption may have."""
    max_days: LongestConfig = table(LongestConfig)
    list: Many[ExemptionConfig] = ()
    """The exemptions."""
