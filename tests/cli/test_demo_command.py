"""`auditor demo`: the main job for a newcomer, and the golden run."""

import json
from pathlib import Path

import pytest

from tests.conftest import CommandLine

AS_OF = "2026-11-22T19:00:00Z"
SAMPLE = Path(__file__).parents[2] / "reports" / "sample"
GOLDEN = ("findings.json", "findings.csv", "report.html")

HOSTILE = {
    "AWS_ACCESS_KEY_ID": "AKIAREALREALREALREAL",
    "AWS_SECRET_ACCESS_KEY": "real-secret",
    "AWS_PROFILE": "nobody",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_REGION": "cn-north-1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "PYTHONHASHSEED": "4711",
    "TZ": "Asia/Tokyo",
    "LC_ALL": "C",
}


def requests_in(folder: Path) -> dict[str, list[str]]:
    """The requests of a run, file by file; calls of an account overtake each other, so that their order is open."""
    files = folder.rglob("requests.jsonl")
    return {str(path.relative_to(folder)): sorted(path.read_text().splitlines()) for path in files}


@pytest.mark.parametrize("environment", [{}, HOSTILE], ids=["clean", "hostile"])
def test_the_golden_run(cli: CommandLine, environment: dict[str, str]) -> None:
    """Same seed and instant: the sample's bytes, whatever credentials, proxies, zone and hash seed are around."""
    cli.environment |= environment
    finished = cli.run("demo", "--as-of", AS_OF, "--format", "html,csv", "--json")
    assert finished.code == 0, finished.err
    folder = cli.folder / finished.json["folder"]
    for name in GOLDEN:
        assert (folder / name).read_bytes() == (SAMPLE / name).read_bytes(), f"{name}: `make sample` renews it"
    assert requests_in(folder) == requests_in(SAMPLE), "`make sample` renews them"


def test_the_demo_shows_what_it_promises(cli: CommandLine) -> None:
    """Exit 0, the code that an audit would have given, reports that are there, and every kind of neglect."""
    finished = cli.run("demo")
    assert finished.code == 0, finished.err
    assert "would have exited with 3" in finished.out
    for name in ("report.html", "report.pdf"):
        (line,) = [line for line in finished.out.splitlines() if line.endswith(name)]
        assert (cli.folder / line.split()[-1]).stat().st_size > 10_000
    (folder,) = (cli.folder / "reports").iterdir()
    document = json.loads((folder / "findings.json").read_text())
    codes = {account["code"] for account in document["coverage"]["not_audited"]}
    assert codes == {"role_refused", "not_active"}
    controls = {finding["control"] for finding in document["findings"]}
    assert controls == {
        *("root-access-key", "key-age", "key-unused", "one-active-key", "extra-keys", "quarantined-key"),
        *("service-credential-age", "console-password-unused", "console-mfa"),
        "key-at-user-creation",  # by the benchmarks, which ask for more than the policy
    }
    assert 6 <= document["coverage"]["accounts_in_scope"] <= 10
    assert document["coverage"]["users"] > 200
