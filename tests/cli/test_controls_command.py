"""`auditor controls`: what is judged, why a key got its limit, and what other numbers would change."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import ACCOUNT, ago
from tests.conftest import CommandLine
from tests.report_files import INSTANT, Key, user_row, write_report

SETTINGS = """
[[policy.limit]]
id = "builds"
control = "key-age"
max_days = 200
paths = ["/ci/"]
reason = "The build server rotates twice a year"

[[policy.limit]]
id = "nightly"
control = "key-age"
max_days = 300
users = ["nightly"]
"""

ROWS = (
    user_row("nightly", Key(ago(250)), path="/ci/"),
    user_row("release", Key(ago(250)), path="/ci/"),
    user_row("middle", Key(ago(70))),
    user_row("edge", Key(ago(90))),
    user_row("retired", Key(ago(400), None, active=False)),
)


def words(text: str) -> str:
    return " ".join(text.split())


def contents(folder: Path) -> Mapping[str, str]:
    """Every file below a folder, with the digest of its bytes."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A folder with a configuration that has rules, and a run under it."""
    cli = CommandLine(tmp_path_factory.mktemp("controls"))
    (cli.folder / "config.toml").write_text(SETTINGS, "utf-8")
    report = write_report(cli.folder / "in" / "report.csv", *ROWS)
    finished = cli.run("audit", "--from-reports", report, "--as-of", INSTANT, "-f", "json", "-q")
    assert finished.code == 1, finished.err
    return cli


# ------------------------------------------------------------------------------------------------- list and show


def test_the_list_has_every_control_and_framework(audited: CommandLine) -> None:
    """With the policy's numbers, for people and for programs."""
    finished = audited.run("controls", "list", "--framework", "cis-aws-5.0")
    assert finished.code == 0, finished.err
    document = audited.run("controls", "list", "--framework", "cis-aws-5.0", "--json").json
    assert [one["id"] for one in document["frameworks"]] == ["cis-aws-5.0"]
    assert len(document["controls"]) == 11
    assert "cis-aws-5.0" not in document["available"]
    for name in (*(one["id"] for one in document["controls"]), *document["available"], "cis-aws-5.0"):
        assert name in finished.out


def test_a_control_that_is_switched_off_is_told(cli: CommandLine) -> None:
    """The list says so, and its numbers stand."""
    (cli.folder / "config.toml").write_text("[policy.console-mfa]\nenabled = false\n", "utf-8")
    assert "console-mfa (high, switched off)" in words(cli.run("controls", "list").out)
    document = cli.run("controls", "show", "console-mfa", "--json").json
    assert (document["id"], document["switched_off"]) == ("console-mfa", True)


@pytest.mark.parametrize("name", ["key-age", "cis-aws-3.0"])
def test_one_is_shown_in_full(audited: CommandLine, name: str) -> None:
    """A control or a framework by its id."""
    finished = audited.run("controls", "show", name)
    assert finished.code == 0, finished.err
    document = audited.run("controls", "show", name, "--json").json
    assert document["id"] == name
    assert words(document["title"]) in words(finished.out)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("show", "key-old"), "There is no control and no framework key-old."),
        (("show",), "Wanted one of a control's or framework's id, --key and --user."),
        (("show", "key-age", "--user", "x"), "Wanted one of"),
        (("show", "--user", "middle"), "A user name means somebody else in every account."),
        (("show", "--user", "nobody", "--account", ACCOUNT), f"no verdict on the user nobody in {ACCOUNT}"),
        (("show", "--user", "middle", "--account", "999999999999"), "nothing of an account 999999999999"),
        (("show", "--user", "middle", "--account", "../../x"), "nothing of an account ../../x"),
        (("show", "--key", "AKIAIOSFODNN7EXAMPLE"), "The run knows no access key AKIAIOSFODNN7EXAMPLE."),
        (("show", "--key", "' OR 1=1 --"), "The run knows no access key"),
        (("show", "--user", "x", "--account", ACCOUNT, "--run", "none"), "There is no run none."),
        (("list", "--framework", "cis-aws-5"), "did you mean cis-aws-5.0?"),
        (("simulate", "--max-age", "nonsense"), "--max-age: 'nonsense' is not a number of days."),
        (("simulate", "--max-age", "0"), "command line: policy.key-age.max_age_days: found the number 0"),
        (("simulate", "--max-unused", "x"), "--max-unused: 'x' is not a number of days."),
        (("simulate", "--framework", "cis-aws-5"), "did you mean cis-aws-5.0?"),
        (("simulate", "--as-of", "soon"), "'soon' is not a time."),
        (("simulate", "--output", "empty"), "There is no run yet."),
    ],
)
def test_questions_that_make_no_sense(audited: CommandLine, options: tuple[str, ...], said: str) -> None:
    """Exit 2 with what is wrong, and nothing on stdout."""
    finished = audited.run("controls", *options)
    assert finished.code == 2, finished.err + finished.out
    assert finished.out == ""
    assert said in words(finished.err)
    assert "Traceback" not in finished.err


# ------------------------------------------------------------------------------------------------- one user


def considered(cli: CommandLine, user: str) -> list[tuple[str | None, str, str, bool]]:
    """The rules that were considered of a user's key, the most specific first."""
    finished = cli.run("controls", "show", "--user", user, "--account", ACCOUNT, "--json")
    assert finished.code == 0, finished.err
    (age,) = [one for one in finished.json["verdicts"] if one["control"] == "key-age"]
    return [(one["rule"], one["limit"], one["applies"], one["holds"]) for one in age["considered"]]


def test_the_rule_that_wins_is_told(audited: CommandLine) -> None:
    """A user's name before a path before the control's own limit, each with whether it applies."""
    nightly, builds, own = "more than 300 days", "more than 200 days", "more than 90 days"
    assert considered(audited, "nightly") == [
        ("nightly", nightly, "applies", True),
        ("builds", builds, "applies", False),
        (None, own, "applies", False),
    ]
    assert considered(audited, "release") == [
        ("nightly", nightly, "does not apply", False),
        ("builds", builds, "applies", True),
        (None, own, "applies", False),
    ]
    assert considered(audited, "middle") == [
        ("nightly", nightly, "does not apply", False),
        ("builds", builds, "does not apply", False),
        (None, own, "applies", True),
    ]


def test_the_rule_that_wins_is_told_to_people(audited: CommandLine) -> None:
    """An arrow stands before the limit that holds."""
    finished = audited.run("controls", "show", "--user", "release", "--account", ACCOUNT)
    assert finished.code == 0, finished.err
    said = words(finished.out)
    assert said.startswith(f"release in {ACCOUNT}, run ")
    assert "key-age, slot 1: non compliant" in said
    assert '-> more than 200 days: rule "builds", for path /ci/: applies' in said
    assert "-> more than 90 days" not in said.split("extra-keys")[0]


def test_a_user_without_active_keys_is_told(audited: CommandLine) -> None:
    """When an inactive key is to be deleted is a verdict as any: 90 days after the run that first saw it so."""
    finished = audited.run("controls", "show", "--user", "retired", "--account", ACCOUNT)
    assert finished.code == 0, finished.err
    said = words(finished.out)
    assert "inactive-key-retained, slot 1: compliant" in said
    assert "2027-02-20" in said


# ------------------------------------------------------------------------------------------------- simulate


def failing(document: Mapping[str, object], control: str, when: str) -> int:
    """How many violations of a control there are before or after."""
    summary = document[when]
    assert isinstance(summary, dict)
    count = summary["verdicts"].get(control, {}).get("non_compliant", 0)
    assert isinstance(count, int)
    return count


def test_other_numbers_are_tried(audited: CommandLine) -> None:
    """Another limit on age changes those keys that no rule speaks of, and says which."""
    document = audited.run("controls", "simulate", "--max-age", "60d", "--json", "-q").json
    assert (failing(document, "key-age", "before"), failing(document, "key-age", "after")) == (1, 3)
    assert document["steps"] == [{"control": "key-age", "before": "compliant", "after": "non_compliant", "verdicts": 2}]
    assert sorted(one["user"] for one in document["changes"]) == ["edge", "middle"]
    finished = audited.run("controls", "simulate", "--max-age", "60", "-q")
    assert finished.code == 0, finished.err
    assert "key-age 1 0 3 0 +2" in words(finished.out)
    assert "middle slot 1 key-age: compliant -> non compliant" in words(finished.out)


def test_other_frameworks_are_tried(audited: CommandLine) -> None:
    """Clauses with their verdicts; the policy's own stay as they are."""
    options = ("--framework", "cis-aws-3.0", "--framework", "cis-aws-5.0")
    document = audited.run("controls", "simulate", *options, "--json", "-q").json
    assert document["frameworks"]["cis-aws-3.0"]["1.14 key-age"]["non_compliant"] == 3
    assert document["frameworks"]["cis-aws-5.0"]["1.13 key-age"]["non_compliant"] == 2
    assert document["steps"] == []
    assert "No verdict of the policy would change." in words(audited.run("controls", "simulate", *options, "-q").out)


def test_another_instant_is_tried(audited: CommandLine) -> None:
    """What will have broken a limit by then, inactive keys since the run that saw them as well."""
    on = {
        when: audited.run("controls", "simulate", "--as-of", when, "--json", "-q").json
        for when in ("2027-02-20T19:00:00Z", "2027-02-20T19:00:01Z", "2026-09-01")
    }
    retained = [failing(document, "inactive-key-retained", "after") for document in on.values()]
    assert retained == [0, 1, 0]
    assert {failing(document, "inactive-key-retained", "before") for document in on.values()} == {0}
    assert failing(on["2026-09-01"], "key-age", "after") == 0


def test_the_configuration_of_now_is_tried(audited: CommandLine, tmp_path: Path) -> None:
    """All of it, with the command line's numbers laid over it."""
    path = tmp_path / "now.toml"
    path.write_text('[policy]\nkey-age.max_age_days = 80\n[frameworks]\nuse = ["soc2"]\n', "utf-8")
    options = ("--config", str(path), "--with-config", "--json", "-q")
    document = audited.run("controls", "simulate", "latest", *options).json
    assert failing(document, "key-age", "after") == 3
    assert list(document["frameworks"]) == ["soc2"]
    document = audited.run("controls", "simulate", "latest", *options, "--max-age", "60d").json
    assert failing(document, "key-age", "after") == 4
    path.write_text("[policy]\nkey-age.max_age_days = 0\n", "utf-8")
    assert audited.run("controls", "simulate", "latest", *options).code == 2


def test_a_simulation_writes_nothing(audited: CommandLine) -> None:
    """Neither into the run's folder nor beside it, and without AWS."""
    before = contents(audited.folder)
    options = ("--max-age", "30", "--framework", "all", "--as-of", "2027-06-01")
    assert audited.run("controls", "simulate", *options, "-q").code == 0
    assert audited.run("controls", "show", "--user", "middle", "--account", ACCOUNT).code == 0
    assert contents(audited.folder) == before
