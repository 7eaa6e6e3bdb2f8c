"""The shipped editions of standards, held against the facts; and what a mistake in a framework file gets told."""

import re
import tomllib
import zipfile
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from subprocess import run
from sys import executable

import pytest
import tomli_w
from pydantic import ValidationError

from auditor.config import (
    ClauseConfig,
    FrameworkConfig,
    built_in_framework,
    built_in_frameworks,
    load_framework,
    parse_framework,
)
from auditor.errors import UsageError
from auditor.model import ControlId, Criterion, Limit, Operator, Support

ROOT = Path(__file__).resolve().parent.parent
FILES = {path.stem: path for path in (ROOT / "auditor" / "frameworks").iterdir()}

WITHOUT_NUMBERS = ("nist-800-53-r5", "soc2", "iso-27001-2022", "hipaa")

# ------------------------------------------------------------------------------------------------- what is shipped

CIS_UNUSED = "key-unused >=45 direct", "console-password-unused >=45 direct"
CIS_OLD = {
    "1.4": ["root-access-key direct"],
    "1.10": ["console-mfa direct"],
    "1.11": ["key-at-user-creation any direct"],
    "1.12": [*CIS_UNUSED],
    "1.13": ["one-active-key 1 overlap 0 direct"],
    "1.14": ["key-age >=90 direct"],
}
HOUSE_AGE, HOUSE_UNUSED, HOUSE_PASSWORD = "key-age >90", "key-unused >=45", "console-password-unused >=45"


def supports(*tests: str) -> list[str]:
    return [f"{test} supports" for test in tests]


def fedramp(days: int) -> dict[str, list[str]]:
    """AC-2(3) (d): 90 days in the Moderate baseline of Rev. 5, 35 in the High one; IA-5 f is left open in both."""
    return {
        "AC-2 f": supports(f"key-unused >={days}"),
        "AC-2 j": supports(f"key-unused >={days}"),
        "AC-2(1)": supports(HOUSE_AGE, f"key-unused >={days}", "root-access-key"),
        "AC-2(3)": supports(f"key-unused >={days}", f"console-password-unused >={days}"),
        "AC-6(2)": supports("root-access-key"),
        "AC-6(10)": supports("root-access-key"),
        "IA-2": supports("root-access-key"),
        "IA-2(1)": supports("console-mfa"),
        "IA-2(2)": supports("console-mfa"),
        "IA-5 f": supports(HOUSE_AGE),
    }


FACTS: dict[str, dict[str, list[str]]] = {
    "cis-aws-1.4": CIS_OLD,
    "cis-aws-1.5": CIS_OLD,
    "cis-aws-2.0": CIS_OLD,
    "cis-aws-3.0": CIS_OLD,
    "cis-aws-4.0.1": {
        **CIS_OLD,
        "1.11": ["key-at-user-creation any supports"],
        "1.14": ["key-age >90 direct"],
    },
    "cis-aws-5.0": {
        "1.3": ["root-access-key direct"],
        "1.9": ["console-mfa direct"],
        "1.10": ["key-at-user-creation any supports"],
        "1.11": [*CIS_UNUSED],
        "1.12": ["one-active-key 1 overlap 0 direct"],
        "1.13": ["key-age >90 direct"],
    },
    "cis-aws-6.0": {
        "2.3": ["root-access-key direct"],
        "2.9": ["console-mfa direct"],
        "2.10": ["key-at-user-creation any supports"],
        "2.11": [*CIS_UNUSED],
        "2.12": ["one-active-key 1 overlap 0 direct"],
        "2.13": ["key-age >90 direct"],
    },
    "cis-aws-7.0": {
        "2.4": ["root-access-key inactive direct"],
        "2.10": ["console-mfa direct"],
        "2.11": [*CIS_UNUSED],
        "2.12": ["key-age >90 direct"],
        "2.1.1": ["not_covered"],
    },
    "aws-fsbp": {
        "IAM.3": ["key-age >90 direct"],
        "IAM.4": ["root-access-key inactive direct"],
        "IAM.5": ["console-mfa direct"],
        "IAM.8": ["key-unused >=90 direct", "console-password-unused >=90 direct"],
        "IAM.22": ["key-unused >=45 direct", "console-password-unused >=45 direct"],
    },
    "pci-dss-4.0.1": {
        "7.2.4": supports("key-unused >90"),
        "7.2.5.1": supports("key-unused >90"),
        "8.2.1": supports("root-access-key"),
        "8.2.2": supports("root-access-key"),
        "8.2.6": supports("key-unused >90", "console-password-unused >90"),
        "8.3.9": supports("key-age >90"),
        "8.4.2": supports("console-mfa"),
        "8.6.1": ["not_covered"],
        "8.6.2": ["not_covered"],
        "8.6.3": supports("key-age >90"),
    },
    "nist-800-53-r5": {
        "AC-2 j": supports(HOUSE_UNUSED),
        "AC-2(1)": supports(HOUSE_AGE, HOUSE_UNUSED, "root-access-key"),
        "AC-2(3)": supports(HOUSE_UNUSED, HOUSE_PASSWORD),
        "AC-6(2)": supports("root-access-key"),
        "AC-6(10)": supports("root-access-key"),
        "IA-2": supports("root-access-key"),
        "IA-2(1)": supports("console-mfa"),
        "IA-2(2)": supports("console-mfa"),
        "IA-5 f": supports(HOUSE_AGE),
    },
    "soc2": {
        "CC6.1": supports("root-access-key", HOUSE_AGE, HOUSE_UNUSED),
        "CC6.2": supports(HOUSE_UNUSED, HOUSE_PASSWORD),
        "CC6.3": supports(HOUSE_UNUSED, "root-access-key"),
    },
    "iso-27001-2022": {
        "A.5.15": supports(HOUSE_AGE, HOUSE_UNUSED, "root-access-key"),
        "A.5.16": supports(HOUSE_UNUSED, HOUSE_PASSWORD),
        "A.5.17": supports(HOUSE_AGE),
        "A.5.18": supports(HOUSE_UNUSED),
        "A.8.2": supports("root-access-key"),
        "A.8.5": supports("console-mfa"),
    },
    "hipaa": {
        "164.308(a)(3)(i)": supports("root-access-key", HOUSE_UNUSED),
        "164.308(a)(3)(ii)(B)": supports("root-access-key", HOUSE_UNUSED),
        "164.308(a)(3)(ii)(C)": supports(HOUSE_AGE),
        "164.308(a)(4)(ii)(B)": supports(HOUSE_AGE, HOUSE_UNUSED),
        "164.308(a)(4)(ii)(C)": supports(HOUSE_AGE, HOUSE_UNUSED, "root-access-key"),
        "164.308(a)(5)(ii)(D)": supports(HOUSE_AGE, HOUSE_UNUSED),
        "164.312(a)(1)": supports("root-access-key", HOUSE_UNUSED),
        "164.312(a)(2)(i)": supports("root-access-key", HOUSE_UNUSED),
    },
    "fedramp-moderate": fedramp(90),
    "fedramp-high": fedramp(35),
}
"""Edition → clause → what tests it: the control with its operator, days and settings, and the support."""


def told(clause: ClauseConfig) -> str:
    """A clause in the words of `FACTS`; every setting counts, so that none is wrong unnoticed."""
    parts = [
        clause.control,
        f"{clause.operator}{clause.max_days}" if clause.operator else None,
        f"grace {clause.grace_days}" if clause.grace_days else None,
        f"{clause.max_active_keys} overlap {clause.overlap_days}" if clause.max_active_keys else None,
        "inactive" if clause.inactive_fails else None,
        "any" if clause.any_unused else None,
        clause.support,
    ]
    return " ".join(part for part in parts if part)


@pytest.mark.parametrize("framework_id", built_in_frameworks())
def test_an_edition_asks_what_the_standard_asks(framework_id: str) -> None:
    """Clauses, controls, operators, days and support of each edition are those of the facts, no more and no less."""
    found: dict[str, list[str]] = {}
    for clause in built_in_framework(framework_id).clauses:
        found.setdefault(clause.id, []).append(told(clause))
    assert found == FACTS[framework_id]


def test_every_file_is_an_edition_that_is_offered() -> None:
    """The ids that are offered, the files, and the facts are the same, and each file has its own name as its id."""
    assert set(built_in_frameworks()) == set(FILES) == set(FACTS)
    assert len(set(built_in_frameworks())) == len(built_in_frameworks())
    for framework_id in built_in_frameworks():
        assert built_in_framework(framework_id).id == framework_id


def test_the_cis_benchmarks_come_first_and_by_age() -> None:
    """A person who looks for an edition finds the benchmarks in their order, then the others."""
    editions = [name.removeprefix("cis-aws-") for name in built_in_frameworks() if name.startswith("cis-aws-")]
    assert list(built_in_frameworks()[: len(editions)]) == [f"cis-aws-{edition}" for edition in editions]
    assert editions == sorted(editions, key=lambda edition: [int(number) for number in edition.split(".")])
    for edition in editions:
        assert built_in_framework(f"cis-aws-{edition}").edition.startswith(edition)


@pytest.mark.parametrize("framework_id", built_in_frameworks())
def test_each_clause_says_what_why_and_where(framework_id: str) -> None:
    """Title, reason and source are sentences of some length, and the source names the clause."""
    framework = built_in_framework(framework_id)
    for clause in framework.clauses:
        assert len(clause.title) > 15
        assert len(clause.reason) > 40
        assert clause.reason.endswith(".")
        assert clause.id.removeprefix("A.") in clause.source
    assert {len(text) > 3 for text in (framework.title, framework.source)} == {True}


@pytest.mark.parametrize("framework_id", WITHOUT_NUMBERS)
def test_a_standard_without_numbers_is_never_tested_directly(framework_id: str) -> None:
    """Our number is no clause's own; where one stands, the reason says that the company's policy is the threshold."""
    for clause in built_in_framework(framework_id).clauses:
        assert clause.support is not Support.DIRECT
        if clause.max_days is not None:
            assert "your own policy is the threshold" in clause.reason
            assert f"{clause.max_days} days here are this product's default" in clause.reason


@pytest.mark.parametrize("framework_id", built_in_frameworks())
def test_each_file_begins_with_what_it_is(framework_id: str) -> None:
    """A comment stands at the head of each file, and points to the description of the format."""
    head = FILES[framework_id].read_text(encoding="utf-8").split("\n\n")[0]
    assert {line[:2] for line in head.splitlines()} == {"# "}
    assert "docs/frameworks.md" in head
    assert max(map(len, head.splitlines())) <= 120


def test_the_wheel_has_the_files(tmp_path: Path) -> None:
    """What is installed has every edition, byte by byte."""
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    ended = run([executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    with zipfile.ZipFile(tmp_path / ended.stdout.split()[-1]) as wheel:
        packed = {name: wheel.read(name) for name in wheel.namelist() if name.startswith("auditor/frameworks/")}
    assert packed == {f"auditor/frameworks/{path.name}": path.read_bytes() for path in FILES.values()}


# ------------------------------------------------------------------------------------------------- the description


def table(framework_id: str) -> list[str]:
    """The lines that describe an edition in docs/frameworks.md."""
    framework = built_in_framework(framework_id)
    lines = [f"### {framework.id}", "", f"{framework.title} {framework.edition}", ""]
    lines += ["| Clause | Asks | Test | Support |", "|---|---|---|---|"]
    for clause in framework.clauses:
        test = told(clause).removesuffix(clause.support).strip() or "none"
        lines.append(f"| {clause.id} | {clause.title} | {test} | {clause.support} |")
    return lines


def test_the_description_lists_every_clause() -> None:
    """docs/frameworks.md has the table of each edition as its file has it, in the order that they are offered in."""
    described = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    wanted = "\n\n".join("\n".join(table(framework_id)) for framework_id in built_in_frameworks())
    start = described.index(f"### {built_in_frameworks()[0]}")
    assert described[start:].rstrip() == wanted


def test_the_description_shows_a_file_that_can_be_read() -> None:
    """The example of docs/frameworks.md is accepted as it stands, and each control and key is described."""
    described = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    example = re.search(r"```toml\n(.*?)```", described, re.DOTALL)
    assert example is not None
    assert parse_framework(example[1], "docs/frameworks.md").to_framework().clauses
    for record in (FrameworkConfig, ClauseConfig):
        for field in record.model_fields.values():
            assert f"`{field.alias}`" in described
    for control in ControlId:
        assert f"`{control}`" in described


# ------------------------------------------------------------------------------------------------- for the evaluation


def criterion(settings: str) -> Criterion | None:
    """What the evaluation gets of a clause with these lines."""
    return parse_framework(HEAD + clause_of(settings), "my.toml").to_framework().clauses[0].criterion


HEAD = """
schema = "auditor.framework/1"
id = "house-2026"
title = "House rules"
edition = "2026"
source = "Security office"
"""


def clause_of(settings: str, clause_id: str = "1") -> str:
    """A clause with these lines besides its texts; its support is "direct" unless they say otherwise."""
    support = "" if "support" in settings else 'support = "direct"\n'
    texts = f'[[clause]]\nid = "{clause_id}"\ntitle = "T"\nreason = "R"\nsource = "S"\n'
    return f"{texts}{support}{settings}\n"


LIMIT = 'max_days = 30\noperator = ">"\n'
THIRTY = Limit(timedelta(days=30), Operator.MORE_THAN)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (f'control = "key-age"\n{LIMIT}', Criterion(ControlId.KEY_AGE, THIRTY)),
        (f'control = "key-unused"\n{LIMIT}', Criterion(ControlId.KEY_UNUSED, THIRTY)),
        (
            f'control = "key-unused"\n{LIMIT}grace_days = 7',
            Criterion(ControlId.KEY_UNUSED, THIRTY, grace=timedelta(days=7)),
        ),
        (f'control = "inactive-key-retained"\n{LIMIT}', Criterion(ControlId.INACTIVE_KEY_RETAINED, THIRTY)),
        (f'control = "service-credential-age"\n{LIMIT}', Criterion(ControlId.SERVICE_CREDENTIAL_AGE, THIRTY)),
        (
            'control = "console-password-unused"\nmax_days = 30\noperator = ">="',
            Criterion(ControlId.CONSOLE_PASSWORD_UNUSED, Limit(timedelta(days=30), Operator.AT_LEAST)),
        ),
        ('control = "one-active-key"', Criterion(ControlId.ONE_ACTIVE_KEY)),
        (
            'control = "one-active-key"\nmax_active_keys = 2\noverlap_days = 3',
            Criterion(ControlId.ONE_ACTIVE_KEY, most=2, grace=timedelta(days=3)),
        ),
        ('control = "root-access-key"', Criterion(ControlId.ROOT_ACCESS_KEY)),
        ('control = "root-access-key"\ninactive_fails = true', Criterion(ControlId.ROOT_ACCESS_KEY, strict=True)),
        ('control = "key-at-user-creation"', Criterion(ControlId.KEY_AT_USER_CREATION)),
        (
            'control = "key-at-user-creation"\nany_unused = true',
            Criterion(ControlId.KEY_AT_USER_CREATION, strict=True),
        ),
        ('control = "extra-keys"', Criterion(ControlId.EXTRA_KEYS)),
        ('control = "quarantined-key"', Criterion(ControlId.QUARANTINED_KEY)),
        ('control = "console-mfa"', Criterion(ControlId.CONSOLE_MFA)),
        ('support = "not_covered"', None),
    ],
)
def test_a_clause_becomes_its_criterion(settings: str, expected: Criterion | None) -> None:
    """Each setting arrives where the evaluation looks for it, and what is not given has its default."""
    assert criterion(settings) == expected


def test_an_edition_becomes_a_framework() -> None:
    """The texts arrive as they are written, in their order."""
    framework = parse_framework(
        HEAD + clause_of('control = "console-mfa"') + clause_of('support = "not_covered"', "2"), "my.toml"
    ).to_framework()
    assert (framework.id, framework.title, framework.edition) == ("house-2026", "House rules", "2026")
    assert framework.source == "Security office"
    assert [(c.id, c.title, c.reason, c.source, c.support) for c in framework.clauses] == [
        ("1", "T", "R", "S", Support.DIRECT),
        ("2", "T", "R", "S", Support.NOT_COVERED),
    ]


@pytest.mark.parametrize("framework_id", built_in_frameworks())
def test_an_edition_survives_being_stored(framework_id: str) -> None:
    """Dumped to TOML and read again it is the same, and a run that stores it needs no default of today."""
    framework = built_in_framework(framework_id)
    dumped = framework.model_dump(mode="json", by_alias=True)
    assert parse_framework(tomli_w.dumps(dumped), "policy.toml") == framework
    assert tomllib.loads(tomli_w.dumps(dumped)) == dumped
    for clause in dumped["clause"]:
        assert ("grace_days" in clause) == (clause.get("control") == "key-unused")
        assert ("inactive_fails" in clause) == (clause.get("control") == "root-access-key")


# ------------------------------------------------------------------------------------------------- mistakes


def refused(text: str) -> list[str]:
    """The lines that a framework file is refused with."""
    with pytest.raises(UsageError) as caught:
        parse_framework(text, "my.toml")
    assert caught.value.exit_code == 2
    assert caught.value.where == "my.toml"
    assert "docs/frameworks.md" in caught.value.next_step
    return caught.value.what.splitlines()


AGE = f'control = "key-age"\n{LIMIT}'

MISTAKES = [
    ('schema = "auditor.framework/2"', 'schema: found the text "auditor.framework/2"; wanted "auditor.framework/1"'),
    ('id = "House rules"', 'id: "House rules" is not a framework\'s id: up to 64 small letters'),
    ('id = "-house"', 'id: "-house" is not a framework\'s id'),
    ('title = ""', 'title: "" is not a line of text: 1 to 200 characters'),
    ('title = " House"', 'title: " House" is not a line of text'),
    ("edition = 2026", "edition: found the number 2026; wanted a line of text"),
    ('source = "a\\nb"', 'source: "a\\nb" is not a line of text'),
    ('source = "a\\u2028b"', 'source: "a\\u2028b" is not a line of text'),
    ('source = "a\\u202eb"', 'source: "a\\u202eb" is not a line of text'),
    ('titel = "House"', "titel: unknown key; did you mean title?"),
]


@pytest.mark.parametrize(("line", "expected"), MISTAKES)
def test_a_mistake_at_the_head_is_told(line: str, expected: str) -> None:
    """The key, what stands there, and what is wanted."""
    key = line.split(" = ", maxsplit=1)[0]
    lines = [kept for kept in HEAD.splitlines() if not kept.startswith(f"{key} =")]
    problems = refused("\n".join([*lines, line, clause_of(AGE)]))
    assert len(problems) == 1
    assert problems[0].startswith(expected)


CLAUSE_MISTAKES = [
    (LIMIT, 'clause[0].control: is missing; support = "direct" needs the control that tests the clause'),
    ('control = "key-old"', 'clause[0].control: found the text "key-old"; wanted "key-age", '),
    ('control = ""', 'clause[0].control: found the text ""; wanted "key-age", '),
    ("control = 3", "clause[0].control: found the number 3; wanted"),
    ('control = "key-age"\noperator = ">"', "clause[0].max_days: is missing; key-age needs it"),
    ('control = "key-age"\nmax_days = 9', "clause[0].operator: is missing; key-age needs it"),
    (f"{AGE}operator2 = 1", "clause[0].operator2: unknown key; did you mean operator?"),
    ('control = "key-age"\nmax_days = 0\noperator = ">"', "clause[0].max_days: found the number 0; wanted 1 or more"),
    ('control = "key-age"\nmax_days = 3651\noperator = ">"', "clause[0].max_days: found the number 3651; wanted 3650"),
    ('control = "key-age"\nmax_days = 9.5\noperator = ">"', "clause[0].max_days: found the number 9.5; wanted a whole"),
    ('control = "key-age"\nmax_days = true\noperator = ">"', "clause[0].max_days: found true; wanted a whole number"),
    ('control = "key-age"\nmax_days = "9"\noperator = ">"', 'clause[0].max_days: found the text "9"; wanted a whole'),
    ('control = "key-age"\nmax_days = 9\noperator = "<"', 'clause[0].operator: found the text "<"; wanted ">" or ">="'),
    (f"{AGE}grace_days = 1", "clause[0].grace_days: has no meaning here: key-age takes max_days, operator"),
    (f"{AGE}inactive_fails = true", "clause[0].inactive_fails: has no meaning here: key-age takes max_days"),
    ('control = "console-mfa"\nmax_days = 9', "clause[0].max_days: has no meaning here: console-mfa takes no settings"),
    ('control = "root-access-key"\nany_unused = true', "clause[0].any_unused: has no meaning here: root-access-key"),
    ('control = "root-access-key"\ninactive_fails = 1', "clause[0].inactive_fails: found the number 1; wanted true or"),
    (f'control = "key-unused"\n{LIMIT}grace_days = 31', "clause[0].grace_days: is longer than max_days"),
    (f'control = "key-unused"\n{LIMIT}grace_days = -1', "clause[0].grace_days: found the number -1; wanted 0 or more"),
    ('control = "one-active-key"\nmax_active_keys = 3', "clause[0].max_active_keys: found the number 3; wanted 2 or"),
    ('control = "one-active-key"\noverlap_days = -1', "clause[0].overlap_days: found the number -1; wanted 0 or more"),
    (f'{AGE}support = "not_covered"', 'clause[0].control: is a test, and support = "not_covered" says there is none'),
    ('support = "not_covered"\nmax_days = 9', "clause[0].max_days: has no meaning here: no control is given"),
    (f'{AGE}support = "covers"', 'clause[0].support: found the text "covers"; wanted "direct", "supports" or'),
]


@pytest.mark.parametrize(("settings", "expected"), CLAUSE_MISTAKES)
def test_a_mistake_in_a_clause_is_told(settings: str, expected: str) -> None:
    """The key with the clause's place, what stands there, and what is wanted; nothing that follows from it."""
    problems = refused(HEAD + clause_of(settings))
    assert len(problems) == 1
    assert problems[0].startswith(expected)


@pytest.mark.parametrize(
    ("clause_id", "shown"),
    [("", '""'), ("x" * 41, "x"), ("a\\tb", "a"), ("a\\nb", "a"), ("a\\u0085b", "a"), ("a ", "a")],
)
def test_a_clause_id_is_a_short_line(clause_id: str, shown: str) -> None:
    """1 to 40 characters that can be printed, on one line."""
    problems = refused(HEAD + clause_of(AGE, clause_id))
    assert len(problems) == 1
    assert problems[0].startswith("clause[0].id: ")
    assert shown in problems[0]
    assert "is not a clause's id: 1 to 40 characters" in problems[0]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (AGE, 'clause[1]: "1" is given twice with the control key-age, first in clause[0]'),
        ('support = "not_covered"', 'clause[1]: "1" is tested and not covered at once; see clause[0]'),
    ],
)
def test_a_clause_that_stands_twice_is_told(second: str, expected: str) -> None:
    """A clause may be tested by several controls, by each of them once."""
    assert refused(HEAD + clause_of(AGE) + clause_of(second)) == [expected]
    two = parse_framework(HEAD + clause_of(AGE) + clause_of('control = "console-mfa"'), "my.toml")
    assert [clause.id for clause in two.clauses] == ["1", "1"]


def test_a_clause_that_nothing_covers_stands_once() -> None:
    """Without a control the id alone tells clauses apart."""
    nothing = 'support = "not_covered"'
    wanted = ['clause[1]: "1" is given twice without a control, first in clause[0]']
    assert refused(HEAD + clause_of(nothing) + clause_of(nothing)) == wanted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD, "clause: is missing and has no default"),
        (f"{HEAD}clause = []", "clause: is an empty list; wanted one [[clause]] at least"),
        (f"{HEAD}clause = 3", "clause: found the number 3; wanted a list in square brackets"),
        (f"{HEAD}clause = [3]", "clause[0]: found the number 3; wanted a table"),
        (f"{HEAD}[clause]\nid = '1'", "clause: found a table; wanted a list in square brackets"),
        ("schema =", "not valid TOML: Invalid value (at line 1, column 9, the end)"),
    ],
)
def test_a_file_without_clauses_is_told(text: str, expected: str) -> None:
    """A framework has clauses, as a list of tables."""
    assert refused(text) == [expected]


def test_every_mistake_is_told_at_once() -> None:
    """Wrong values, missing keys and what does not go together, each on its line."""
    text = (
        'schema = "auditor.framework/1"\nid = "A"\n[[clause]]\nid = "1"\ncontrol = "key-age"\nsupport = "not_covered"'
    )
    places = [line.split(": ")[0] for line in refused(text)]
    keys = ("title", "reason", "source", "control", "max_days", "operator")
    assert sorted(places) == sorted(["id", "title", "edition", "source", *(f"clause[0].{key}" for key in keys)])


def test_records_made_in_python_are_held_to_the_same_rules() -> None:
    """A clause that no file could have cannot be made."""
    texts = {"id": "1", "title": "T", "reason": "R", "source": "S"}
    with pytest.raises(ValidationError, match="max_days: is missing"):
        ClauseConfig.model_validate({**texts, "control": "key-age", "operator": ">", "support": "direct"})
    clause = ClauseConfig.model_validate({**texts, "control": "console-mfa", "support": "direct"})
    with pytest.raises(ValidationError, match="given twice"):
        FrameworkConfig(
            schema_id="auditor.framework/1", id="a", title="A", edition="1", source="S", clauses=(clause, clause)
        )


def test_an_unknown_id_is_told_with_those_like_it() -> None:
    """An id with a slip finds its neighbours; one that is like none, all of them; a path is no id."""
    with pytest.raises(UsageError, match=r"cis-aws-4\.0\.1") as caught:
        built_in_framework("cis-aws-4.0")
    assert caught.value.what == 'no framework is called "cis-aws-4.0"'
    for unlike in ("zzzz", "", "../config/records"):
        with pytest.raises(UsageError) as caught:
            built_in_framework(unlike)
        assert all(framework_id in caught.value.next_step for framework_id in built_in_frameworks())


def test_a_file_is_read_from_its_path(tmp_path: Path) -> None:
    """A shipped file that was copied reads as it did; one that is not there, or not text, is told with its path."""
    shipped = files("auditor").joinpath("frameworks", "soc2.toml").read_bytes()
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + shipped)
    assert load_framework(path) == built_in_framework("soc2")
    path.write_bytes(b"id = '\xff'")
    for broken in (path, tmp_path / "absent.toml"):
        with pytest.raises(UsageError) as caught:
            load_framework(broken)
        assert caught.value.where == str(broken)
