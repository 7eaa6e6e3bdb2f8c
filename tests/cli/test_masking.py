"""`--mask-key-ids` and `output.mask_key_ids`: who looks at a report sees which key, not its whole id."""

import json
from pathlib import Path

import pytest

from auditor.demo import AccountSeed, KeySeed, OrganisationSeed, ServiceCredentialSeed, UserSeed
from auditor.model import UsedAt
from tests.builders import ago
from tests.conftest import CommandLine, StartCloud

OLD = "AKIAEXAMPLE222222ANN"
TWIN = "AKIAEXAMPLE333333BOB"
SEED = OrganisationSeed(
    (
        AccountSeed(
            "111111111111",
            "main",
            (
                UserSeed(
                    "ann",
                    (
                        KeySeed(created_at=ago(400), access_key_id=OLD, last_used=UsedAt(ago(1), "s3", None)),
                        KeySeed(created_at=ago(80), access_key_id=TWIN, last_used=UsedAt(ago(1), "s3", None)),
                    ),
                    tags={OLD: f"the one before {TWIN}"},
                    service_credentials=(ServiceCredentialSeed("codecommit.amazonaws.com", ago(200)),),
                ),
            ),
        ),
    )
)
FORMATS = ("--format", "html,pdf,csv,json,ics", "--json")
FOR_PEOPLE = ("report.html", "due.ics")
FOR_PROGRAMS = ("findings.csv", "findings.json")


def whole_ids(path: Path, ids: list[str]) -> list[str]:
    """Ids that stand in a file, whatever breaks its lines."""
    text = path.read_bytes().replace(b"\r\n ", b"").decode()
    return [key_id for key_id in ids if key_id in text]


@pytest.mark.parametrize("by", ["option", "configuration"])
def test_masked_are_the_files_that_people_read(cli: CommandLine, start_cloud: StartCloud, by: str) -> None:
    """By the option or the configuration; the rest is as without it, and a stored run is rendered either way."""
    cli.log_in(start_cloud(SEED))
    if by == "configuration":
        (cli.folder / "config.toml").write_text("[output]\nmask_key_ids = true\n")
    options = ("--mask-key-ids",) if by == "option" else ()
    finished = cli.run("audit", "--as-of", "2026-11-22T19:00:00Z", *FORMATS, *options)
    assert finished.code == 1, finished.err
    folder = Path(cli.folder, finished.json["folder"])
    findings = json.loads((folder / "findings.json").read_text())["findings"]
    ids = sorted({one["access_key_id"] or one["credential_id"] for one in findings} - {None})
    assert OLD in ids
    assert any(key_id.startswith("ACCA") for key_id in ids)
    assert [whole_ids(folder / name, [*ids, TWIN]) for name in FOR_PEOPLE] == [[], []]
    assert "AKIA…2ANN" in (folder / "report.html").read_text()
    assert [whole_ids(folder / name, ids) for name in FOR_PROGRAMS] == [ids, ids]
    masked = {name: (folder / name).read_bytes() for name in (*FOR_PEOPLE, *FOR_PROGRAMS, "report.pdf")}

    (cli.folder / "config.toml").unlink(missing_ok=True)
    cli.run("report", "latest", *FORMATS)
    assert OLD in whole_ids(folder / "report.html", ids)
    assert [name for name in FOR_PROGRAMS if (folder / name).read_bytes() != masked[name]] == []
    cli.run("report", "latest", *FORMATS, "--mask-key-ids")
    assert {name: (folder / name).read_bytes() for name in masked} == masked
