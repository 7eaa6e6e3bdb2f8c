"""The settings of what is judged beside the controls' numbers: limits, owners, frameworks, exemptions."""

import re
import time
import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor.config import (
    Config,
    built_in_frameworks,
    effective_toml,
    load_config,
    parse_config,
    policy_from_toml,
)
from auditor.errors import UsageError
from auditor.model import (
    ControlId,
    Exemption,
    Limit,
    LimitRule,
    Operator,
    OwnerRule,
    Scope,
    Severity,
    UserKind,
)

EXAMPLE = Path(__file__).parent.parent / "config.toml"
ACCOUNT, OTHER = "111122223333", "444455556666"
KEY = "AKIAIOSFODNN7EXAMPLE"


def toml(**tables: object) -> str:
    return tomli_w.dumps(tables)


def written(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def refusal(folder: Path, text: str) -> UsageError:
    """What a configuration file is refused with."""
    with pytest.raises(UsageError) as caught:
        load_config(written(folder, text))
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    return caught.value


def problems(text: str) -> list[str]:
    """The lines that a configuration is refused with; none where it is valid."""
    refused: list[UsageError] = []
    try:
        parse_config(text, origin="my.toml")
    except UsageError as error:
        refused.append(error)
    assert all(error.where == "my.toml" and error.what for error in refused)
    return [line for error in refused for line in error.what.splitlines()]


# ------------------------------------------------------------------------------------------------- limits


def limit(**changes: object) -> dict[str, object]:
    rule: dict[str, object] = {"id": "a", "control": "key-age", "max_days": 30, "users": ["ci-*"]}
    return {name: value for name, value in (rule | changes).items() if value is not None}


def test_a_limit_becomes_a_rule() -> None:
    """Every selector arrives, and the operator is ">" unless another is given."""
    everybody = limit(
        id="b",
        operator=">=",
        users=["a", "b?"],
        tags=["k", "k=v"],
        paths=["/ci/", "/"],
        accounts=[ACCOUNT],
        ous=["/Workloads", "ou-ab12-cd34ef56"],
        kind="human",
        reason="because",
    )
    policy = parse_config(toml(policy={"limit": [limit(), everybody]}), origin="t").to_policy()
    scope = Scope(
        (), ("a", "b?"), ("k", "k=v"), ("/ci/", "/"), (ACCOUNT,), ("/Workloads", "ou-ab12-cd34ef56"), UserKind.HUMAN
    )
    month = timedelta(days=30)
    assert policy.limits == (
        LimitRule("a", ControlId.KEY_AGE, Limit(month, Operator.MORE_THAN), Scope(users=("ci-*",)), ""),
        LimitRule("b", ControlId.KEY_AGE, Limit(month, Operator.AT_LEAST), scope, "because"),
    )


LIMITED = (
    "key-age",
    "key-unused",
    "inactive-key-retained",
    "service-credential-age",
    "console-password-unused",
)


@pytest.mark.parametrize("control", ControlId)
def test_only_durations_have_other_limits(control: ControlId) -> None:
    """A rule for a control that compares no duration is refused with those that do."""
    found = problems(toml(policy={"limit": [limit(control=control.value)]}))
    if control in LIMITED:
        assert found == []
    else:
        (line,) = found
        assert line.startswith(f"policy.limit[0].control: {control} compares no duration; wanted one of key-age, ")


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (limit(id=None), "policy.limit[0].id: is missing"),
        (limit(id="-a"), 'policy.limit[0].id: "-a" is not an id'),
        (limit(id="a b"), 'policy.limit[0].id: "a b" is not an id'),
        (limit(control=None), "policy.limit[0].control: is missing"),
        (limit(control="key-old"), 'policy.limit[0].control: found the text "key-old"; wanted "key-age", '),
        (limit(control=["key-age"]), "policy.limit[0].control: found a list; wanted "),
        (limit(control={"a": 1}), "policy.limit[0].control: found a table; wanted "),
        (limit(max_days=None), "policy.limit[0].max_days: is missing"),
        (limit(max_days=0), "policy.limit[0].max_days: found the number 0; wanted 1 or more"),
        (limit(max_days=3651), "policy.limit[0].max_days: found the number 3651; wanted 3650 or less"),
        (limit(max_days="30"), 'policy.limit[0].max_days: found the text "30"; wanted a whole number'),
        (limit(operator="<"), 'policy.limit[0].operator: found the text "<"; wanted ">" or ">="'),
        (limit(users=None), "policy.limit[0]: is for every key; set the limit of [policy.key-age] instead"),
        (limit(users=[], tags=[], kind=""), "policy.limit[0]: is for every key"),
        (limit(users="ci-*"), 'policy.limit[0].users: found the text "ci-*"; wanted a list'),
        (limit(users=["a b"]), 'policy.limit[0].users[0]: "a b" is not a user name or a pattern'),
        (limit(paths=["ci"]), 'policy.limit[0].paths[0]: "ci" is not an IAM path: such as /ci/'),
        (limit(paths=["/ci"]), 'policy.limit[0].paths[0]: "/ci" is not an IAM path'),
        (limit(accounts=["12"]), 'policy.limit[0].accounts[0]: "12" is not an account id'),
        (limit(ous=["Workloads"]), 'policy.limit[0].ous[0]: "Workloads" is not an organisational unit'),
        (limit(kind="robot"), 'policy.limit[0].kind: found the text "robot"; wanted "human" or "machine"'),
        (limit(user=["x"]), "policy.limit[0].user: unknown key; did you mean users?"),
    ],
)
def test_a_mistake_in_a_limit_is_told(rule: Mapping[str, object], expected: str) -> None:
    """One line, which begins with the key, its place and what is wrong."""
    (line,) = problems(toml(policy={"limit": [rule]}))
    assert line.startswith(expected)


def test_limits_that_contradict_each_other_are_told() -> None:
    """Two with one id, and two for the same keys: neither can be the more specific."""
    rules = [limit(users=["a", "b"]), limit(max_days=60, users=["b", "a"]), limit(id="c", control="key-unused")]
    assert problems(toml(policy={"limit": rules})) == [
        'policy.limit[1].id: "a" is given twice, first in policy.limit[0]',
        "policy.limit[1]: is for the same keys and the same control as policy.limit[0]",
    ]


# ------------------------------------------------------------------------------------------------- owners


def test_owners_come_by_rules() -> None:
    """A rule has the selectors of a limit, and an owner."""
    rule = {"owner": "payments", "paths": ["/payments/"], "kind": "machine"}
    policy = parse_config(toml(owners={"rule": [rule]}), origin="t").to_policy()
    assert policy.owner_rules == (OwnerRule("payments", Scope(paths=("/payments/",), kind=UserKind.MACHINE)),)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"users": ["x"]}, "owners.rule[0].owner: is missing"),
        ({"owner": "", "users": ["x"]}, 'owners.rule[0].owner: "" is not a line of text'),
        ({"owner": "a\nb", "users": ["x"]}, 'owners.rule[0].owner: "a\\nb" is not a line of text'),
        ({"owner": "x", "user": ["x"]}, "owners.rule[0].user: unknown key; did you mean users?"),
    ],
)
def test_a_mistake_in_an_owners_rule_is_told(rule: Mapping[str, object], expected: str) -> None:
    """One line, which begins with the key, its place and what is wrong."""
    (line,) = problems(toml(owners={"rule": [rule]}))
    assert line.startswith(expected)


# ------------------------------------------------------------------------------------------------- frameworks

CLAUSE: dict[str, object] = {
    "id": "1",
    "title": "T",
    "control": "key-age",
    "max_days": 30,
    "operator": ">",
    "support": "direct",
    "reason": "R",
    "source": "S",
}


def edition(name: str = "house-2026", **changes: object) -> dict[str, object]:
    head = {"schema": "auditor.framework/1", "id": name, "title": "House", "edition": "2026", "source": "Office"}
    return {**head, "clause": [CLAUSE], **changes}


def ids(config: Config) -> list[str]:
    """The frameworks that are judged, in their order."""
    return [framework.id for framework in config.to_policy().frameworks]


def test_frameworks_are_judged_in_the_order_of_their_use(tmp_path: Path) -> None:
    """Shipped ones and those of files, which lie relative to the configuration; only those that are used."""
    written(tmp_path, tomli_w.dumps(edition()), "etc/frameworks/house.toml")
    used = ["soc2", "house-2026", "cis-aws-5.0"]
    text = toml(frameworks={"use": used, "files": ["frameworks/house.toml"]})
    config = load_config(written(tmp_path, text, "etc/config.toml"))
    assert ids(config) == used
    text = toml(frameworks={"use": ["soc2"], "files": ["frameworks/house.toml"]})
    assert ids(load_config(written(tmp_path, text, "etc/config.toml"))) == ["soc2"]


def test_definitions_are_frameworks_too() -> None:
    """An edition in full needs no file, which is how a stored run has those that it went by."""
    text = toml(frameworks={"use": ["house-2026"], "definition": [edition()]})
    assert ids(parse_config(text, origin="t")) == ["house-2026"]
    assert ids(parse_config(toml(frameworks={"definition": [edition()]}), origin="t")) == []


def test_all_are_all_that_there_are(tmp_path: Path) -> None:
    """Those of files and definitions as well, each once, those that are named first."""
    written(tmp_path, tomli_w.dumps(edition("of-a-file")), "house.toml")
    frameworks = {"use": ["soc2", "all"], "files": ["house.toml"], "definition": [edition("defined")]}
    found = ids(load_config(written(tmp_path, toml(frameworks=frameworks))))
    assert found[0] == "soc2"
    assert sorted(found) == sorted([*built_in_frameworks(), "of-a-file", "defined"])
    assert ids(load_config(None, {"frameworks": {"use": ["all"]}})) == list(built_in_frameworks())


def test_a_file_of_ones_own_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    """An edition with a shipped id is judged as the file has it."""
    written(tmp_path, tomli_w.dumps(edition("soc2")), "soc2.toml")
    config = load_config(written(tmp_path, toml(frameworks={"use": ["soc2"], "files": ["soc2.toml"]})))
    assert [framework.title for framework in config.to_policy().frameworks] == ["House"]


@pytest.mark.parametrize(
    ("frameworks", "expected"),
    [
        ({"use": ["cis-aws-5"]}, 'use[0]: no framework is called "cis-aws-5"; did you mean cis-aws-5.0?'),
        (
            {"use": ["hous-2026"], "definition": [edition()]},
            'use[0]: no framework is called "hous-2026"; did you mean house-2026?',
        ),
        ({"use": ["zzzz"]}, 'use[0]: no framework is called "zzzz"; there are cis-aws-1.4, '),
        ({"use": "soc2"}, 'use: found the text "soc2"; wanted a list'),
        ({"use": [5]}, "use[0]: found the number 5; wanted a line of text"),
        ({"use": ["soc2", "soc2"]}, 'use[1]: "soc2" is given twice, first in frameworks.use[0]'),
        ({"definition": [edition(), edition()]}, 'definition[1].id: "house-2026" is given twice'),
        ({"definition": [edition(title="")]}, 'definition[0].title: "" is not a line of text'),
        ({"definition": [edition(clause=[])]}, "definition[0].clause: is an empty list"),
        (
            {"definition": [edition(clause=[{**CLAUSE, "grace_days": 1}])]},
            "definition[0].clause[0].grace_days: has no meaning here",
        ),
        ({"definition": [edition(clause=[CLAUSE, CLAUSE])]}, 'definition[0].clause[1]: "1" is given twice'),
        ({"definition": [edition(clause=[{**CLAUSE, "max_days": 0}])]}, "definition[0].clause[0].max_days: found the"),
        ({"used": ["soc2"]}, "used: unknown key; did you mean use?"),
    ],
)
def test_a_mistake_in_frameworks_is_told(tmp_path: Path, frameworks: Mapping[str, object], expected: str) -> None:
    """One line, which begins with the key, its place and what is wrong; the nearest id where there is none."""
    (line,) = refusal(tmp_path, toml(frameworks=frameworks)).what.splitlines()
    assert line.startswith(f"frameworks.{expected}")


def test_an_id_with_a_slip_finds_the_edition_of_a_file(tmp_path: Path) -> None:
    """Editions of one's own are among those that may have been meant."""
    written(tmp_path, tomli_w.dumps(edition()), "house.toml")
    error = refusal(tmp_path, toml(frameworks={"use": ["hous-2026"], "files": ["house.toml"]}))
    assert error.what == 'frameworks.use[0]: no framework is called "hous-2026"; did you mean house-2026?'
    error = refusal(tmp_path, toml(frameworks={"use": ["zzzz"], "files": ["house.toml"]}))
    assert "there are house-2026, cis-aws-1.4, " in error.what
    error = refusal(tmp_path, toml(frameworks={"use": ["soc2", "zzzz"]}))
    assert error.what.count("soc2") == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"\xff", "line 1 holds the byte 0xff, which is not UTF-8"),
        (b"id =", "not valid TOML: "),
        (tomli_w.dumps(edition(titel="x")).encode(), "titel: unknown key; did you mean title?"),
    ],
)
def test_a_framework_file_that_is_wrong_is_named(tmp_path: Path, content: bytes | None, expected: str) -> None:
    """The file's path, and what is wrong there; even where it is not used, for nobody can tell."""
    path = tmp_path / "house.toml"
    if content is not None:
        path.write_bytes(content)
    for used in (["soc2"], []):
        error = refusal(tmp_path, toml(frameworks={"use": used, "files": ["house.toml"]}))
        assert error.where == str(path)
        assert error.what.startswith(expected)


def test_two_files_of_one_id_are_refused(tmp_path: Path) -> None:
    """Only one of them could be judged, and nobody would know which."""
    written(tmp_path, tomli_w.dumps(edition()), "a.toml")
    written(tmp_path, tomli_w.dumps(edition()), "b.toml")
    error = refusal(tmp_path, toml(frameworks={"use": ["house-2026"], "files": ["a.toml", "b.toml"]}))
    assert error.where == str(tmp_path / "b.toml")
    assert error.what == f'id: "house-2026" is given twice, first in {tmp_path / "a.toml"}'


# ------------------------------------------------------------------------------------------------- exemptions


def exemption(**changes: object) -> dict[str, object]:
    entry: dict[str, object] = {
        "id": "EX-1",
        "control": "key-age",
        "user": "ann",
        "account": ACCOUNT,
        "reason": "Because",
        "owner": "payments",
        "approver": "j.doe@example.com",
        "ticket": "SEC-1",
        "starts": date(2026, 11, 1),
        "expires": date(2026, 12, 1),
    }
    return {name: value for name, value in (entry | changes).items() if value is not None}


def exempting(*entries: object, **settings: object) -> str:
    return toml(exemptions={**settings, "list": list(entries)})


def test_an_exemption_arrives() -> None:
    """Its days begin at 00:00 UTC; a date and the text of one are the same."""
    wanted = Exemption(
        "EX-1",
        ControlId.KEY_AGE,
        Scope(users=("ann",), accounts=(ACCOUNT,)),
        "Because",
        "payments",
        "j.doe@example.com",
        "SEC-1",
        datetime(2026, 11, 1, tzinfo=UTC),
        datetime(2026, 12, 1, tzinfo=UTC),
    )
    for days in ({}, {"starts": "2026-11-01", "expires": "2026-12-01"}):
        assert parse_config(exempting(exemption(**days)), origin="t").to_policy().exemptions == (wanted,)


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ({"key": KEY}, Scope(keys=(KEY,))),
        ({"key": KEY, "account": ACCOUNT}, Scope(keys=(KEY,), accounts=(ACCOUNT,))),
        ({"user": "ann", "account": ACCOUNT}, Scope(users=("ann",), accounts=(ACCOUNT,))),
        ({"tag": "tier=legacy"}, Scope(tags=("tier=legacy",))),
        ({"tag": "tier=legacy", "account": ACCOUNT}, Scope(tags=("tier=legacy",), accounts=(ACCOUNT,))),
        ({"path": "/legacy/"}, Scope(paths=("/legacy/",))),
        ({"path": "/legacy/", "account": ACCOUNT}, Scope(paths=("/legacy/",), accounts=(ACCOUNT,))),
        ({"account": ACCOUNT}, Scope(accounts=(ACCOUNT,))),
        ({"account": ACCOUNT, "user": "", "key": "", "tag": "", "path": ""}, Scope(accounts=(ACCOUNT,))),
    ],
)
def test_a_scope_is_one_of_five(scope: Mapping[str, object], wanted: Scope) -> None:
    """A key, a user of an account, a tag or a path, everywhere or in an account, or an account."""
    entry = {**exemption(user=None, account=None), **scope}
    (found,) = parse_config(exempting(entry), origin="t").to_policy().exemptions
    assert found.scope == wanted


REQUIRED = ("id", "control", "reason", "owner", "approver", "ticket", "starts", "expires")


@pytest.mark.parametrize("name", REQUIRED)
def test_an_exemption_says_everything(name: str) -> None:
    """A field that is missing is told, and so is one that is empty."""
    assert problems(exempting(exemption(**{name: None}))) == [
        f"exemptions.list[0].{name}: is missing and has no default"
    ]
    (line,) = problems(exempting(exemption(**{name: ""})))
    assert line.startswith(f"exemptions.list[0].{name}: ")


NOBODY = {"user": None, "account": None}

EXEMPTION_MISTAKES: list[tuple[Mapping[str, object], str]] = [
    ({"control": "key-old"}, '.control: found the text "key-old"; wanted "key-age", '),
    ({"control": ["key-age"]}, ".control: found a list; wanted "),
    ({"reason": " "}, '.reason: " " is not a line of text'),
    ({"owner": "  "}, '.owner: "  " is not a line of text'),
    ({"reason": "a\nb"}, '.reason: "a\\nb" is not a line of text'),
    ({"user": "ci-*"}, '.user: "ci-*" is not a user name'),
    ({"key": "akia", "user": None}, '.key: "akia" is not an access key id: such as AKIA'),
    ({"path": "legacy", "user": None}, '.path: "legacy" is not an IAM path'),
    ({"account": 111122223333}, ".account: found the number 111122223333; wanted an account id"),
    ({"starts": "soon"}, '.starts: found the text "soon"; wanted a day such as 2026-11-01'),
    ({"starts": datetime(2026, 11, 1, tzinfo=UTC)}, ".starts: found a date or time; wanted a day such as 2026-11-01"),
    ({"expires": 20261201}, ".expires: found the number 20261201; wanted a day"),
    ({"expires": date(2026, 11, 1)}, ".expires: is not after starts"),
    ({"expires": date(2026, 10, 1)}, ".expires: is not after starts"),
    ({"approver": "payments"}, ".approver: is the owner; nobody approves"),
    ({"approver": "PAYMENTS"}, ".approver: is the owner; nobody approves"),
    ({"approver": " Payments "}, ".approver: is the owner; nobody approves"),
    ({"owner": "STRASSE", "approver": "straße"}, ".approver: is the owner; nobody approves"),
    ({"account": None}, ".account: is missing; a user name means somebody else in every account"),
    (NOBODY, ": says not what it is for; give one of key, user, tag, path, account"),
    ({"tag": "a=b"}, ": is for user and tag at once; give one of them"),
    ({"user": None, "tag": "a=b", "path": "/x/"}, ": is for tag and path at once; give one of them"),
    ({"key": KEY}, ": is for key and user at once; give one of them"),
    ({"user": None, "path": "/"}, ".path: means every user; give a path below it, or the account alone"),
    ({"user": None, "account": None, "path": "/"}, ".path: means every user; give a path below it"),
    ({"users": ["a"]}, ".users: unknown key; did you mean user?"),
    ({**NOBODY, "key": KEY, "control": "console-mfa"}, ".key: never matches: console-mfa does not judge access keys"),
    ({"control": "root-access-key"}, ".user: never matches: root-access-key judges the root user"),
    ({**NOBODY, "tag": "a=b", "control": "root-access-key"}, ".tag: never matches: root-access-key judges"),
]


@pytest.mark.parametrize(("changes", "expected"), EXEMPTION_MISTAKES)
def test_a_mistake_in_an_exemption_is_told(changes: Mapping[str, object], expected: str) -> None:
    """One line, which begins with the key, its place and what is wrong."""
    (line,) = problems(exempting(exemption(**changes)))
    assert line.startswith(f"exemptions.list[0]{expected}")


@pytest.mark.parametrize(("changes", "expected"), EXEMPTION_MISTAKES)
def test_a_mistake_in_a_file_of_exemptions_is_told_there(
    tmp_path: Path, changes: Mapping[str, object], expected: str
) -> None:
    """The same line, with the file's name and the place in the file, whatever stands in the configuration."""
    path = written(tmp_path, toml(exemption=[exemption(**changes)]), "excused.toml")
    own = exemption(id="EX-0", user="zoe")
    error = refusal(tmp_path, exempting(own, file="excused.toml"))
    (line,) = error.what.splitlines()
    assert line.startswith(f"{path}: exemption[0]{expected}")


@pytest.mark.parametrize(
    ("control", "most"),
    [("one-active-key", 365), ("key-unused", 180), ("key-age", 90), ("root-access-key", 30)],
)
def test_an_exemption_lasts_no_longer_than_the_severity_allows(control: str, most: int) -> None:
    """So many days are valid, and one more is not."""
    starts = date(2026, 1, 1)
    longest = exemption(user=None, control=control, starts=starts, expires=starts + timedelta(days=most))
    assert problems(exempting(longest)) == []
    (line,) = problems(exempting(longest | {"expires": starts + timedelta(days=most + 1)}))
    assert line.startswith(f"exemptions.list[0].expires: is {most + 1} days after starts; exemptions.max_days allows ")
    assert f"no more than {most} days" in line


def test_the_longest_time_is_that_of_the_settings_own_severity() -> None:
    """A control's severity is the policy's, and the most days are the settings'; 0 allows none."""
    long = exemption(expires=date(2027, 10, 1))
    assert problems(toml(policy={"key-age": {"severity": "low"}}, exemptions={"list": [long]})) == []
    assert problems(exempting(long, max_days={"high": 3650})) == []
    (line,) = problems(exempting(exemption(), max_days={"high": 0}))
    assert line.endswith("exemptions.max_days allows no exemption for high controls")
    wrong = toml(policy={"key-age": {"severity": ["high"]}}, exemptions={"list": [exemption()]})
    (line,) = problems(wrong)
    assert line.startswith("policy.key-age.severity: found a list; wanted ")


SCOPES: Mapping[str, Mapping[str, object]] = {
    "key": {"key": KEY, "user": None, "account": None},
    "user": {},
    "tag": {"user": None, "account": None, "tag": "tier=legacy"},
    "path": {"user": None, "account": None, "path": "/legacy/"},
    "account": {"user": None},
}


@pytest.mark.parametrize("widest", SCOPES)
@pytest.mark.parametrize("scope", SCOPES)
def test_an_exemption_is_no_wider_than_the_settings_allow(scope: str, widest: str) -> None:
    """Key, user, tag, path, account: each allows those before it."""
    found = problems(exempting(exemption(**SCOPES[scope]), widest=widest))
    order = list(SCOPES)
    if order.index(scope) <= order.index(widest):
        assert found == []
    else:
        assert found == [f'exemptions.list[0].{scope}: is wider than exemptions.widest = "{widest}" allows']


PATH: Mapping[str, object] = {"user": None, "account": None, "path": "/legacy/"}

OVERLAPPING: list[tuple[Mapping[str, object], Mapping[str, object]]] = [
    ({}, {}),
    ({}, {"user": None}),
    (SCOPES["key"], SCOPES["key"]),
    (SCOPES["key"], {"key": KEY, "user": None}),
    (SCOPES["tag"], SCOPES["tag"]),
    (SCOPES["tag"], {"tag": "tier=legacy", "user": None}),
    ({"tag": "tier", "user": None}, {"tag": "tier=legacy", "user": None}),
    (PATH, {**PATH, "path": "/legacy/old/"}),
    (PATH, {**PATH, "path": "/legacy/", "account": ACCOUNT}),
    ({"user": None}, {"user": None, "path": "/legacy/"}),
    ({}, {"starts": date(2026, 11, 30), "expires": date(2026, 12, 30)}),
]


@pytest.mark.parametrize(("one", "other"), OVERLAPPING)
def test_exemptions_that_overlap_are_told(one: Mapping[str, object], other: Mapping[str, object]) -> None:
    """One control, one of them for all that the other is for, at the same time; in whatever order."""
    for first, second in ((one, other), (other, one)):
        found = problems(exempting(exemption(**first), exemption(id="EX-2", **second)))
        assert found == ['exemptions.list[1]: overlaps "EX-1" (exemptions.list[0]): the same control, keys and time']


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"control": "key-unused"}),
        ({}, {"user": "bob"}),
        ({}, {"account": OTHER}),
        ({}, {"starts": date(2026, 12, 1), "expires": date(2026, 12, 30)}),
        ({}, {"starts": date(2026, 10, 1), "expires": date(2026, 11, 1)}),
        (PATH, {**PATH, "path": "/legacy-too/"}),
        (PATH, {**PATH, "path": "/other/"}),
        ({"user": None}, {"user": None, "account": OTHER}),
        (SCOPES["tag"], PATH),
    ],
)
def test_exemptions_beside_each_other_are_valid(one: Mapping[str, object], other: Mapping[str, object]) -> None:
    """Another control, other keys, or another time: one may begin on the day on which the other ends."""
    assert problems(exempting(exemption(**one), exemption(id="EX-2", **other))) == []


def test_thousands_of_exemptions_are_checked_at_once() -> None:
    """They are not compared one by one: 3,000 take a moment, and the two that overlap are found."""
    many = [exemption(id=f"EX-{number}", user=f"u{number}") for number in range(3000)]
    text = exempting(*many, exemption(id="EX-L", user="u1500"))
    began = time.process_time()
    (line,) = problems(text)
    assert time.process_time() - began < 10
    assert line.startswith('exemptions.list[3000]: overlaps "EX-1500" (exemptions.list[1500])')


def test_ids_of_exemptions_are_given_once() -> None:
    """An id is what reports tell, so it means one exemption."""
    (line,) = problems(exempting(exemption(), exemption(user="bob")))
    assert line.startswith('exemptions.list[1].id: "EX-1" is given twice, first in exemptions.list[0]')


def test_exemptions_of_a_file_come_behind_those_of_the_configuration(tmp_path: Path) -> None:
    """The file lies relative to the configuration, and a stored run needs it no more."""
    written(tmp_path, toml(exemption=[exemption(id="EX-2", user="bob")]), "etc/lists/excused.toml")
    text = exempting(exemption(), file="lists/excused.toml")
    config = load_config(written(tmp_path, text, "etc/config.toml"))
    assert [one.id for one in config.to_policy().exemptions] == ["EX-1", "EX-2"]
    assert policy_from_toml(effective_toml(config)) == config.to_policy()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"\xff", "line 1 holds the byte 0xff, which is not UTF-8"),
        (b"[[exemption]", "not valid TOML: "),
        (b"[[exemptions]]\nid = 'a'", "exemptions: a file of exemptions has [[exemption]] tables and nothing else"),
        (b"exemption = 3", "exemption: a file of exemptions has [[exemption]] tables and nothing else"),
    ],
)
def test_a_file_of_exemptions_that_cannot_be_read_stops_everything(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    """The file's path and what is wrong: without it nobody knows what is excused."""
    path = tmp_path / "excused.toml"
    if content is not None:
        path.write_bytes(content)
    error = refusal(tmp_path, exempting(file="excused.toml"))
    assert error.where == str(path)
    assert error.what.startswith(expected)


def test_exemptions_of_a_file_are_pointed_at_as_they_stand_there(tmp_path: Path) -> None:
    """Overlaps and repeated ids, with one of the configuration or with another of the file."""
    path = written(tmp_path, toml(exemption=[exemption(id="EX-2"), exemption(user="bob"), exemption(id="EX-2")]), "e")
    found = refusal(tmp_path, exempting(exemption(), file="e")).what.splitlines()
    overlap = "the same control, keys and time"
    assert sorted(found) == sorted(
        [
            f'{path}: exemption[0]: overlaps "EX-1" (exemptions.list[0]): {overlap}',
            f'{path}: exemption[2]: overlaps "EX-1" (exemptions.list[0]): {overlap}',
            f'{path}: exemption[2]: overlaps "EX-2" (exemption[0]): {overlap}',
            f'{path}: exemption[1].id: "EX-1" is given twice, first in exemptions.list[0]',
            f'{path}: exemption[2].id: "EX-2" is given twice, first in exemption[0]',
        ]
    )


def test_every_mistake_is_told_at_once() -> None:
    """In limits, frameworks, exemptions and owners, each on its line."""
    text = toml(
        policy={"limit": [limit(max_days=0)]},
        frameworks={"use": ["soc3"]},
        exemptions={"widest": "world", "list": [exemption(reason=None), 3]},
        owners={"rule": [{}]},
    )
    assert sorted(line.split(": ")[0] for line in problems(text)) == [
        "exemptions.list[0].reason",
        "exemptions.list[1]",
        "exemptions.widest",
        "frameworks.use[0]",
        "owners.rule[0].owner",
        "policy.limit[0].max_days",
    ]


JUNK: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5000),
        st.sampled_from(["", "key-age", "high", "soc2", "all", ACCOUNT, "/a/", "a", "2026-11-01", "key"]),
        st.dates(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "control", "a"]), inner),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from([*limit(), "kind", "tags"]), JUNK), max_size=2),
    st.lists(st.dictionaries(st.sampled_from([*exemption(), "tag", "path", "key"]), JUNK), max_size=3),
    JUNK,
    JUNK,
)
def test_whatever_stands_there_is_refused_in_sentences(
    limits: list[dict[str, Any]], exemptions: list[dict[str, Any]], severity: object, use: object
) -> None:
    """Values of any kind at any place end in a list of mistakes, never in a traceback."""
    full = [exemption() | entry for entry in exemptions]
    document = {
        "policy": {"limit": [limit() | rule for rule in limits], "key-age": {"severity": severity}},
        "exemptions": {"list": full, "widest": use, "max_days": {"high": severity}},
        "frameworks": {"use": use},
    }
    problems(tomli_w.dumps(without_none(document)))


def without_none(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: without_none(value) for name, value in node.items() if value is not None}
    return [without_none(value) for value in node if value is not None] if isinstance(node, list) else node


# ------------------------------------------------------------------------------------------------- stored runs


@settings(max_examples=25, deadline=None)
@given(
    limits=st.lists(
        st.builds(
            limit,
            control=st.sampled_from(LIMITED),
            max_days=st.integers(1, 3650),
            operator=st.sampled_from([">", ">="]),
            tags=st.lists(st.sampled_from(["k", "k=v", "cost centre=ä"]), max_size=2),
            kind=st.sampled_from(["", "human", "machine"]),
            reason=st.sampled_from(["", "Müller & Söhne \"x\" \\ 'y'"]),
        ),
        max_size=3,
    ),
    scope=st.sampled_from([*SCOPES.values()]),
    used=st.lists(st.sampled_from(built_in_frameworks()), unique=True, max_size=3),
    switch=st.sampled_from(["on", "off"]),
    starts=st.dates(date(2000, 1, 1), date(2100, 1, 1)),
)
def test_a_stored_policy_is_the_policy_again(
    limits: list[dict[str, object]], scope: Mapping[str, object], used: list[str], switch: str, starts: date
) -> None:
    """What a run keeps of its settings gives the policy that it was judged by, with no file beside it."""
    rules = [rule | {"id": f"r{number}", "users": [f"u{number}"]} for number, rule in enumerate(limits)]
    config = load_config(
        None,
        {
            "policy": {"limit": rules, "console-mfa": {"enabled": "on" in switch}},
            "exemptions": {"list": [exemption(**scope, starts=starts, expires=starts + timedelta(days=90))]},
            "owners": {"rule": [{"owner": "x", "paths": ["/x/"]}]},
            "frameworks": {"use": used},
        },
    )
    assert policy_from_toml(effective_toml(config)) == config.to_policy()
    assert effective_toml(parse_config(effective_toml(config), origin="t")) == effective_toml(config)


def test_a_stored_policy_is_tried_with_other_numbers() -> None:
    """Values laid over it count, all else stays; frameworks may be others than the run's."""
    config = load_config(None, {"frameworks": {"use": ["soc2"]}, "exemptions": {"list": [exemption()]}})
    given_: dict[str, dict[str, Any]] = {
        "policy": {"key-age": {"max_age_days": 60}},
        "frameworks": {"use": ["cis-aws-5.0"]},
    }
    other = policy_from_toml(effective_toml(config), given_)
    assert other.key_age.maximum == timedelta(days=60)
    assert [framework.id for framework in other.frameworks] == ["cis-aws-5.0"]
    assert other.exemptions == config.to_policy().exemptions
    assert policy_from_toml(effective_toml(config), {"frameworks": {"use": None}}) == config.to_policy()
    with pytest.raises(UsageError) as caught:
        policy_from_toml(effective_toml(config), {"policy": {"key-age": {"max_age_days": 0}}})
    assert caught.value.where == "command line"


OLD_POLICY = """
[policy]
warning_days = 14
key-age = {max_age_days = 90, operator = ">", severity = "high"}
key-unused = {max_unused_days = 45, operator = ">=", severity = "medium", grace_days = 1}
root-access-key = {inactive_fails = false, severity = "critical"}
one-active-key = {max_active_keys = 1, severity = "low"}
extra-keys = {severity = "high"}

[owners]
tags = ["owner"]
"""
"""What runs kept before there were frameworks, exemptions, and more than five controls."""

NEW = {
    ControlId.KEY_AT_USER_CREATION,
    ControlId.INACTIVE_KEY_RETAINED,
    ControlId.QUARANTINED_KEY,
    ControlId.SERVICE_CREDENTIAL_AGE,
    ControlId.CONSOLE_PASSWORD_UNUSED,
    ControlId.CONSOLE_MFA,
}


def test_a_policy_from_before_still_loads() -> None:
    """What was not judged then is switched off: no verdict of the run is any other than it was."""
    policy = policy_from_toml(OLD_POLICY)
    assert policy.switched_off == NEW
    assert not policy.overlap_passes
    assert policy.rotation_overlap == timedelta()
    assert (policy.limits, policy.exemptions, policy.frameworks, policy.owner_rules) == ((), (), (), ())
    assert policy.owner_tags == ("owner",)
    assert policy.severities[ControlId.KEY_AGE] is Severity.HIGH


def test_a_policy_from_before_can_be_tried_with_frameworks() -> None:
    """Other values are laid over it as over any."""
    policy = policy_from_toml(OLD_POLICY, {"frameworks": {"use": ["cis-aws-3.0"]}})
    assert [framework.id for framework in policy.frameworks] == ["cis-aws-3.0"]
    assert policy.switched_off == NEW


def test_a_stored_policy_must_have_every_value() -> None:
    """Today's default may not have been the run's; what is missing is told with its place."""
    document = tomllib.loads(effective_toml(Config()))
    del document["policy"]["console-mfa"]["enabled"]
    del document["exemptions"]["widest"]
    with pytest.raises(UsageError) as caught:
        policy_from_toml(tomli_w.dumps(document))
    assert sorted(caught.value.what.splitlines()) == [
        "exemptions.widest: is missing; a stored policy has every value",
        "policy.console-mfa.enabled: is missing; a stored policy has every value",
    ]
    with pytest.raises(UsageError):
        policy_from_toml(OLD_POLICY.replace("warning_days = 14\n", ""))


# ------------------------------------------------------------------------------------------------- the example


@pytest.mark.parametrize("table", ["policy.limit", "exemptions.list", "owners.rule"])
def test_commented_tables_of_the_example_are_valid(table: str) -> None:
    """Taking the comment signs away from the example's tables gives settings that are accepted."""
    text = EXAMPLE.read_text("utf-8")
    blocks = re.findall(rf"(?m)^# \[\[{re.escape(table)}\]\]\n(?:# \S.*\n)+", text)
    assert blocks
    bare = "\n".join(re.sub("(?m)^# ", "", block) for block in blocks)
    policy = parse_config(bare, origin="config.toml").to_policy()
    found = {"policy.limit": policy.limits, "exemptions.list": policy.exemptions, "owners.rule": policy.owner_rules}
    assert len(found[table]) == len(blocks)


def test_the_example_names_every_shipped_framework() -> None:
    """Whoever reads it learns what there is."""
    text = EXAMPLE.read_text("utf-8")
    shipped = {path.name.removesuffix(".toml") for path in files("auditor").joinpath("frameworks").iterdir()}
    assert set(built_in_frameworks()) <= shipped
    for name in built_in_frameworks():
        said = name if not name.startswith("cis-aws-") or name == "cis-aws-1.4" else name.removeprefix("cis-aws-")
        assert said in text
