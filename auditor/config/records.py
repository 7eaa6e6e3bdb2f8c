"""The settings as typed, frozen records. In TOML an empty text means "not set"; here that is None."""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.functional_validators import BeforeValidator
from pydantic_core import PydanticCustomError

from auditor.config.conflicts import PARTITIONS, conflicts
from auditor.config.forms import (
    ACCOUNT_ID,
    ENDPOINT,
    EXTERNAL_ID,
    FOLDER,
    GLOB,
    LINE,
    OU,
    REGION,
    ROLE_ARN,
    ROLE_NAME,
    SESSION_NAME,
    TAG,
    TAG_KEY,
)
from auditor.config.words import dotted
from auditor.model import ControlId, Limit, Operator, Policy, Severity

_UNSET = BeforeValidator(lambda value: None if value == "" else value)
_OptionalRole = Annotated[Annotated[str, ROLE_NAME] | None, _UNSET]
_OptionalExternalId = Annotated[Annotated[str, EXTERNAL_ID] | None, _UNSET]
_OptionalLine = Annotated[Annotated[str, LINE] | None, _UNSET]

# TOML brings texts and arrays where the records have enumerations and tuples: these alone are taken over leniently.
_T = TypeVar("_T")
_Choice = Annotated[_T, Field(strict=False)]
_Many = Annotated[tuple[_T, ...], Field(strict=False)]

_Operator = Annotated[_Choice[Operator], Field(description='A limit is broken beyond it (">") or on it (">=").')]
_Severity = Annotated[_Choice[Severity], Field(description="How bad a violation of this control is.")]


class AccountSource(StrEnum):
    """Which accounts are in scope."""

    CALLER = "caller"
    LIST = "list"
    ORGANISATION = "organisation"


class ReportFormat(StrEnum):
    """The formats of the report."""

    HTML = "html"
    PDF = "pdf"
    CSV = "csv"
    JSON = "json"


def _name_in_toml(field_name: str) -> str:
    """A field that is named after a control or a partition is written as its id: `key_age` is [policy.key-age]."""
    dashed = field_name.replace("_", "-")
    return dashed if dashed in {*ControlId, *PARTITIONS} else field_name


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_by_alias=True,
        validate_by_name=True,
        hide_input_in_errors=True,
        alias_generator=_name_in_toml,
        use_attribute_docstrings=True,
    )


class AccountEntry(_Section):
    """One account of the list; what is not given here is taken from [accounts]."""

    id: Annotated[str, ACCOUNT_ID]
    """The account's id: 12 digits, in quotes because leading zeros matter."""
    name: _OptionalLine = None
    """The account's name in the reports."""
    role_name: _OptionalRole = None
    """The role to assume in this account."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that this account's role asks for."""
    partition: Annotated[Literal["aws", "aws-cn", "aws-us-gov"] | None, _UNSET] = None
    """The account's partition; not set, the caller's own."""


class AccountOverride(_Section):
    """One account of the organisation that is entered otherwise; what is not given here is taken from [accounts]."""

    id: Annotated[str, ACCOUNT_ID]
    """The account's id: 12 digits, in quotes because leading zeros matter."""
    name: _OptionalLine = None
    """The account's name in the reports."""
    role_name: _OptionalRole = None
    """The role to assume in this account."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that this account's role asks for."""


class AccountFilter(_Section):
    """Accounts of the organisation; one that matches any entry is meant."""

    ids: _Many[Annotated[str, ACCOUNT_ID]] = ()
    """Account ids."""
    names: _Many[Annotated[str, GLOB]] = ()
    """Patterns of the whole account name, in which * and ? stand for others; capital letters count."""
    ous: _Many[Annotated[str, OU]] = ()
    """Organisational units with all that is nested below them: ids, or paths of names below the root."""
    tags: _Many[Annotated[str, TAG]] = ()
    """Tags of the account, as key or key=value."""


class PartitionConfig(_Section):
    """Credentials for the accounts of one partition: roles cannot be assumed across partitions."""

    profile: _OptionalLine = None
    """The profile of the AWS configuration files that has them."""
    via: _Many[Annotated[str, ROLE_ARN]] = ()
    """ARNs of roles assumed first, one from the other; accounts are entered from the last."""


class PartitionsConfig(_Section):
    """The credentials for partitions other than the caller's."""

    aws: PartitionConfig = PartitionConfig()
    """For accounts in the commercial Regions."""
    aws_cn: PartitionConfig = PartitionConfig()
    """For accounts in China."""
    aws_us_gov: PartitionConfig = PartitionConfig()
    """For accounts in AWS GovCloud (US)."""

    def as_mapping(self) -> Mapping[str, PartitionConfig]:
        """By the partition's name."""
        return {"aws": self.aws, "aws-cn": self.aws_cn, "aws-us-gov": self.aws_us_gov}


class AccountsConfig(_Section):
    """Which accounts are audited, and how they are entered."""

    source: _Choice[AccountSource] = AccountSource.CALLER
    """The credentials' own account, the accounts under [[accounts.list]], or the whole organisation."""
    role_name: _OptionalRole = None
    """The role to assume in every account, with its path if it has one, without its ARN."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that the role's trust policy asks for."""
    via: _Many[Annotated[str, ROLE_ARN]] = ()
    """ARNs of roles assumed first, one from the other; the organisation is listed and accounts entered from there."""
    session_name: Annotated[str, SESSION_NAME] = "auditor"
    """The role session's name, as every account's CloudTrail shows it."""
    session_minutes: int = Field(default=60, ge=15, le=720)
    """How long a role session lasts. AWS refuses more than 60 where the caller is a role itself."""
    include: AccountFilter = AccountFilter()
    """The accounts of the organisation that are audited; all of them where nothing is given."""
    exclude: AccountFilter = AccountFilter()
    """Accounts of the organisation that are left out, even where they are included."""
    override: _Many[AccountOverride] = ()
    """Accounts of the organisation that are entered otherwise than the rest."""
    partition: PartitionsConfig = PartitionsConfig()
    """The credentials for partitions other than the caller's."""
    list: _Many[AccountEntry] = ()
    """The accounts to audit where source is "list"; else accounts beside those of the organisation."""


class KeyAgeConfig(_Section):
    """Active keys must be rotated before they are too old."""

    max_age_days: int = Field(default=90, ge=1, le=3650)
    """The limit on an active key's age."""
    operator: _Operator = Operator.MORE_THAN
    severity: _Severity = Severity.HIGH


class KeyUnusedConfig(_Section):
    """Active keys that nobody uses must be switched off."""

    max_unused_days: int = Field(default=45, ge=1, le=3650)
    """The limit on the time since a key's last use, or since its creation if it was never used."""
    operator: _Operator = Operator.AT_LEAST
    severity: _Severity = Severity.MEDIUM
    grace_days: int = Field(default=1, ge=0, le=3650)
    """A never-used key younger than this is not judged unused: AWS records use with delay."""


class RootAccessKeyConfig(_Section):
    """The root user must have no access key."""

    inactive_fails: bool = False
    """Whether an inactive key of the root user fails, too."""
    severity: _Severity = Severity.CRITICAL


class OneActiveKeyConfig(_Section):
    """A user must not have more active keys than this."""

    max_active_keys: int = Field(default=1, ge=1, le=2)
    """Active keys that a user may have; AWS itself allows two."""
    severity: _Severity = Severity.LOW


class ExtraKeysConfig(_Section):
    """A user must not have more keys than the two that the credential report shows."""

    severity: _Severity = Severity.HIGH


def _table(section: type[_T]) -> _T:
    """A field that is a table of its own, described by the docstring of its record."""
    field: _T = Field(default=section(), description=section.__doc__)
    return field


class PolicyConfig(_Section):
    """The controls' thresholds, each in a table named by the control's id."""

    warning_days: int = Field(default=14, ge=0, le=365)
    """Keys that will break a limit within so many days are shown as due soon."""
    key_age: KeyAgeConfig = _table(KeyAgeConfig)
    key_unused: KeyUnusedConfig = _table(KeyUnusedConfig)
    root_access_key: RootAccessKeyConfig = _table(RootAccessKeyConfig)
    one_active_key: OneActiveKeyConfig = _table(OneActiveKeyConfig)
    extra_keys: ExtraKeysConfig = _table(ExtraKeysConfig)


class OwnersConfig(_Section):
    """How the owner of a key is found."""

    tags: _Many[Annotated[str, TAG_KEY]] = ("owner", "Owner", "team", "Team")
    """Tags of the IAM user that name the owner; the first that the user has wins."""


class GatherConfig(_Section):
    """How much is asked of AWS, and how patiently."""

    key_ids: Literal["flagged", "all"] = "flagged"
    """Look up access key ids for keys that are flagged or due soon, or for all keys (many more calls)."""
    processes: int = Field(default=0, ge=0, le=64)
    """How many processes share the gathering and the judging; 0 is as many as they are worth on this machine."""
    calls_in_flight: int = Field(default=64, ge=1, le=1024)
    """How many calls are under way at the same time, over all accounts."""
    account_calls_in_flight: int = Field(default=4, ge=1, le=64)
    """How many of them in one account: IAM throttles by account."""
    account_calls_per_second: int = Field(default=20, ge=1, le=1000)
    """The most calls a second in one account."""
    report_wait_minutes: int = Field(default=10, ge=1, le=120)
    """How long AWS may take to make a credential report before users and keys are listed instead."""
    call_attempts: int = Field(default=6, ge=1, le=20)
    """Attempts at a call that AWS throttles or fails."""


class AwsConfig(_Section):
    """How AWS is reached."""

    profile: _OptionalLine = None
    """The profile of the AWS configuration files; not set, the ambient credentials."""
    endpoint_url: Annotated[Annotated[str, ENDPOINT] | None, _UNSET] = None
    """An endpoint other than AWS's own, such as a test server's."""
    region: Annotated[Annotated[str, REGION] | None, _UNSET] = None
    """The Region whose endpoints are called; not set, the profile's."""
    connect_timeout_seconds: int = Field(default=5, ge=1, le=300)
    """How long connecting may take."""
    read_timeout_seconds: int = Field(default=20, ge=1, le=900)
    """How long an answer may take."""


class OutputConfig(_Section):
    """What is written, where, and which violations make the exit code 1."""

    folder: Annotated[str, FOLDER] = "reports"
    """The folder that runs are written to."""
    formats: _Many[_Choice[ReportFormat]] = Field(default=tuple(ReportFormat), json_schema_extra={"minItems": 1})
    """The formats that the report is written in."""
    organisation: _OptionalLine = None
    """The company's name, for the cover."""
    fail_on: _Choice[Severity] = Severity.LOW
    """The lowest severity of a violation that makes the exit code 1."""
    pdf_max_rows: int = Field(default=1000, ge=1, le=100_000)
    """The most findings that the PDF's table shows; the other formats have all of them."""


class Config(_Section):
    """The settings of auditor."""

    accounts: AccountsConfig = _table(AccountsConfig)
    policy: PolicyConfig = _table(PolicyConfig)
    owners: OwnersConfig = _table(OwnersConfig)
    gather: GatherConfig = _table(GatherConfig)
    aws: AwsConfig = _table(AwsConfig)
    output: OutputConfig = _table(OutputConfig)

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        """For records made in Python; reading asks the raw table, which can be wrong in other ways as well."""
        data = self.model_dump(mode="json", by_alias=True)
        found = "; ".join(f"{dotted(path)}: {said}" for path, said in conflicts(data))
        if found:
            raise PydanticCustomError("conflict", "{found}", {"found": found})
        return self

    def to_policy(self) -> Policy:
        """The thresholds as the evaluation takes them."""
        rules = self.policy
        return Policy(
            key_age=Limit(timedelta(days=rules.key_age.max_age_days), rules.key_age.operator),
            key_unused=Limit(timedelta(days=rules.key_unused.max_unused_days), rules.key_unused.operator),
            unused_grace=timedelta(days=rules.key_unused.grace_days),
            max_active_keys=rules.one_active_key.max_active_keys,
            inactive_root_key_fails=rules.root_access_key.inactive_fails,
            warning_window=timedelta(days=rules.warning_days),
            severities={control: getattr(rules, control.replace("-", "_")).severity for control in ControlId},
            owner_tags=self.owners.tags,
        )
