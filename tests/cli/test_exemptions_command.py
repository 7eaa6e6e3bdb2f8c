"""`auditor exemptions`, and what becomes of exemptions and frameworks in `auditor audit`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders import ACCOUNT, ago
from tests.conftest import CommandLine, Finished
from tests.report_files import INSTANT, Key, exemption, user_row, write_report

SETTINGS = """
[frameworks]
use = ["cis-aws-3.0", "cis-aws-5.0"]

[exemptions]
file = "excused.toml"
"""

EXCUSED = "\n".join(
    [
        exemption(),
        exemption(id="EX-2", user="late", starts="2026-09-01", expires="2026-11-22"),
        exemption(id="EX-3", user="nobody", expires="2026-12-15"),
        exemption(id="EX-4", user="ahead", starts="2026-12-01", expires="2026-12-31"),
    ]
)

AGES = {"old": 400, "late": 300, "ahead": 200, "edge": 90}
OLD, LATE, AHEAD, EDGE = (user_row(name, Key(ago(age))) for name, age in AGES.items())


def audit(
    cli: CommandLine, *rows: str, settings: str = SETTINGS, excused: str = EXCUSED, extra: tuple[str, ...] = ()
) -> Finished:
    """A run on the report of one account, as of AS_OF."""
    (cli.folder / "config.toml").write_text(settings, "utf-8")
    (cli.folder / "excused.toml").write_text(excused, "utf-8")
    report = write_report(cli.folder / "in" / "report.csv", *rows)
    return cli.run("audit", "--from-reports", report, "--as-of", INSTANT, "-f", "json", "-q", *extra)


def document(folder: Path, name: str) -> Any:
    """A JSON file of the latest run below a folder."""
    run = max((folder / "reports").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return json.loads((run / name).read_text("utf-8"))


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandLine, Finished]:
    """A run with an exemption of each kind of standing."""
    cli = CommandLine(tmp_path_factory.mktemp("exempt"))
    return cli, audit(cli, OLD, LATE, AHEAD, EDGE)


OWN = """
schema = "auditor.framework/1"
id = "house"
title = "House rules"
edition = "1"
source = "The committee"

[[clause]]
id = "1"
title = "No exposed key"
control = "quarantined-key"
support = "direct"
reason = "The test is the rule."
source = "Rule 1"
"""


def test_without_aws_it_is_said_what_is_not_judged(cli: CommandLine) -> None:
    """Users in quarantine stand in no report: the headline says so, and a framework that asks for them is not met."""
    young = user_row("young", Key(ago(5)))
    finished = audit(cli, young, settings="", excused="")
    assert finished.code == 0, finished.err
    assert "2 controls not judged, for AWS was not asked" in words(finished.out)
    assert document(cli.folder, "run.json")["policy"]["switched_off"] == ["quarantined-key", "service-credential-age"]
    (cli.folder / "house.toml").write_text(OWN, "utf-8")
    asked = audit(cli, young, settings='[frameworks]\nuse = ["house"]\nfiles = ["house.toml"]\n', excused="")
    assert asked.code == 3
    assert "AWS was not asked for users in quarantine" in words(asked.out)


# ------------------------------------------------------------------------------------------------- in a run


def test_exempt_violations_are_listed_with_who_approved_them(audited: tuple[CommandLine, Finished]) -> None:
    """Outcome exempt, the exemption in full, and the reason begins with it; one that has expired excuses nothing."""
    cli, finished = audited
    assert finished.code == 1
    found = document(cli.folder, "findings.json")["findings"]
    mine = {(one["user"], one["by_policy"]): one for one in found if one["control"] == "key-age"}
    excused = mine["old", True]
    assert excused["outcome"] == "exempt"
    assert excused["exemption"] == {
        "id": "EX-1",
        "reason": "The supplier's system takes no other key",
        "owner": "payments",
        "approver": "j.doe@example.com",
        "ticket": "SEC-1",
        "starts_at": "2026-11-01T00:00:00Z",
        "expires_at": "2027-01-15T00:00:00Z",
    }
    assert excused["reason"].startswith("Exempt until 2027-01-15 by EX-1 (approved by j.doe@example.com, SEC-1): ")
    for user in ("late", "ahead"):
        assert mine[user, True]["outcome"] == "non_compliant"
        assert mine[user, True]["exemption"] is None


def test_findings_name_the_clauses_that_ask_for_them(audited: tuple[CommandLine, Finished]) -> None:
    """The policy's own limit is that of CIS 5.0, so they share a verdict; that of CIS 3.0 is another."""
    cli, _ = audited
    found = document(cli.folder, "findings.json")["findings"]
    asked = {
        one["by_policy"]: one["frameworks"] for one in found if one["control"] == "key-age" and one["user"] == "old"
    }
    assert asked == {
        True: [{"framework": "cis-aws-5.0", "clause": "1.13"}],
        False: [{"framework": "cis-aws-3.0", "clause": "1.14"}],
    }


def test_a_key_on_the_day_of_the_limit_fails_one_edition_and_passes_the_other(
    audited: tuple[CommandLine, Finished],
) -> None:
    """Exactly 90 days: CIS 3.0 fails it, CIS 5.0 and the policy do not, in one run."""
    cli, _ = audited
    found = document(cli.folder, "findings.json")["findings"]
    (edge,) = [one for one in found if one["user"] == "edge"]
    assert (edge["by_policy"], edge["outcome"]) == (False, "non_compliant")
    assert edge["frameworks"] == [{"framework": "cis-aws-3.0", "clause": "1.14"}]
    frameworks = {one["id"]: one for one in document(cli.folder, "run.json")["frameworks"]}
    counts = {
        name: next(clause["verdicts"] for clause in frameworks[name]["clauses"] if clause["control"] == "key-age")
        for name in frameworks
    }
    assert counts["cis-aws-3.0"].get("non_compliant") == 3
    assert counts["cis-aws-5.0"].get("non_compliant") == 2
    assert {counts[name].get("exempt") for name in counts} == {1}


def test_a_run_tells_every_exemption(audited: tuple[CommandLine, Finished]) -> None:
    """run.json has where each stands and how many violations of the policy it matches."""
    cli, _ = audited
    told = {one["id"]: (one["standing"], one["matched"]) for one in document(cli.folder, "run.json")["exemptions"]}
    assert told == {
        "EX-1": ("active", 1),
        "EX-2": ("expired", 1),
        "EX-3": ("expiring soon", 0),
        "EX-4": ("not yet in force", 1),
    }


def test_the_screen_tells_what_somebody_must_do_about_exemptions(audited: tuple[CommandLine, Finished]) -> None:
    """What expired, what soon will, and what matched nothing, by their ids; and how many violations are exempt."""
    _, finished = audited
    said = words(finished.out)
    assert "1 violation exempt" in said
    assert "1 exemption expired and what it excused now fails: EX-2." in said
    assert "1 exemption will expire within 30 days: EX-3." in said
    assert "1 exemption matched nothing: EX-3." in said


def test_what_is_exempt_makes_no_exit_code(cli: CommandLine) -> None:
    """All violations exempt: exit 0, and the first sentence does not say that there was nothing to judge."""
    finished = audit(cli, OLD, settings='[exemptions]\nfile = "excused.toml"', excused=exemption())
    assert finished.code == 0, finished.err
    (found,) = document(cli.folder, "findings.json")["findings"]
    assert (found["outcome"], found["exemption"]["id"]) == ("exempt", "EX-1")
    html = cli.run("report", "latest", "-f", "html", "-q")
    assert html.code == 0, html.err
    (page,) = (cli.folder / "reports").rglob("*.html")
    text = page.read_text("utf-8")
    assert "Every violation is exempt." in text
    assert "There was no active access key" not in text


def test_an_exemption_that_expired_fails_the_run(cli: CommandLine) -> None:
    """The same key, the day on which the exemption ends: exit 1."""
    excused = exemption(starts="2026-10-22", expires="2026-11-22")
    finished = audit(cli, OLD, settings='[exemptions]\nfile = "excused.toml"', excused=excused)
    assert finished.code == 1, finished.err
    assert "1 exemption expired and what it excused now fails: EX-1." in words(finished.out)


def test_a_framework_alone_makes_the_exit_code_1(cli: CommandLine) -> None:
    """The policy passes a key that a standard fails: the run is not compliant, and says by what."""
    finished = audit(cli, EDGE, excused="")
    assert finished.code == 1, finished.err
    assert "1 of 2 frameworks not met" in words(finished.out)
    passed = audit(cli, EDGE, settings="", excused="", extra=("--framework", "cis-aws-5.0"))
    assert passed.code == 0, passed.err


def test_a_mistake_stops_the_audit(cli: CommandLine) -> None:
    """Exit 2 with the file's name and the place there; no run is left behind."""
    finished = audit(cli, OLD, excused=exemption(approver="Payments"))
    assert finished.code == 2
    assert "excused.toml: exemption[0].approver: is the owner" in words(finished.err)
    (cli.folder / "excused.toml").unlink()
    finished = cli.run("audit", "--from-reports", "in", "-q")
    assert finished.code == 2
    assert "excused.toml: the file cannot be read: No such file" in words(finished.err)
    assert not (cli.folder / "reports").exists()


SWITCHED_OFF = """
[policy]
console-mfa.enabled = false
quarantined-key.enabled = false
service-credential-age.enabled = false

[frameworks]
use = ["all"]
"""

DEFINITION = """
[[frameworks.definition]]
schema = "auditor.framework/1"
id = "{0}"
title = "House"
edition = "1"
source = "Office"

[[frameworks.definition.clause]]
id = "1"
title = "T"
control = "key-age"
max_days = 9
operator = ">"
support = "direct"
reason = "R"
source = "S"
"""


def test_a_run_of_the_same_facts_and_policy_has_the_same_digest(cli: CommandLine) -> None:
    """In whatever process: what has no order in Python has one in the digest, and so have frameworks."""
    settings = SWITCHED_OFF + "".join(DEFINITION.format(name) for name in ("a", "b", "c"))
    names = set()
    for seed in ("1", "2", "3"):
        cli.environment["PYTHONHASHSEED"] = seed
        finished = audit(cli, OLD, settings=settings, excused="", extra=("-o", f"runs-{seed}"))
        assert finished.code == 1, finished.err
        names |= {folder.name for folder in (cli.folder / f"runs-{seed}").iterdir()}
    assert len(names) == 1


# ------------------------------------------------------------------------------------------------- list


def test_the_list_tells_those_of_the_configuration(audited: tuple[CommandLine, Finished]) -> None:
    """Who approved what, until when, and whether it is in force at that instant."""
    cli, _ = audited
    finished = cli.run("exemptions", "list", "--as-of", INSTANT)
    assert finished.code == 0, finished.err
    said = words(finished.out)
    assert f"EX-1 key-age, user old, account {ACCOUNT}: active" in said
    assert "2026-11-01 to 2027-01-15; owner payments, approved by j.doe@example.com, SEC-1" in said
    assert "matched" not in said
    standings = {one["id"]: one["standing"] for one in cli.run("exemptions", "list", "--as-of", INSTANT, "--json").json}
    assert standings == {"EX-1": "active", "EX-2": "expired", "EX-3": "expiring soon", "EX-4": "not yet in force"}
    later = cli.run("exemptions", "list", "--as-of", "2027-01-15", "--json").json
    assert {one["standing"] for one in later} == {"expired"}
    assert {one["matched"] for one in later} == {None}


def test_the_list_of_a_run_tells_what_each_matched(audited: tuple[CommandLine, Finished]) -> None:
    """As the run went by them, at its instant."""
    cli, _ = audited
    finished = cli.run("exemptions", "list", "--run", "latest")
    assert finished.code == 0, finished.err
    assert "In this run: excuses 1 violation." in words(finished.out)
    assert "In this run: matched nothing: remove it, or correct its scope." in words(finished.out)
    matched = {one["id"]: one["matched"] for one in cli.run("exemptions", "list", "--run", "latest", "--json").json}
    assert matched == {"EX-1": 1, "EX-2": 1, "EX-3": 0, "EX-4": 1}


def test_without_exemptions_the_list_says_so(cli: CommandLine) -> None:
    """A sentence for people, an empty list for programs."""
    finished = cli.run("exemptions", "list")
    assert (finished.code, finished.out.strip()) == (0, "There is no exemption.")
    assert cli.run("exemptions", "list", "--json").json == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("list", "--run", "20200101T000000Z-00000000"), "There is no run 20200101T000000Z-00000000."),
        (("list", "--as-of", "soon"), "'soon' is not a time."),
        (("list", "--run", "latest", "--as-of", INSTANT), "--as-of does not go with --run."),
        (("list", "--config", "nowhere.toml"), "nowhere.toml"),
        (("check", "--config", "nowhere.toml"), "nowhere.toml"),
        (("check", "--as-of", "soon"), "'soon' is not a time."),
    ],
)
def test_questions_that_make_no_sense(
    audited: tuple[CommandLine, Finished], options: tuple[str, ...], said: str
) -> None:
    """Exit 2 with what is wrong, and nothing on stdout."""
    cli, _ = audited
    finished = cli.run("exemptions", *options)
    assert (finished.code, finished.out) == (2, "")
    assert said in words(finished.err)
    assert "Traceback" not in finished.err


# ------------------------------------------------------------------------------------------------- check


def test_the_check_tells_what_expired_or_soon_will(audited: tuple[CommandLine, Finished]) -> None:
    """Exit 0: that is no mistake."""
    cli, _ = audited
    finished = cli.run("exemptions", "check", "--as-of", INSTANT)
    assert finished.code == 0, finished.err
    said = words(finished.out)
    assert "4 exemptions are right as they stand, 2 in force." in said
    assert "EX-2: expired (2026-11-22), owner payments" in said
    assert "EX-3: expiring soon (2026-12-15), owner payments" in said
    assert "EX-4: not yet in force (2026-12-01), owner payments" in said
    assert cli.run("exemptions", "check", "--as-of", INSTANT, "--json").json == {
        "not_yet": ["EX-4"],
        "active": ["EX-1"],
        "expiring": ["EX-3"],
        "expired": ["EX-2"],
    }


def test_the_check_names_every_mistake(cli: CommandLine) -> None:
    """Exit 2, for programs too: in the configuration and in the file, each with its place."""
    inline = exemption(user="", account="").replace("[[exemption]]", "[[exemptions.list]]")
    (cli.folder / "config.toml").write_text(f'[exemptions]\nfile = "excused.toml"\n{inline}', "utf-8")
    excused = exemption(id="EX-2", expires="2027-12-31") + exemption(id="EX-3", control="key-old")
    (cli.folder / "excused.toml").write_text(excused, "utf-8")
    for options in ((), ("--json",)):
        finished = cli.run("exemptions", "check", *options)
        assert (finished.code, finished.out) == (2, "")
        said = words(finished.err)
        assert "exemptions.list[0]: says not what it is for" in said
        assert "excused.toml: exemption[0].expires: is 425 days after starts" in said
        assert 'excused.toml: exemption[1].control: found the text "key-old"' in said
