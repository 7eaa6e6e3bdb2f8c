"""The settings: what is accepted, and what each mistake gets told."""

import json
import pickle
import re
import tomllib
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from auditor.config import (
    AccountEntry,
    AccountFilter,
    AccountsConfig,
    AccountSource,
    Config,
    GatherConfig,
    KeyAgeConfig,
    PolicyConfig,
    ReportFormat,
    asks_the_same,
    config_schema,
    effective_toml,
    load_config,
    load_output,
    parse_config,
    policy_from_toml,
)
from auditor.errors import UsageError
from auditor.model import ControlId, Limit, Operator, Policy, Severity

EXAMPLE = Path(__file__).parent.parent / "config.toml"


def refused(text: str) -> list[str]:
    """The lines that a configuration is refused with."""
    with pytest.raises(UsageError) as caught:
        parse_config(text, origin="my.toml")
    assert caught.value.exit_code == 2
    assert caught.value.where == "my.toml"
    assert "auditor config check" in caught.value.next_step
    assert "auditor config schema" in caught.value.next_step
    return caught.value.what.splitlines()


def complaint(text: str) -> str:
    """What a configuration is refused with, or nothing."""
    try:
        parse_config(text, origin="my.toml")
    except UsageError as error:
        return error.what
    return ""


def leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def toml_at(path: tuple[str, ...], value: object) -> str:
    data: dict[str, Any] = {path[-1]: value}
    if path[:2] == ("accounts", "partition") and path[-1] == "via":
        data["profile"] = "p"
    for name in reversed(path[:-1]):
        data = {name: data}
    if path in ORGANISATIONAL:
        data["accounts"] |= {"source": "organisation"} | ({} if path[1] == "role_name" else {"role_name": "r"})
    return tomli_w.dumps(data)


ORGANISATIONAL = (
    {("accounts", "role_name"), ("accounts", "via")}
    | {("accounts", side, kind) for side in ("include", "exclude") for kind in AccountFilter.model_fields}
    | {("accounts", "partition", name, key) for name in ("aws", "aws-cn", "aws-us-gov") for key in ("profile", "via")}
)
"""Keys that mean something for an organisation only."""

LISTS = {
    ("accounts", "list"),
    ("accounts", "override"),
    ("policy", "limit"),
    ("frameworks", "definition"),
    ("exemptions", "list"),
    ("owners", "rule"),
}

ALL_KEYS = [path for path in leaves(tomllib.loads(effective_toml(Config()))) if path not in LISTS]

# ------------------------------------------------------------------------------------------------- defaults


def test_defaults_are_the_policys_own() -> None:
    """Without any setting the policy is the model's default."""
    assert Config().to_policy() == Policy()
    assert parse_config("", origin="empty.toml") == Config()


def test_example_is_the_default() -> None:
    """The config.toml at the top level loads and changes nothing."""
    assert load_config(EXAMPLE) == Config()


def test_example_has_every_key() -> None:
    """The config.toml at the top level shows every key there is, but for the list, which would shadow its example."""
    assert set(leaves(tomllib.loads(EXAMPLE.read_text("utf-8")))) == set(ALL_KEYS)


def test_commented_list_in_the_example_is_valid() -> None:
    """Taking the comment signs away from the example's list gives a valid list of accounts."""
    lines = EXAMPLE.read_text("utf-8").split('# For source = "list"')[1].split("# For the whole")[0].splitlines()
    listed = "\n".join(line.removeprefix("# ") for line in lines[3:])
    config = parse_config('[accounts]\nsource = "list"\n' + listed, origin="example")
    assert [entry.id for entry in config.accounts.list] == ["012345678901", "210987654321"]
    assert config.accounts.list[1] == AccountEntry(
        id="210987654321",
        name="payments-china",
        role_name="audit/auditor-read",
        external_id="an-external-id",
        partition="aws-cn",
    )


def test_commented_organisation_in_the_example_is_valid() -> None:
    """The example's lines for an organisation, put under [accounts], are a valid configuration."""
    lines = EXAMPLE.read_text("utf-8").split("# For the whole organisation")[1].split("[policy]")[0].splitlines()
    config = parse_config("[accounts]\n" + "\n".join(line.removeprefix("# ") for line in lines[2:]), origin="example")
    assert config.accounts.source is AccountSource.ORGANISATION
    assert config.accounts.role_name == "auditor-read"
    assert config.accounts.exclude.names == ("sandbox-*",)


# ------------------------------------------------------------------------------------------------- values


def test_every_policy_value_reaches_the_policy() -> None:
    """Each threshold, operator and severity of the file is the one that is judged by."""
    text = """
        [policy]
        warning_days = 7
        [policy.key-age]
        max_age_days = 60
        operator = ">="
        severity = "critical"
        [policy.key-unused]
        max_unused_days = 30
        operator = ">"
        severity = "low"
        grace_days = 3
        [policy.root-access-key]
        inactive_fails = true
        severity = "high"
        [policy.one-active-key]
        max_active_keys = 2
        severity = "medium"
        overlap_passes = false
        [policy.extra-keys]
        severity = "low"
        [policy.key-at-user-creation]
        enabled = false
        severity = "medium"
        [policy.inactive-key-retained]
        max_inactive_days = 30
        operator = ">="
        severity = "high"
        [policy.quarantined-key]
        severity = "high"
        [policy.service-credential-age]
        max_age_days = 365
        operator = ">="
        severity = "low"
        [policy.console-password-unused]
        max_unused_days = 60
        operator = ">"
        severity = "low"
        [policy.console-mfa]
        enabled = false
        severity = "critical"
        [owners]
        tags = ["cost centre"]
    """
    assert parse_config(text, origin="t").to_policy() == Policy(
        key_age=Limit(timedelta(days=60), Operator.AT_LEAST),
        key_unused=Limit(timedelta(days=30), Operator.MORE_THAN),
        unused_grace=timedelta(days=3),
        max_active_keys=2,
        overlap_passes=False,
        inactive_root_key_fails=True,
        inactive_retained=Limit(timedelta(days=30), Operator.AT_LEAST),
        service_credential_age=Limit(timedelta(days=365), Operator.AT_LEAST),
        password_unused=Limit(timedelta(days=60), Operator.MORE_THAN),
        switched_off=frozenset({ControlId.KEY_AT_USER_CREATION, ControlId.CONSOLE_MFA}),
        warning_window=timedelta(days=7),
        severities={
            ControlId.KEY_AGE: Severity.CRITICAL,
            ControlId.KEY_UNUSED: Severity.LOW,
            ControlId.ROOT_ACCESS_KEY: Severity.HIGH,
            ControlId.ONE_ACTIVE_KEY: Severity.MEDIUM,
            ControlId.EXTRA_KEYS: Severity.LOW,
            ControlId.KEY_AT_USER_CREATION: Severity.MEDIUM,
            ControlId.INACTIVE_KEY_RETAINED: Severity.HIGH,
            ControlId.QUARANTINED_KEY: Severity.HIGH,
            ControlId.SERVICE_CREDENTIAL_AGE: Severity.LOW,
            ControlId.CONSOLE_PASSWORD_UNUSED: Severity.LOW,
            ControlId.CONSOLE_MFA: Severity.CRITICAL,
        },
        owner_tags=("cost centre",),
    )


def test_every_control_has_its_table() -> None:
    """A control that is judged can be configured, by its id."""
    tables = {path[1] for path in ALL_KEYS if path[0] == "policy" and len(path) == 3}
    assert tables == set(ControlId)


def test_texts_become_enumerations_and_lists_become_tuples() -> None:
    """A record never holds a bare text for a choice, nor a list that can be changed."""
    config = parse_config('[output]\nformats = ["csv", "pdf"]\nfail_on = "high"', origin="t")
    assert config.output.formats == (ReportFormat.CSV, ReportFormat.PDF)
    assert config.output.fail_on is Severity.HIGH


def test_empty_text_means_not_set() -> None:
    """An optional text that is empty is None in the records."""
    config = parse_config('[aws]\nprofile = ""\nregion = ""\nendpoint_url = ""', origin="t")
    assert (config.aws.profile, config.aws.region, config.aws.endpoint_url) == (None, None, None)


GOOD: dict[str, list[object]] = {
    "accounts.role_name": ["auditor-read", "audit/auditor-read", "a/b/" + "r" * 64, "a+b=c,d.e@f_g-h"],
    "accounts.external_id": ["ab", "x" * 1224, "arn:aws:iam::1/a_b=c,d.e@f-g+"],
    "accounts.via": [["arn:aws:iam::111111111111:role/audit/hub"], ["arn:aws-us-gov:iam::111111111111:role/hub"]],
    "accounts.partition.aws-cn.profile": ["china"],
    "accounts.partition.aws-cn.via": [["arn:aws-cn:iam::111111111111:role/a", "arn:aws-cn:iam::111111111111:role/b"]],
    "accounts.session_name": ["ab", "s" * 64],
    "accounts.session_minutes": [15, 720],
    "accounts.include.ids": [["000000000000"]],
    "accounts.include.names": [["*", "Müller & Söhne ?"]],
    "accounts.include.ous": [["/Workloads/Kunden Nord", "r-ab12", "ou-ab12-cd34ef56"]],
    "accounts.exclude.tags": [["stage", "cost centre=4711", "empty="]],
    "policy.warning_days": [0],
    "policy.key-age.max_age_days": [1, 3650],
    "policy.key-unused.max_unused_days": [1],
    "policy.key-unused.grace_days": [0, 45],
    "owners.tags": [[], ["Kosten Stelle:ä/1=+-@._", "t" * 128]],
    "gather.calls_in_flight": [1, 1024],
    "gather.key_ids": ["all"],
    "aws.endpoint_url": ["http://127.0.0.1:5000", "http://[::1]:65535/", "https://iam.example.internal/prefix"],
    "aws.region": ["us-east-1", "us-gov-west-1", "ap-southeast-12"],
    "output.organisation": ["Müller & Söhne <GmbH>"],
    "output.folder": ["/var/lib/auditor runs"],
}

BAD: dict[str, list[object]] = {
    "accounts.role_name": [
        "arn:aws:iam::123456789012:role/auditor-read",
        "/auditor-read",
        "audit//read",
        "audit/",
        "r" * 65,
        "auditor read",
        "rôle",
        "auditor\n",
    ],
    "accounts.external_id": ["x", "x" * 1225, "a b"],
    "accounts.via": [["hub"], ["arn:aws:iam::1:role/hub"], ["arn:aws:sts::111111111111:assumed-role/hub/me"]],
    "accounts.partition.aws-us-gov.via": [["hub"]],
    "accounts.session_name": ["s", "", "s" * 65, "a/b"],
    "accounts.session_minutes": [14, 721],
    "accounts.exclude.ids": [["12345678901"], ["1234567890123"], ["12345678901२"], ["123456789012\n"]],
    "accounts.exclude.names": [[""], ["a\nb"]],
    "accounts.include.ous": [["Workloads"], ["/"], ["/a//b"], ["/a/"], ["o-ab12cd34ef"], ["ou-ab12"]],
    "accounts.include.tags": [[""], ["stage=*"]],
    "policy.warning_days": [-1],
    "policy.key-age.max_age_days": [0, 3651, 10**30],
    "policy.key-age.operator": ["<"],
    "policy.key-age.severity": ["High"],
    "policy.key-unused.max_unused_days": [0],
    "policy.one-active-key.max_active_keys": [0, 3],
    "owners.tags": [[""], ["t" * 129], ["a*b"]],
    "gather.calls_in_flight": [0, 1025],
    "gather.key_ids": ["none"],
    "aws.endpoint_url": [
        "127.0.0.1:5000",
        "ftp://host",
        "http://",
        "http://user:pass@host",
        "http://host?x=1",
        "http://host#x",
        "http://host:65536",
        "http://a_b",
    ],
    "aws.region": ["eu central 1"],
    "aws.profile": ["a\nb"],
    "output.folder": ["", "a\0b"],
    "output.formats": [["docx"], []],
    "output.pdf_max_rows": [0],
    "output.actions_days": [0],
}


def pairs(values: Mapping[str, list[object]]) -> list[tuple[str, object]]:
    return [(key, value) for key, listed in values.items() for value in listed]


@pytest.mark.parametrize(("key", "value"), pairs(GOOD))
def test_values_that_aws_or_sense_allows_are_taken(key: str, value: object) -> None:
    """Everything up to the limits of AWS and of sense is accepted, and comes back as it was written."""
    config = parse_config(toml_at(tuple(key.split(".")), value), origin="t")
    found: Any = json.loads(config.model_dump_json(by_alias=True))
    for name in key.split("."):
        found = found[name]
    assert found == value


@pytest.mark.parametrize(("key", "value"), pairs(BAD))
def test_values_beyond_a_limit_are_refused_by_name(key: str, value: object) -> None:
    """One step beyond a limit is refused in one line that begins with the key."""
    lines = refused(toml_at(tuple(key.split(".")), value))
    assert len(lines) == 1
    assert re.match(re.escape(key) + r"(\[0\])?: ", lines[0])


# ------------------------------------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("policy.key-age.max_age_days = '90'", 'found the text "90"; wanted a whole number, without quotes'),
        ("policy.key-age.max_age_days = true", "found true; wanted a whole number, without quotes"),
        ("policy.key-age.max_age_days = 90.0", "found the number 90.0; wanted a whole number, without quotes"),
        ("policy.key-age.max_age_days = 0", "found the number 0; wanted 1 or more"),
        ("policy.key-age.max_age_days = 4000", "found the number 4000; wanted 3650 or less"),
        ("policy.root-access-key.inactive_fails = 1", "found the number 1; wanted true or false, without quotes"),
        ("policy.key-age.operator = '=>'", 'found the text "=>"; wanted ">" or ">="'),
        ("policy.key-age = 90", "found the number 90; wanted a table"),
        ("accounts = []", "found a list; wanted a table"),
        ("accounts.exclude.ids = '123456789012'", 'found the text "123456789012"; wanted a list in square brackets'),
        ("accounts.session_name = 2026-11-22", "found a date or time; wanted a session name: "),
        ("gather.key_ids = 'some'", 'found the text "some"; wanted "flagged" or "all"'),
        ("output.formats = []", "is an empty list; wanted one format at least"),
        ("policy.key-age.max_age_day = 1", "unknown key; did you mean max_age_days?"),
        ("policy.key_age = {}", "unknown key; did you mean key-age?"),
        ("aws.colour = 1", "unknown key; valid here: profile, endpoint_url, region, "),
        ("polices = {}", "unknown key; did you mean policy?"),
    ],
)
def test_each_kind_of_mistake_has_its_sentence(text: str, line: str) -> None:
    """A mistake is told with its key, what was found and what is wanted, in plain English."""
    [said] = refused(text)
    assert said.startswith(f"{text.partition(' = ')[0]}: {line}")


def test_account_id_that_is_too_short_is_told_as_one() -> None:
    """A wrong account id in the list is shown with its place and the rule."""
    [said] = refused('accounts = {source = "list", list = [{id = "123456789012"}, {id = "1234"}]}')
    assert said.startswith('accounts.list[1].id: "1234" is not an account id: exactly 12 digits, in quotes')


def test_account_id_without_quotes_is_told_to_have_them() -> None:
    """An account id as a number is a wrong type, because its leading zeros would be lost."""
    [said] = refused('[accounts]\nsource = "organisation"\nrole_name = "r"\nexclude.ids = [123456789012]')
    assert said.startswith(
        "accounts.exclude.ids[0]: found the number 123456789012; wanted an account id: exactly 12 digits"
    )
    assert "in quotes because leading zeros matter" in said


def test_account_without_id_is_told() -> None:
    """The one key without a default is missed by name."""
    assert refused('[accounts]\nsource = "list"\n[[accounts.list]]\nname = "x"') == [
        "accounts.list[0].id: is missing and has no default"
    ]


def test_unknown_key_of_a_listed_account_gets_the_nearest_name() -> None:
    """Suggestions come from the names that are valid in that very table."""
    text = '[accounts]\nsource = "list"\n[[accounts.list]]\nid = "123456789012"\nrolename = "x"'
    assert refused(text) == ["accounts.list[0].rolename: unknown key; did you mean role_name?"]


TEN_MISTAKES = """
colour = "blue"
[accounts]
source = "list"
exclude.ids = ["123456789012", 5]
session_minutes = "60"
[[accounts.list]]
id = "1234"
[[accounts.list]]
id = "123456789012"
externalid = "x"
[[accounts.list]]
id = "123456789012"
[policy.key-age]
max_age_day = 60
operator = "=="
[policy.key-unused]
max_unused_days = 0
[output]
formats = ["csv", "csv", "docx"]
"""


def test_all_mistakes_are_told_at_once() -> None:
    """Wrong values, unknown keys and contradictions are all named in one go, one a line, whatever else is wrong."""
    assert {line.split(": ")[0] for line in refused(TEN_MISTAKES)} == {
        "colour",
        "accounts.exclude.ids[1]",
        "accounts.exclude.ids",  # of an organisation only
        "accounts.session_minutes",
        "accounts.list[0].id",
        "accounts.list[1].externalid",
        "accounts.list[2].id",  # twice
        "policy.key-age.max_age_day",
        "policy.key-age.operator",
        "policy.key-unused.max_unused_days",
        "output.formats[1]",
        "output.formats[2]",
    }


ODD_VALUES = [True, 0, -1, 1.5, float("nan"), 10**40, "", "x", "\x1b[31m", [], [1], ["x"], [[]], {}, {"x": 1}, date.min]


@pytest.mark.parametrize("path", [*ALL_KEYS, ("accounts", "list"), ("accounts",), ("policy", "key-age")], ids=".".join)
def test_no_value_of_any_type_is_told_in_foreign_words(path: tuple[str, ...]) -> None:
    """Whatever stands at any key is accepted or refused with our own sentences, free of control characters."""
    told = [what for value in ODD_VALUES if (what := complaint(toml_at(path, value)))]
    assert told
    for what in told:
        assert what.startswith(".".join(path))
        assert "not valid here" not in what
        assert "nput should" not in what
        assert all(line.isprintable() for line in what.split("\n"))


def test_hostile_key_names_stay_on_their_line() -> None:
    """A key with a line break, an escape or thousands of letters is shown quoted, escaped and cut."""
    first, second = refused(tomli_w.dumps({"a\nb\x1b": 1, "k" * 5000: 1}))
    assert first.startswith(r'"a\nb\x1b": unknown key')
    assert len(second) < 200


NO_SUCH_KEY = (
    "gather.a: unknown key; valid here: key_ids, processes, calls_in_flight, account_calls_in_flight, "
    "account_calls_per_second, report_wait_minutes, call_attempts"
)


def test_numbers_and_keys_of_any_size_are_told() -> None:
    """A number too long to print and a key of thousands of parts are refused like any other."""
    text = f"policy.key-age.max_age_days = 0x{'f' * 5000}\n[gather.{'a.' * 3000}b]"
    assert refused(text) == [
        "policy.key-age.max_age_days: found a huge number; wanted 3650 or less",
        NO_SUCH_KEY,
    ]


# ------------------------------------------------------------------------------------------------- contradictions

HUB = "arn:aws:iam::111111111111:role/hub"
ENTERED = f'[accounts]\nsource = "organisation"\nrole_name = "r"\nvia = ["{HUB}"]\n'
ORGANISED = '[accounts]\nsource = "organisation"\nrole_name = "r"\n'
TWO = '[[accounts.list]]\nid = "111111111111"\n[[accounts.list]]\nid = "222222222222"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('[accounts]\nsource = "list"', 'accounts.list: source = "list" needs at least one account'),
        ('[accounts]\nsource = "list"\nlist = []', 'accounts.list: source = "list" needs at least one account'),
        ('accounts.role_name = "r"', 'accounts.role_name: source = "caller" assumes no role'),
        (TWO, 'accounts.source: "caller" does not read [[accounts.list]]'),
        ('[accounts]\nsource = "organisation"', 'accounts.role_name: source = "organisation" needs the role'),
        (
            '[accounts]\nsource = "organisation"\nrole_name = ""',
            'accounts.role_name: source = "organisation" needs the role',
        ),
        (
            '[accounts]\nsource = "list"\n' + TWO + '[[accounts.list]]\nid = "111111111111"\n',
            'accounts.list[2].id: "111111111111" is given twice, first in accounts.list[0]',
        ),
        (
            '[accounts]\nsource = "list"\nexclude.ids = ["222222222222"]\n' + TWO,
            'accounts.exclude.ids: source = "list" has no organisation to choose from',
        ),
        ("accounts.root_sessions = true", 'accounts.root_sessions: source = "caller" has no member accounts to enter'),
        (
            '[accounts]\nsource = "list"\nroot_sessions = true\n' + TWO,
            'accounts.root_sessions: source = "list" has no member accounts to enter',
        ),
        (ENTERED + "session_minutes = 61", "accounts.session_minutes: is more than the 60 that AWS gives"),
        (f'accounts.via = ["{HUB}"]', 'accounts.via: source = "caller" assumes no role'),
        (
            f'[accounts]\nsource = "list"\nvia = ["{HUB}", "{HUB.replace("aws", "aws-cn", 1)}"]\n' + TWO,
            "accounts.via[1]: is a role in aws-cn, which cannot be assumed from aws",
        ),
        (
            f'{ORGANISED}partition.aws-cn = {{profile = "china", via = ["{HUB}"]}}',
            "accounts.partition.aws-cn.via[0]: is a role in aws, which cannot be assumed from aws-cn",
        ),
        (
            f'{ORGANISED}partition.aws.via = ["{HUB}"]',
            "accounts.partition.aws.profile: is missing; the first of these roles is assumed with its credentials",
        ),
        (
            f'{ORGANISED}session_minutes = 61\npartition.aws = {{profile = "p", via = ["{HUB}"]}}',
            "accounts.session_minutes: is more than the 60 that AWS gives",
        ),
        (
            'accounts.partition.aws-cn.profile = "china"',
            'accounts.partition.aws-cn.profile: source = "caller" enters no other account',
        ),
        (
            ENTERED + '[[accounts.override]]\nid = "111111111111"',
            "accounts.override[0]: changes nothing; give name, role_name or external_id",
        ),
        (
            ENTERED + '[[accounts.override]]\nid = "111111111111"\nrole_name = "r"\n' * 2,
            'accounts.override[1].id: "111111111111" is given twice',
        ),
        (
            '[accounts]\nsource = "list"\n' + TWO + '[[accounts.override]]\nid = "111111111111"\nrole_name = "r"',
            'accounts.override: source = "list" does not read [[accounts.override]]',
        ),
        (
            '[remediation.protected]\nous = ["/a"]',
            'remediation.protected.ous: source = "caller" has no organisation to ask',
        ),
        (
            '[accounts]\nsource = "list"\n' + TWO + '[remediation.protected]\nous = ["/a"]',
            'remediation.protected.ous: source = "list" has no organisation to ask',
        ),
        ('[accounts.include]\nous = ["/a"]', 'accounts.include.ous: source = "caller" has no organisation to choose'),
        (
            '[accounts]\nsource = "organisation"\nrole_name = "r"\nexclude.names = ["a*", "a*"]',
            'accounts.exclude.names[1]: "a*" is given twice',
        ),
        ('[owners]\ntags = ["owner", "team", "owner"]', 'owners.tags[2]: "owner" is given twice'),
        ('[output]\nformats = ["pdf", "pdf"]', 'output.formats[1]: "pdf" is given twice, first in output.formats[0]'),
        ("[policy.key-unused]\ngrace_days = 46", "policy.key-unused.grace_days: is longer than max_unused_days"),
    ],
)
def test_contradictions_are_refused(text: str, line: str) -> None:
    """Keys that are valid alone but not together are refused, at the key to change."""
    [said] = refused(text)
    assert said.startswith(line)


def test_valid_lists_and_organisations_are_taken() -> None:
    """A list with source "list" and an organisation with a role are what the contradictions leave."""
    listed = parse_config('[accounts]\nsource = "list"\n' + TWO, origin="t")
    assert [entry.id for entry in listed.accounts.list] == ["111111111111", "222222222222"]
    assert (
        parse_config('accounts = {source = "organisation", role_name = "a/b"}', origin="t").accounts.role_name == "a/b"
    )


def test_records_made_in_python_are_held_to_the_same_rules() -> None:
    """Holding a Config means that it is good, wherever it was made."""
    with pytest.raises(ValidationError, match=r"accounts\.role_name: source"):
        Config(accounts=AccountsConfig(source=AccountSource.ORGANISATION))
    made = Config(policy=PolicyConfig(key_age=KeyAgeConfig(max_age_days=30)), gather=GatherConfig(key_ids="all"))
    assert made.to_policy() == replace(Policy(), key_age=Limit(timedelta(days=30), Operator.MORE_THAN))


def test_records_cannot_be_changed_and_survive_a_process_border() -> None:
    """A Config is frozen, and the same after pickling."""
    config = load_config(EXAMPLE)
    with pytest.raises(ValidationError):
        config.output.folder = "elsewhere"
    assert pickle.loads(pickle.dumps(config)) == config


# ------------------------------------------------------------------------------------------------- secrets

SECRET = "T0pSecretExternalId"


def test_no_message_or_traceback_repeats_an_external_id_or_a_password() -> None:
    """A refused external id or endpoint is not shown, not even in the traceback's causes."""
    text = f'accounts = {{external_id = "{SECRET} x", externalid = "{SECRET}"}}\naws = {{endpoint_url = "http://u:{SECRET}@h"}}'
    with pytest.raises(UsageError) as caught:
        parse_config(text, origin="t")
    assert caught.value.what.count("\n") == 2
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_no_external_id_is_printed_or_stored() -> None:
    """External ids are neither in the `repr` nor in a run's policy.toml, which says that they were set."""
    entry = AccountEntry(id="111111111111", external_id=SECRET + "2")
    config = Config(accounts=AccountsConfig(source=AccountSource.LIST, external_id=SECRET, list=(entry,)))
    assert SECRET not in repr(config)
    written = effective_toml(config)
    assert SECRET not in written
    accounts = tomllib.loads(written)["accounts"]
    assert (accounts["external_id"], accounts["list"][0]["external_id"]) == ("(set)", "(set)")


# ------------------------------------------------------------------------------------------------- files


def test_missing_file_is_told(tmp_path: Path) -> None:
    """A configuration that is not there is named with its path."""
    with pytest.raises(UsageError, match="cannot be read: No such file") as caught:
        load_config(tmp_path / "none.toml")
    assert caught.value.where == str(tmp_path / "none.toml")


def test_folder_instead_of_a_file_is_told(tmp_path: Path) -> None:
    """A folder is not a configuration."""
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_config(tmp_path)


def test_impossible_path_is_told() -> None:
    """A path that no system has is unreadable, not a traceback."""
    with pytest.raises(UsageError, match="cannot be read"):
        load_config(Path("a\0b"))


def test_text_in_another_encoding_is_told_with_its_line(tmp_path: Path) -> None:
    """A file that is not UTF-8 is refused with the line and the byte."""
    (tmp_path / "c.toml").write_bytes('[output]\norganisation = "Müller"'.encode("latin-1"))
    with pytest.raises(UsageError, match="line 2 holds the byte 0xfc, which is not UTF-8"):
        load_config(tmp_path / "c.toml")


def test_byte_order_mark_and_windows_line_ends_are_taken(tmp_path: Path) -> None:
    """What a Windows editor adds to a file does not matter."""
    (tmp_path / "c.toml").write_bytes(b'\xef\xbb\xbf[output]\r\nfolder = "x"\r\n')
    assert load_config(tmp_path / "c.toml").output.folder == "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[output]\nfolder = x", "Invalid value (at line 2, column 10)"),
        ("[output]\nfolder =", "Invalid value (at line 2, column 9, the end)"),
        ("[output]\n[output]\n", "Cannot declare ('output',) twice (at line 2, column 8)"),
        ("[accounts.exclude]\nids = [012345678901]\n", "(at line 2, column 9); an account id stands in quotes"),
        ("a = " + "[" * 9000, "nested too deeply"),
        ("a = " + "1" * 9000, "a number of thousands of digits"),
    ],
    ids=["value", "end", "twice", "leading zero", "nested", "digits"],
)
def test_malformed_toml_is_told_with_line_and_column(text: str, said: str) -> None:
    """A file that is not TOML is refused with the place, at the end of the text, too."""
    [line] = refused(text)
    assert line.startswith("not valid TOML: ")
    assert said in line


# ------------------------------------------------------------------------------------------------- the stored policy


def test_stored_configuration_is_complete_and_always_the_same() -> None:
    """Every effective value is written, and two writings of equal configurations are equal texts."""
    written = effective_toml(Config())
    assert written == effective_toml(load_config(EXAMPLE))
    assert parse_config(written, origin="t") == Config()


def test_stored_policy_is_read_back_whatever_else_is_stored() -> None:
    """Replay reads the policy and the owners' tags; all other tables may be of another version."""
    written = effective_toml(parse_config("policy.key-age.max_age_days = 30", origin="t"))
    assert policy_from_toml(written + "\n[later]\nx = 1\n").key_age.maximum == timedelta(days=30)
    assert policy_from_toml(written.replace('source = "caller"', 'source = "moon"')).max_active_keys == 1


def test_stored_policy_must_be_complete() -> None:
    """A threshold that is missing from a stored policy is never filled with today's default."""
    written = effective_toml(Config())
    with pytest.raises(UsageError, match=r"policy\.key-age\.max_age_days: is missing") as caught:
        policy_from_toml(written.replace("max_age_days = 90\n", ""))
    assert caught.value.where == "policy.toml"
    with pytest.raises(UsageError) as caught:
        policy_from_toml("")
    every = leaves(tomllib.loads(effective_toml(Config())))
    assert len(caught.value.what.splitlines()) == sum(path[0] in {"policy", "owners"} for path in every)


def test_stored_policy_that_was_damaged_is_refused() -> None:
    """A stored policy is held to the same rules as a configuration."""
    with pytest.raises(UsageError, match=r"policy\.key-age\.max_age_days: found the number -90"):
        policy_from_toml(effective_toml(Config()).replace("max_age_days = 90", "max_age_days = -90"))
    with pytest.raises(UsageError, match="not valid TOML"):
        policy_from_toml(effective_toml(Config())[:-5] + '"')


# ------------------------------------------------------------------------------------------------- the schema


VALIDATOR = Draft202012Validator(config_schema())


def test_schema_is_one_and_takes_the_example() -> None:
    """The schema is valid JSON Schema 2020-12, JSON throughout, and agrees with the example and its own defaults."""
    schema = json.loads(json.dumps(config_schema()))
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert not list(VALIDATOR.iter_errors(tomllib.loads(EXAMPLE.read_text("utf-8"))))
    assert not list(VALIDATOR.iter_errors({name: table["default"] for name, table in schema["properties"].items()}))


def test_schema_describes_every_key_with_its_default() -> None:
    """Each key has a description and a default that TOML can say, but for what an entry of a list cannot do without."""
    schema = config_schema()
    tables = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    assert len(tables) == 45
    needed = {
        "AccountEntry": {"id"},
        "AccountOverride": {"id"},
        "ClauseConfig": {"id", "title", "support", "reason", "source"},
        "FileOwnerConfig": {"name", "keys"},
        "FreezeConfig": {"starts", "ends", "reason"},
        "ExemptionConfig": {"id", "control", "reason", "owner", "approver", "ticket", "starts", "expires"},
        "FrameworkConfig": {"schema", "id", "title", "edition", "source", "clause"},
        "LimitConfig": {"id", "control", "max_days"},
        "OwnerConfig": {"owner"},
    }
    for table in tables:
        without = {name for name, key in table["properties"].items() if "default" not in key}
        assert without == needed.get(table["title"], set())
    keys = [key for table in tables for key in table["properties"].values()]
    definitions = [schema["$defs"].get(key.get("$ref", "").rpartition("/")[2], {}) for key in keys]
    assert all("description" in key or "description" in of for key, of in zip(keys, definitions, strict=True))
    assert all(table["additionalProperties"] is False for table in tables)
    assert "null" not in json.dumps(schema)


@pytest.mark.parametrize(("key", "value"), pairs(GOOD))
def test_schema_takes_what_we_take(key: str, value: object) -> None:
    """An editor never marks a value that we accept."""
    assert not list(VALIDATOR.iter_errors(tomllib.loads(toml_at(tuple(key.split(".")), value))))


@pytest.mark.parametrize(("key", "value"), [pair for pair in pairs(BAD) if "\\n" not in repr(pair)])
def test_schema_refuses_what_we_refuse(key: str, value: object) -> None:
    """An editor marks every value that we would refuse (Python's `$` lets a final line break pass, so not those)."""
    assert list(VALIDATOR.iter_errors(tomllib.loads(toml_at(tuple(key.split(".")), value))))


def test_an_external_id_of_the_wrong_type_is_not_repeated() -> None:
    """It is a secret even where its quotes are missing."""
    with pytest.raises(UsageError) as caught:
        parse_config("[accounts]\nexternal_id = 998877665544\n", origin="config.toml")
    assert "998877665544" not in str(caught.value)
    assert "external_id" in str(caught.value)


# ------------------------------------------------------------------------------------------------- the command line


def test_values_of_the_command_line_are_laid_over_the_files(tmp_path: Path) -> None:
    """Given values replace the file's, None leaves them, external ids stay, and all is checked as a whole."""
    file = tmp_path / "config.toml"
    file.write_text(
        'accounts = {source = "organisation", role_name = "old", external_id = "an-id"}\naws = {profile = "p"}'
    )
    loaded = load_config(file)
    laid = load_config(file, {"accounts": {"role_name": "new"}, "output": {"formats": ("csv",), "folder": None}})
    assert (laid.accounts.role_name, laid.accounts.external_id, laid.aws.profile) == ("new", "an-id", "p")
    assert (laid.output.formats, laid.output.folder) == ((ReportFormat.CSV,), "reports")
    assert load_config(file, {}) == loaded
    with pytest.raises(UsageError) as caught:
        load_config(file, {"accounts": {"role_name": "a b"}, "output": {"formats": ("csv", "csv"), "fail_on": "worst"}})
    assert caught.value.where == "command line"
    assert [line.partition(":")[0] for line in caught.value.what.splitlines()] == [
        "accounts.role_name",
        "output.fail_on",
        "output.formats[1]",
    ]


def test_the_command_line_completes_a_file(tmp_path: Path) -> None:
    """A file that says "organisation" and leaves the role to the command line is whole with it, and not without."""
    file = tmp_path / "config.toml"
    file.write_text('accounts.source = "organisation"')
    assert load_config(file, {"accounts": {"role_name": "r"}}).accounts.role_name == "r"
    with pytest.raises(UsageError, match=r"accounts\.role_name: .* needs the role.*--role-name") as caught:
        load_config(file)
    assert caught.value.where == str(file)


def test_mistakes_of_file_and_command_line_are_told_apart(tmp_path: Path) -> None:
    """All of them at once, and which are not the file's is said; a file that is no table at all is no trap."""
    file = tmp_path / "config.toml"
    file.write_text('accounts = 7\n[output]\nfail_on = "worst"\nformat = ["csv"]')
    with pytest.raises(UsageError) as caught:
        load_config(file, {"accounts": {"role_name": "r"}, "output": {"formats": ["docx"]}})
    assert caught.value.where == str(file)
    assert [(line.partition(":")[0], line.endswith("(command line)")) for line in caught.value.what.splitlines()] == [
        ("accounts", False),
        ("output.formats[0]", True),
        ("output.fail_on", False),
        ("output.format", False),
    ]


@pytest.mark.parametrize("file_says", ["", 'accounts.source = "caller"'])
def test_a_role_on_the_command_line_means_accounts_beyond_the_callers(tmp_path: Path, file_says: str) -> None:
    """Those that are given, or the whole organisation; a file that says which accounts is not talked over."""
    file = tmp_path / "config.toml"
    file.write_text(file_says)
    role = {"accounts": {"role_name": "r"}}
    assert load_config(file, role).accounts.source is AccountSource.ORGANISATION
    listed = load_config(file, role, entered=["111111111111", "111111111111"]).accounts
    assert (listed.source, [entry.id for entry in listed.list]) == (AccountSource.LIST, ["111111111111"])
    assert load_config(file, {}, entered=["111111111111"]).accounts.source is AccountSource.CALLER
    file.write_text("[accounts]\nsource = 'list'\n" + TWO)
    assert len(load_config(file, role, entered=["111111111111"]).accounts.list) == 2


def test_what_reads_stored_runs_needs_no_accounts(tmp_path: Path) -> None:
    """A run is listed and rendered whatever the file says of accounts; mistakes under [output] are told."""
    file = tmp_path / "config.toml"
    file.write_text('accounts.source = "organisation"\noutput.folder = "runs"')
    assert load_output(file, {"output": {"folder": None, "formats": ["csv"]}}).folder == "runs"
    file.write_text("output.folder = 7")
    with pytest.raises(UsageError, match=r"output\.folder: found the number 7"):
        load_output(file, {})


@pytest.mark.parametrize(
    ("text", "values", "where"),
    [
        ('accounts = {source = "organisation"}', {"accounts": {"role_name": None}}, "my.toml"),
        ('accounts = {source = "organisation"}', {"accounts": {"role_name": "a b"}}, "command line"),
        ("accounts = 5", {"accounts": {"role_name": "r"}}, "my.toml"),
        ("accounts = {include = 5}", {"accounts": {"include": {"ous": ("/a",)}}}, "my.toml"),
        ("aws = {colour = 1}", {"output": {"fail_on": "worst"}}, "my.toml"),
        ("", {"accounts": {"include": {"ous": ("/a",)}}}, "command line"),
    ],
)
def test_file_and_command_line_are_refused_where_the_mistake_is(
    text: str, values: dict[str, Any], where: str, tmp_path: Path
) -> None:
    """Both are checked as one, and the refusal names the one to correct."""
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_config(tmp_path / "my.toml", values)
    assert caught.value.where.replace(str(tmp_path / "my.toml"), "my.toml") == where


def test_nested_tables_are_laid_over_key_by_key(tmp_path: Path) -> None:
    """What the command line does not name stays as the file has it."""
    file = tmp_path / "my.toml"
    file.write_text('accounts = {source = "organisation", include = {ids = ["111111111111"]}}')
    accounts = load_config(file, {"accounts": {"role_name": "r", "include": {"ous": ("/a",), "tags": None}}}).accounts
    assert accounts.include == AccountFilter(ids=("111111111111",), ous=("/a",))


def test_a_role_on_the_command_line_enters_the_listed_accounts(tmp_path: Path) -> None:
    """It outranks a listed account's own; an override stays, for it is the exception."""
    file = tmp_path / "my.toml"
    role = {"accounts": {"role_name": "r"}}
    file.write_text('accounts = {source = "list", list = [{id = "111111111111", role_name = "own"}]}')
    assert load_config(file, role).accounts.list[0].role_name is None
    file.write_text('accounts = {source = "organisation", override = [{id = "111111111111", role_name = "own"}]}')
    assert load_config(file, role).accounts.override[0].role_name == "own"


def test_root_sessions_are_part_of_what_is_asked() -> None:
    """A run that was begun without them is not gone on with under them; one of a version without them had none."""
    plain, asking = (
        parse_config(f'[accounts]\nsource = "organisation"\nrole_name = "r"\nroot_sessions = {said}', origin="test")
        for said in ("false", "true")
    )
    stored = effective_toml(plain)
    assert "root_sessions = false" in stored
    assert asks_the_same(stored, plain)
    assert not asks_the_same(stored, asking)
    older = stored.replace("root_sessions = false\n", "")
    assert asks_the_same(older, plain)
    assert not asks_the_same(older, asking)
