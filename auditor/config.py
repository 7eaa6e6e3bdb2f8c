"""The settings: config.toml as typed, frozen records; every mistake in it is named at once, before anything is called.

In TOML an empty text means "not set"; in the records that is None. External ids are treated as secrets: no message,
no `repr` and no stored run shows one.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.annotated_handlers import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.functional_validators import BeforeValidator
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

from auditor.errors import UsageError
from auditor.model import ControlId, Limit, Operator, Policy, Severity


@dataclass(frozen=True, slots=True)
class _Form:
    """What a text must look like: for a person (`kind`, `rule`), for pydantic and for the JSON Schema."""

    kind: str
    rule: str
    pattern: str
    is_shown: bool = True
    """Whether a refused text may be repeated in the message."""

    def check(self, value: object) -> object:
        if not isinstance(value, str):
            found = _found(value) if self.is_shown else "something that is not a text"
            sentence = f"found {found}; wanted {self.kind}: {self.rule}"
        elif not re.fullmatch(self.pattern, value):
            sentence = f"{_quoted(value) if self.is_shown else 'this text'} is not {self.kind}: {self.rule}"
        else:
            return value
        raise PydanticCustomError("form", "{sentence}", {"sentence": sentence})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checks before pydantic does, so that a wrong type is told in the words of the form."""
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


CHAINED_MINUTES = 60
"""The longest session of a role that is assumed from a role (AWS IAM: role chaining)."""

_NAME = "[A-Za-z0-9_+=,.@-]"
_HOST = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT = "[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_URL = rf"https?://(?:{_HOST}(?:\.{_HOST})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::(?:{_PORT}))?(?:/[A-Za-z0-9._~/-]*)?"

# AWS's limits: AssumeRole (STS API reference) for session names and external ids; Role and Tag (IAM API reference).
_ACCOUNT_ID = _Form("an account id", "exactly 12 digits, in quotes because leading zeros matter", "[0-9]{12}")
_ROLE_RULE = "up to 64 letters, digits and _+=,.@- after an optional path such as audit/, and never an ARN"
_ROLE_NAME = _Form("a role name", _ROLE_RULE, rf"(?!arn:)(?:[!-.0-~]{{1,510}}/){{0,16}}{_NAME}{{1,64}}")
_ROLE_ARN_RULE = "such as arn:aws:iam::111122223333:role/audit/hub"
_ROLE_ARN_PATTERN = rf"arn:aws(?:-cn|-us-gov)?:iam::[0-9]{{12}}:role/{_ROLE_NAME.pattern}"
_ROLE_ARN = _Form("a role's ARN", _ROLE_ARN_RULE, _ROLE_ARN_PATTERN)
_EXTERNAL_RULE = "2 to 1224 letters, digits and _+=,.@:/-"
_EXTERNAL_ID = _Form("an external id", _EXTERNAL_RULE, "[A-Za-z0-9_+=,.@:/-]{2,1224}", is_shown=False)
_SESSION_NAME = _Form("a session name", "2 to 64 letters, digits and _+=,.@-", f"{_NAME}{{2,64}}")
_TAG_PATTERN = r"""[^\x00-\x1f\x7f!"#$%&'()*,;<>?\[\\\]^`{|}~]{1,128}"""
_TAG_KEY = _Form("a tag key", "1 to 128 letters, digits, spaces and _.:/=+-@", _TAG_PATTERN)
_ENDPOINT_RULE = "http:// or https:// and a host, without user, password, query or fragment"
_ENDPOINT = _Form("an endpoint", _ENDPOINT_RULE, _URL, is_shown=False)
_REGION = _Form("a Region", "such as eu-central-1", "[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
_LINE = _Form("a line of text", "1 to 200 characters and no control characters", r"[^\x00-\x1f\x7f]{1,200}")
_GLOB = _Form("a pattern of names", "1 to 200 characters, where * and ? stand for others", _LINE.pattern)
_OU_RULE = "an id such as ou-ab12-cd34ef56 or r-ab12, or a path of names such as /Workloads/Production"
_OU_ID = "(?:ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}|r-[0-9a-z]{4,32})"
_OU = _Form("an organisational unit", _OU_RULE, rf"{_OU_ID}|(?:/[^/\x00-\x1f\x7f]{{1,128}}){{1,16}}")
_TAG_RULE = "a key, or key=value, of letters, digits, spaces and _.:/=+-@"
_TAG = _Form("a tag", _TAG_RULE, _TAG_PATTERN.replace("{1,128}", "{1,385}"))
_FOLDER = _Form("a folder", "a path that is not empty", r"[^\x00-\x1f\x7f]{1,4000}")

_UNSET = BeforeValidator(lambda value: None if value == "" else value)
_OptionalRole = Annotated[Annotated[str, _ROLE_NAME] | None, _UNSET]
_OptionalExternalId = Annotated[Annotated[str, _EXTERNAL_ID] | None, _UNSET]
_OptionalLine = Annotated[Annotated[str, _LINE] | None, _UNSET]

# TOML brings texts and arrays where the records have enumerations and tuples: these alone are taken over leniently.
_T = TypeVar("_T")
_Choice = Annotated[_T, Field(strict=False)]
_Many = Annotated[tuple[_T, ...], Field(strict=False)]

_Operator = Annotated[_Choice[Operator], Field(description='A limit is broken beyond it (">") or on it (">=").')]
_Severity = Annotated[_Choice[Severity], Field(description="How bad a violation of this control is.")]

# ------------------------------------------------------------------------------------------------- the records


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
    """A field that is named after a control is written as the control's id: `key_age` is [policy.key-age]."""
    dashed = field_name.replace("_", "-")
    return dashed if dashed in set(ControlId) else field_name


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

    id: Annotated[str, _ACCOUNT_ID]
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

    id: Annotated[str, _ACCOUNT_ID]
    """The account's id: 12 digits, in quotes because leading zeros matter."""
    role_name: _OptionalRole = None
    """The role to assume in this account."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that this account's role asks for."""


class AccountFilter(_Section):
    """Accounts of the organisation; one that matches any entry is meant."""

    ids: _Many[Annotated[str, _ACCOUNT_ID]] = ()
    """Account ids."""
    names: _Many[Annotated[str, _GLOB]] = ()
    """Patterns of the whole account name, in which * and ? stand for others; capital letters count."""
    ous: _Many[Annotated[str, _OU]] = ()
    """Organisational units with all that is nested below them: ids, or paths of names below the root."""
    tags: _Many[Annotated[str, _TAG]] = ()
    """Tags of the account, as key or key=value."""


class AccountsConfig(_Section):
    """Which accounts are audited, and how they are entered."""

    source: _Choice[AccountSource] = AccountSource.CALLER
    """The credentials' own account, the accounts under [[accounts.list]], or the whole organisation."""
    role_name: _OptionalRole = None
    """The role to assume in every account, with its path if it has one, without its ARN."""
    external_id: _OptionalExternalId = Field(default=None, repr=False)
    """The external id that the role's trust policy asks for."""
    via: Annotated[Annotated[str, _ROLE_ARN] | None, _UNSET] = None
    """The ARN of a role that is assumed first; the organisation is listed and every account entered from there."""
    session_name: Annotated[str, _SESSION_NAME] = "auditor"
    """The role session's name, as every account's CloudTrail shows it."""
    session_minutes: int = Field(default=60, ge=15, le=720)
    """How long a role session lasts. AWS refuses more than 60 where the caller is a role itself."""
    include: AccountFilter = AccountFilter()
    """The accounts of the organisation that are audited; all of them where nothing is given."""
    exclude: AccountFilter = AccountFilter()
    """Accounts of the organisation that are left out, even where they are included."""
    override: _Many[AccountOverride] = ()
    """Accounts of the organisation that are entered otherwise than the rest."""
    list: _Many[AccountEntry] = ()
    """The accounts to audit where source is "list"."""


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

    tags: _Many[Annotated[str, _TAG_KEY]] = ("owner", "Owner", "team", "Team")
    """Tags of the IAM user that name the owner; the first that the user has wins."""


class GatherConfig(_Section):
    """How much is asked of AWS, and how patiently."""

    key_ids: Literal["flagged", "all"] = "flagged"
    """Look up access key ids for keys that are flagged or due soon, or for all keys (many more calls)."""
    processes: int = Field(default=0, ge=0, le=64)
    """How many processes share the accounts; 0 is as many as they are worth on this machine."""
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
    endpoint_url: Annotated[Annotated[str, _ENDPOINT] | None, _UNSET] = None
    """An endpoint other than AWS's own, such as a test server's."""
    region: Annotated[Annotated[str, _REGION] | None, _UNSET] = None
    """The Region whose endpoints are called; not set, the profile's."""
    connect_timeout_seconds: int = Field(default=5, ge=1, le=300)
    """How long connecting may take."""
    read_timeout_seconds: int = Field(default=20, ge=1, le=900)
    """How long an answer may take."""


class OutputConfig(_Section):
    """What is written, where, and which violations make the exit code 1."""

    folder: Annotated[str, _FOLDER] = "reports"
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
        """For records made in Python; `_validated` asks the raw table, which can be wrong in other ways as well."""
        conflicts = [
            f"{_dotted(path)}: {said}" for path, said in _conflicts(self.model_dump(mode="json", by_alias=True))
        ]
        if conflicts:
            raise PydanticCustomError("conflict", "{conflicts}", {"conflicts": "; ".join(conflicts)})
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


_Path = tuple[str | int, ...]
_Problem = tuple[_Path, str]
_NEXT_STEP = 'Correct it and run "auditor config check"; "auditor config schema" describes every key, for editors too.'


Overrides = Mapping[str, Mapping[str, Any]]
"""Values by section and key, such as the command line gives; None where nothing is given."""


def load_config(path: Path, over: Callable[[str], Overrides] | None = None) -> Config:
    """The settings in a TOML file, with other values laid over them and checked as a whole.

    Args:
        path: the file.
        over: gives the other values, told the file's `accounts.source`.

    Raises:
        UsageError: the file cannot be read, or as `parse_config`; it says whether file or command line is to blame.
    """
    data = _read(path)
    if over is None:
        return _validated(data, str(path))
    values = _given(over(_at(data, str, "accounts", "source") or AccountSource.CALLER.value))
    if not all(isinstance(data.get(section, {}), dict) for section in values):
        return _validated(data, str(path))
    for section, keys in values.items():
        _lay_over(data.setdefault(section, {}), keys)
    return _validated(data, str(path), frozenset(_leaves(values)))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        return _parsed(content.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"line {line} holds the byte 0x{error.object[error.start]:02x}, which is not UTF-8"
        step = "Save the file in the encoding UTF-8."
    except (OSError, ValueError) as error:
        what = f"the file cannot be read: {getattr(error, 'strerror', None) or error}"
        step = "Check the path, and that you may read it."
    raise UsageError(what, where=str(path), next_step=step)


def parse_config(text: str, *, origin: str) -> Config:
    """The settings in a TOML text; UsageError at `origin` has every problem at once, one a line, with its key path."""
    return _validated(_parsed(text, origin), origin)


def override(config: Config, values: Overrides) -> Config:
    """The settings with other values by section and key, where they are not None; UsageError as `parse_config` says."""
    data = _null_free(config.model_dump(mode="json", by_alias=True))
    for section, keys in _given(values).items():
        _lay_over(data[section], keys)
    return _validated(data, "command line")


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not None, as TOML would bring them."""
    return {
        key: _given(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value
        for key, value in values.items()
        if value is not None
    }


def _lay_over(table: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Put the values into the table, key by key; a table of them is left out where the file has something else."""
    for key, value in values.items():
        if not isinstance(value, dict):
            table[key] = value
        elif isinstance(table.setdefault(key, {}), dict):
            _lay_over(table[key], value)


def effective_toml(config: Config) -> str:
    """Every effective value as TOML, always in the same order; an external id is written as "(set)"."""
    effective = config.model_dump(mode="json", by_alias=True)
    for table in (effective["accounts"], *effective["accounts"]["list"], *effective["accounts"]["override"]):
        table["external_id"] = table["external_id"] and "(set)"
    return "# What this run went by; external ids are left out.\n\n" + tomli_w.dumps(_null_free(effective))


def policy_from_toml(text: str) -> Policy:
    """The policy of a stored run; UsageError also when a value is missing, for today's default may not be the run's."""
    origin, data = "policy.toml", _parsed(text, "policy.toml")
    stored: dict[str, Any] = {name: data[name] for name in ("policy", "owners") if name in data}
    config = _validated(stored, origin)
    given = set(_leaves(stored))
    wanted = _leaves(config.model_dump(by_alias=True, include={"policy", "owners"}))
    absent = [(path, "is missing; a stored policy has every value") for path in wanted if path not in given]
    if absent:
        raise _refusal(absent, origin)
    return config.to_policy()


def _leaves(table: Mapping[str, Any], path: _Path = ()) -> Iterator[_Path]:
    for name, value in table.items():
        yield from _leaves(value, (*path, name)) if isinstance(value, dict) else [(*path, name)]


def config_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of config.toml, with descriptions and defaults."""
    schema = _null_free(Config.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _null_free(node: Any) -> Any:
    """TOML knows no null: what is not set is an empty text, in values as in the schema."""
    if isinstance(node, dict):
        return {name: _null_free(value) for name, value in node.items()} if node != {"type": "null"} else {"const": ""}
    if isinstance(node, list):
        return [_null_free(value) for value in node]
    return "" if node is None else node


def _parsed(text: str, origin: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"(at line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}, the end)"
        hint = "; an account id stands in quotes" if re.search(r"(?m)^[^#\"'\n]*\b0[0-9]{11}\b", text) else ""
        what = str(error).replace("(at end of document)", end) + hint
    except (RecursionError, ValueError):
        what = "it is nested too deeply, or has a number of thousands of digits"
    raise UsageError(f"not valid TOML: {what}", where=origin, next_step=_NEXT_STEP)


def _validated(data: Mapping[str, Any], origin: str, given: frozenset[_Path] = frozenset()) -> Config:
    """The settings in raw tables, of which those at the paths given are the command line's."""
    try:
        return Config.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [_problem(found) for found in error.errors() if found["type"] != "conflict"]
    problems += _conflicts(data)
    theirs = [any(path[:depth] in given for depth in range(len(path) + 1)) for path, _ in problems]
    if any(theirs):
        origin = "command line" if all(theirs) else f"{origin} and the command line"
    raise _refusal(problems, origin)


def _refusal(problems: Iterable[_Problem], origin: str) -> UsageError:
    what = "\n".join(f"{_dotted(path)}: {sentence}" for path, sentence in problems)
    return UsageError(what, where=origin, next_step=_NEXT_STEP)


def _conflicts(data: Mapping[str, Any]) -> Iterator[_Problem]:
    """What no single key is to blame for, in data that may be wrong in any other way as well."""
    accounts, unused = _at(data, dict, "accounts"), _at(data, dict, "policy", "key-unused")
    listed = _at(accounts, list, "list")
    source = accounts.get("source", "caller")
    if source == "list" and not accounts.get("list"):
        yield ("accounts", "list"), 'source = "list" needs at least one account under [[accounts.list]]'
    if source in ("caller", "organisation") and listed:
        yield ("accounts", "source"), f'"{source}" does not read [[accounts.list]]; set it to "list" or remove the list'
    if source == "caller" and accounts.get("role_name"):
        said = 'source = "caller" assumes no role; set source to "organisation" or "list", or remove this key'
        yield ("accounts", "role_name"), said
    if source == "organisation" and not accounts.get("role_name"):
        yield ("accounts", "role_name"), 'source = "organisation" needs the role to assume in every account'
    yield from _repeated([_at(entry, str, "id") for entry in listed], ("accounts", "list"), "id")
    yield from _entry_conflicts(accounts, source)
    filters: list[_Path] = [
        ("accounts", side, name) for side in ("include", "exclude") for name in AccountFilter.model_fields
    ]
    for path in filters:
        if source in ("caller", "list") and _at(data, list, *map(str, path)):
            yield path, f'source = "{source}" has no organisation to choose from; set it to "organisation"'
    for path in (*filters, ("owners", "tags"), ("output", "formats")):
        yield from _repeated(_at(data, list, *map(str, path)), path)
    if _at(data, dict, "output").get("formats") == []:
        yield ("output", "formats"), "is an empty list; wanted one format at least"
    grace, limit = unused.get("grace_days", 1), unused.get("max_unused_days", 45)
    if {type(grace), type(limit)} == {int} and grace > limit >= 1:
        yield ("policy", "key-unused", "grace_days"), "is longer than max_unused_days"


def _entry_conflicts(accounts: Mapping[str, Any], source: object) -> Iterator[_Problem]:
    """What is wrong with how accounts are entered, beyond single keys."""
    overrides = _at(accounts, list, "override")
    if overrides and source in ("caller", "list"):
        said = f'source = "{source}" does not read [[accounts.override]]; set it to "organisation"'
        yield ("accounts", "override"), said
    yield from _repeated([_at(entry, str, "id") for entry in overrides], ("accounts", "override"), "id")
    for index, entry in enumerate(overrides):
        if isinstance(entry, dict) and not (entry.get("role_name") or entry.get("external_id")):
            yield ("accounts", "override", index), "changes nothing; give role_name or external_id"
    if accounts.get("via"):
        if source == "caller":
            yield ("accounts", "via"), 'source = "caller" assumes no role; set source to "organisation" or "list"'
        minutes = accounts.get("session_minutes")
        if type(minutes) is int and minutes > CHAINED_MINUTES:
            said = f"is more than the {CHAINED_MINUTES} that AWS gives a role assumed from another (accounts.via)"
            yield ("accounts", "session_minutes"), said


def _repeated(values: list[Any], path: _Path, *last: str) -> Iterator[_Problem]:
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        if value and isinstance(value, str) and first.setdefault(value, index) != index:
            yield (*path, index, *last), f"{_quoted(value)} is given twice, first in {_dotted((*path, first[value]))}"


def _at(data: Any, kind: type[_T], *names: str) -> _T:
    """What stands in `data` at a path of names, or an empty value where something else or nothing does."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, kind) else kind()


_SENTENCES = {
    "form": "{sentence}",
    "missing": "is missing and has no default",
    "extra_forbidden": "unknown key; {suggestion}",
    "model_type": "found {found}; wanted a table",
    "tuple_type": "found {found}; wanted a list in square brackets",
    "int_type": "found {found}; wanted a whole number, without quotes",
    "bool_type": "found {found}; wanted true or false, without quotes",
    "enum": "found {found}; wanted {expected}",
    "literal_error": "found {found}; wanted {expected}",
    "greater_than_equal": "found {found}; wanted {ge} or more",
    "less_than_equal": "found {found}; wanted {le} or less",
}
"""What pydantic finds, by its error types, in our words."""


def _problem(error: ErrorDetails) -> _Problem:
    path, context = error["loc"], error.get("ctx", {})
    suggestion = _suggestion(path) if error["type"] == "extra_forbidden" else ""
    if "expected" in context:
        context["expected"] = context["expected"].replace("'", '"')
    sentence = _SENTENCES.get(error["type"], "found {found}, which is not valid here")
    return path, sentence.format(**context, found=_found(error["input"]), suggestion=suggestion)


def _suggestion(path: _Path) -> str:
    section: Any = Config
    for name in (step for step in path[:-1] if isinstance(step, str)):
        annotation = next(field.annotation for field in section.model_fields.values() if field.alias == name)
        section = next(iter(get_args(annotation)), annotation)
    valid = [str(field.alias) for field in section.model_fields.values()]
    near = difflib.get_close_matches(str(path[-1])[:80], valid, n=1)
    return f"did you mean {near[0]}?" if near else f"valid here: {', '.join(valid)}"


def _found(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {_quoted(value)}"
    if isinstance(value, int | float):
        return "a huge number" if abs(value) >= 10**15 else f"the number {value}"
    return "a table" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a date or time"


def _quoted(text: str) -> str:
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:60])
    return f'"{shown}{"" if len(text) <= 60 else "…"}"'  # noqa: PLR2004 - what fits on a line


def _dotted(path: _Path) -> str:
    names = (
        step if isinstance(step, int) or re.fullmatch("[A-Za-z0-9_-]{1,60}", step) else _quoted(step) for step in path
    )
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in names).removeprefix(".")
