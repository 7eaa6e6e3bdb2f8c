"""The settings as typed, frozen records. In TOML an empty text means "not set"; here that is None."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from auditor.config.conflicts import conflicts
from auditor.config.evidence_records import EvidenceConfig
from auditor.config.exemption_records import ExemptionsConfig
from auditor.config.forms import (
    ACCOUNT_ID,
    ENDPOINT,
    EXTERNAL_ID,
    FOLDER,
    GLOB,
    OU,
    REGION,
    ROLE_ARN,
    ROLE_NAME,
    SESSION_NAME,
    TAG,
)
from auditor.config.notify_records import NotifyConfig
from auditor.config.policy_records import FrameworksConfig, OwnersConfig, PolicyConfig
from auditor.config.remediation_records import RemediationConfig
from auditor.config.section import UNSET, Choice, Many, OptionalLine, Section, table
from auditor.config.words import dotted
from auditor.model import ASKED_OF_AWS, Grouping, Policy, Severity

_OptionalRole = Annotated[Annotated[str, ROLE_NAME] | None, UNSET]
_OptionalExternalId = Annotated[Annotated[str, EXTERNAL_ID] | None, UNSET]


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
    ICS = "ics"
    OSCAL = "oscal"
    OCSF = "ocsf"
    ASFF = "asff"


DEFAULT_FORMATS = (ReportFormat.HTML, ReportFormat.PDF, ReportFormat.CSV, ReportFormat.JSON)


class AccountEntry(Section):
    """One account of the list; what is not given here is taken from [accounts]."""

    id: Annotated[str, ACCOUNT_ID]
    """The account's id: 12 digits, in quotes because leading zeros matter."""
    name: OptionalLine = None
    """The account's name in the reports."""
    role_name: _OptionalRole = None
    """The role to assume in this account."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that this account's role asks for."""
    partition: Annotated[Literal["aws", "aws-cn", "aws-us-gov"] | None, UNSET] = None
    """The account's partition; not set, the caller's own."""


class AccountOverride(Section):
    """One account of the organisation that is entered otherwise; what is not given here is taken from [accounts]."""

    id: Annotated[str, ACCOUNT_ID]
    """The account's id: 12 digits, in quotes because leading zeros matter."""
    name: OptionalLine = None
    """The account's name in the reports."""
    role_name: _OptionalRole = None
    """The role to assume in this account."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that this account's role asks for."""


class AccountFilter(Section):
    """Accounts of the organisation; one that matches any entry is meant."""

    ids: Many[Annotated[str, ACCOUNT_ID]] = ()
    """Account ids."""
    names: Many[Annotated[str, GLOB]] = ()
    """Patterns of the whole account name, in which * and ? stand for others; capital letters count."""
    ous: Many[Annotated[str, OU]] = ()
    """Organisational units with all that is nested below them: ids, or paths of names below the root."""
    tags: Many[Annotated[str, TAG]] = ()
    """Tags of the account, as key or key=value."""


class PartitionConfig(Section):
    """Credentials for the accounts of one partition: roles cannot be assumed across partitions."""

    profile: OptionalLine = None
    """The profile of the AWS configuration files that has them."""
    via: Many[Annotated[str, ROLE_ARN]] = ()
    """ARNs of roles assumed first, one from the other; accounts are entered from the last."""


class PartitionsConfig(Section):
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


class AccountsConfig(Section):
    """Which accounts are audited, and how they are entered."""

    source: Choice[AccountSource] = AccountSource.CALLER
    """The credentials' own account, the accounts under [[accounts.list]], or the whole organisation."""
    role_name: _OptionalRole = None
    """The role to assume in every account, with its path if it has one, without its ARN."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that the role's trust policy asks for."""
    via: Many[Annotated[str, ROLE_ARN]] = ()
    """ARNs of roles assumed first, one from the other; the organisation is listed and accounts entered from there."""
    session_name: Annotated[str, SESSION_NAME] = "auditor"
    """The role session's name, as every account's CloudTrail shows it."""
    session_minutes: int = Field(default=60, ge=15, le=720)
    """How long a role session lasts. AWS refuses more than 60 where the caller is a role itself."""
    root_sessions: bool = False
    """Whether the root user's keys of member accounts are looked up by sts:AssumeRoot; the organisation must have
    central root access."""
    include: AccountFilter = AccountFilter()
    """The accounts of the organisation that are audited; all of them where nothing is given."""
    exclude: AccountFilter = AccountFilter()
    """Accounts of the organisation that are left out, even where they are included."""
    override: Many[AccountOverride] = ()
    """Accounts of the organisation that are entered otherwise than the rest."""
    partition: PartitionsConfig = PartitionsConfig()
    """The credentials for partitions other than the caller's."""
    list: Many[AccountEntry] = ()
    """The accounts to audit where source is "list"; else accounts beside those of the organisation."""


class GatherConfig(Section):
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


class AwsConfig(Section):
    """How AWS is reached."""

    profile: OptionalLine = None
    """The profile of the AWS configuration files; not set, the ambient credentials."""
    endpoint_url: Annotated[Annotated[str, ENDPOINT] | None, UNSET] = None
    """An endpoint other than AWS's own, such as a test server's."""
    region: Annotated[Annotated[str, REGION] | None, UNSET] = None
    """The Region whose endpoints are called; not set, the profile's."""
    connect_timeout_seconds: int = Field(default=5, ge=1, le=300)
    """How long connecting may take."""
    read_timeout_seconds: int = Field(default=20, ge=1, le=900)
    """How long an answer may take."""


class OutputConfig(Section):
    """What is written, where, and which violations make the exit code 1."""

    folder: Annotated[str, FOLDER] = "reports"
    """The folder that runs are written to."""
    formats: Many[Choice[ReportFormat]] = Field(default=DEFAULT_FORMATS, json_schema_extra={"minItems": 1})
    """The formats that the report is written in."""
    organisation: OptionalLine = None
    """The company's name, for the cover."""
    fail_on: Choice[Severity] = Severity.LOW
    """The lowest severity of a violation that makes the exit code 1."""
    group_by: Choice[Grouping] = Grouping.SEVERITY
    """What the findings in the PDF are grouped by."""
    pdf_max_rows: int = Field(default=1000, ge=1, le=100_000)
    """The most findings that the PDF's table shows; the other formats have all of them."""
    actions_days: int = Field(default=35, ge=1, le=3660)
    """The days before the run of which the reports show what was done to keys; the run's tables have all of it."""
    mask_key_ids: bool = False
    """Whether HTML, PDF and calendar show key ids as AKIA…7Q2X; CSV, JSON and the raw answers have them whole."""


class Config(Section):
    """The settings of auditor."""

    accounts: AccountsConfig = table(AccountsConfig)
    policy: PolicyConfig = table(PolicyConfig)
    frameworks: FrameworksConfig = table(FrameworksConfig)
    exemptions: ExemptionsConfig = table(ExemptionsConfig)
    owners: OwnersConfig = table(OwnersConfig)
    gather: GatherConfig = table(GatherConfig)
    remediation: RemediationConfig = table(RemediationConfig)
    notify: NotifyConfig = table(NotifyConfig)
    evidence: EvidenceConfig = table(EvidenceConfig)
    aws: AwsConfig = table(AwsConfig)
    output: OutputConfig = table(OutputConfig)

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        """For records made in Python; reading asks the raw table, which can be wrong in other ways as well."""
        data = self.model_dump(mode="json", by_alias=True)
        found = "; ".join(f"{dotted(path)}: {said}" for path, said in conflicts(data))
        if found:
            raise PydanticCustomError("conflict", "{found}", {"found": found})
        return self

    def without_aws(self) -> Self:
        """These settings for downloaded reports alone: the policy does not judge what AWS must be asked for."""
        off = {
            name: getattr(self.policy, name).model_copy(update={"enabled": False})
            for name in (control.replace("-", "_") for control in ASKED_OF_AWS)
        }
        return self.model_copy(update={"policy": self.policy.model_copy(update=off)})

    def to_policy(self) -> Policy:
        """What is judged, and by what numbers, as the evaluation takes it."""
        return self.policy.to_policy(self.frameworks, self.exemptions, self.owners)
