"""What is in a bundle, that it is always the same, and that others than us can check it."""

import base64
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auditor.errors import OutputError, UsageError
from auditor.evidence import dictionary
from auditor.evidence.attestation import sign_by_key
from auditor.evidence.bag import ATTESTATION, MANIFEST, TAG_MANIFEST, bundle_digest, close_bag, decode_manifest
from auditor.evidence.container import pack
from auditor.evidence.description import info, readme, statement_of
from auditor.evidence.export import Exported, Wanted, export
from auditor.evidence.keys import KeyKind, load_private_key, load_public_key, make_key
from auditor.evidence.layout import Link, encode_about
from auditor.evidence.reconciliation import totals
from auditor.evidence.replay import _is_within, _manifest, _record
from auditor.evidence.sampling import draw
from auditor.evidence.verify import Check, Trust, Verification, verify
from auditor.formats.contract import FINDING_FIELDS
from auditor.history import load_manifest, write_tables
from auditor.history.manifest import encode_manifest
from auditor.judging import judge
from auditor.tables import ACCOUNTS, ACTIONS, CREDENTIALS, FINDINGS, KEYS, PENDING, USERS
from tests.conftest import NoProgress

SCRIPT = Path(__file__).parents[2] / "docs" / "verify_evidence.py"
Sign = Callable[[bytes], bytes]


def made(run: Path, folder: Path, **options: object) -> Exported:
    """The run's bundle in this folder."""
    return export(run, Wanted(folder, timedelta(days=400), **options), NoProgress())  # type: ignore[arg-type]


def checks_of(found: Verification) -> dict[str, Check]:
    """By name."""
    return {check.name: check for check in found.checks}


def test_the_same_run_gives_the_same_bytes(run_folder: Path, bundle: Path, sign: Sign, tmp_path: Path) -> None:
    """As a folder and as an archive, with the signature; made again it is the one that is there."""
    again = made(run_folder, tmp_path, sign=sign)
    assert again.is_new
    for path in (path for path in bundle.rglob("*") if path.is_file()):
        assert path.read_bytes() == (again.path / path.relative_to(bundle)).read_bytes(), path.name
    packed = [made(run_folder, tmp_path / name, sign=sign, is_packed=True) for name in ("a", "b")]
    assert packed[0].path.read_bytes() == packed[1].path.read_bytes()
    assert not made(run_folder, tmp_path, sign=sign).is_new
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", again.path.name, "b"]


def test_a_bundle_of_other_content_is_not_written_over(run_folder: Path, sign: Sign, tmp_path: Path) -> None:
    """One of that name that is signed, or was changed, stays as it is."""
    first = made(run_folder, tmp_path)
    with pytest.raises(UsageError, match="another bundle"):
        made(run_folder, tmp_path, sign=sign)
    (first.path / TAG_MANIFEST).write_bytes(b"")
    with pytest.raises(UsageError, match="another bundle"):
        made(run_folder, tmp_path)
    assert (first.path / TAG_MANIFEST).read_bytes() == b""


@pytest.mark.parametrize("is_packed", [False, True])
def test_the_one_that_is_there_is_compared_file_by_file(run_folder: Path, tmp_path: Path, *, is_packed: bool) -> None:
    """A byte of the payload, a stray file: another bundle, although its manifests are the same."""
    bundle = made(run_folder, tmp_path).path
    target = tmp_path / f"{bundle.name}.zip" if is_packed else bundle
    content = (bundle / "data" / "policy.toml").read_bytes()
    changes: list[Callable[[], object]] = [
        lambda: (bundle / "data" / "policy.toml").write_bytes(content + b"\n"),
        lambda: (bundle / "data" / "stray.txt").write_bytes(b"x"),
        (bundle / "README.txt").unlink,
    ]
    readme = (bundle / "README.txt").read_bytes()
    for change in changes:
        change()
        if is_packed:
            target.unlink(missing_ok=True)
            pack(bundle, target)
        with pytest.raises(UsageError, match="another bundle") as refused:
            made(run_folder, tmp_path, is_packed=is_packed)
        assert "--bundles" in refused.value.next_step
        (bundle / "data" / "policy.toml").write_bytes(content)
        (bundle / "data" / "stray.txt").unlink(missing_ok=True)
        (bundle / "README.txt").write_bytes(readme)


@pytest.mark.parametrize("kind", KeyKind)
def test_the_one_that_is_there_is_by_this_signer(run_folder: Path, tmp_path: Path, kind: KeyKind) -> None:
    """A signature by another key, or a wanted time stamp that is not there, is another bundle."""
    signers: list[dict[str, Any]] = []
    for name in ("ours", "theirs"):
        make_key(tmp_path / name, kind)
        key = load_private_key(tmp_path / name, lambda: "")
        signers.append({"sign": partial(sign_by_key, key=key), "signed_by": key.public_key()})
    evidence = tmp_path / "evidence"
    first = made(run_folder, evidence, **signers[0])
    assert not made(run_folder, evidence, **signers[0]).is_new
    others = [{}, {**signers[0], "stamp": lambda _: b"a stamp"}] if kind is KeyKind.ED25519 else []
    for options in (signers[1], *others):
        with pytest.raises(UsageError, match="another bundle"):
            made(run_folder, evidence, **options)
    envelope = json.loads((first.path / ATTESTATION).read_bytes())
    envelope["signatures"][0]["sig"] = base64.b64encode(b"x" * 70).decode()
    broken = json.dumps(envelope, sort_keys=True, indent=1).encode() + b"\n"
    for content in (broken, b"{}"):  # by its name and by what it says, and by neither
        (first.path / ATTESTATION).write_bytes(content)
        with pytest.raises(UsageError, match="another bundle"):
            made(run_folder, evidence, **signers[0])


@pytest.mark.parametrize("is_packed", [True, False])
def test_of_two_exports_at_once_one_finds_the_others(
    run_folder: Path, sign: Sign, tmp_path: Path, *, is_packed: bool
) -> None:
    """Nothing is written over, and no half of it is there; another bundle that came first is said to be one."""
    evidence = tmp_path / "evidence"
    other = made(run_folder, tmp_path / "other", is_packed=is_packed, **({} if is_packed else {"sign": sign})).path

    def meanwhile(payload: bytes) -> bytes:
        (shutil.copytree if other.is_dir() else shutil.copyfile)(other, evidence / other.name)
        return sign(payload)

    if is_packed:  # the other one has no signature
        with pytest.raises(UsageError, match="another bundle"):
            made(run_folder, evidence, is_packed=True, sign=meanwhile)
        assert (evidence / other.name).read_bytes() == other.read_bytes()
    else:
        assert not made(run_folder, evidence, sign=meanwhile).is_new
    assert [path.name for path in evidence.iterdir()] == [other.name]


def test_a_run_that_does_not_add_up_is_no_evidence(run_folder: Path, tmp_path: Path) -> None:
    """It is said what does not, and nothing is left behind."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    manifest = load_manifest(run)
    coverage = replace(manifest.coverage, users=manifest.coverage.users + 1)
    (run / "run.json").write_bytes(encode_manifest(replace(manifest, coverage=coverage)))
    with pytest.raises(OutputError, match=r"raw answers, so it is evidence of nothing: run\.json has other numbers"):
        made(run, tmp_path / "evidence")
    population = json.loads((run_folder / "population.json").read_bytes())
    population["accounts"].pop()
    (run / "run.json").write_bytes((run_folder / "run.json").read_bytes())
    (run / "population.json").write_text(json.dumps(population))
    with pytest.raises(OutputError, match="accounts of the organisation do not add up"):
        made(run, tmp_path / "evidence")
    assert list((tmp_path / "evidence").iterdir()) == []


def test_a_damaged_answer_is_not_signed(run_folder: Path, sign: Sign, tmp_path: Path) -> None:
    """Locked away for years it would be a bundle that never holds."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    (answer,) = run.glob("raw/222222222222/credential-report.csv")
    answer.write_bytes(answer.read_bytes().replace(b",false,", b",true,", 1))
    with pytest.raises(OutputError, match="does not follow from its own raw answers"):
        made(run, tmp_path / "evidence", sign=sign)
    assert list((tmp_path / "evidence").iterdir()) == []


@pytest.mark.parametrize("missing", ["raw", "tables"])
def test_a_run_that_cannot_be_read_is_told_as_such(run_folder: Path, tmp_path: Path, missing: str) -> None:
    """The run's folder is named, not the one where the bundle would be."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    shutil.rmtree(run / missing)
    with pytest.raises(OutputError, match="The run cannot be read") as refused:
        made(run, tmp_path / "evidence")
    assert refused.value.where == str(run)
    assert list((tmp_path / "evidence").iterdir()) == []


def test_a_folder_of_bundles_that_cannot_be_is_told_as_such(run_folder: Path, tmp_path: Path) -> None:
    """With the option that names another."""
    (tmp_path / "evidence").write_bytes(b"a file")
    with pytest.raises(OutputError, match="Cannot write") as refused:
        made(run_folder, tmp_path / "evidence")
    assert (refused.value.where, "--bundles" in refused.value.next_step) == (str(tmp_path / "evidence"), True)


def test_a_file_that_cannot_be_read_is_told_of_the_run(run_folder: Path, tmp_path: Path) -> None:
    """Here a folder stands in its place."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    (run / "journal.jsonl").unlink()
    (run / "journal.jsonl").mkdir()
    with pytest.raises(OutputError, match="The run cannot be read") as refused:
        made(run, tmp_path / "evidence")
    assert refused.value.where == str(run)


def test_stray_files_of_the_run_and_leftovers_of_exports_do_not_matter(run_folder: Path, tmp_path: Path) -> None:
    """What a desktop left in the run is not in the bundle; what killed exports left long ago is removed."""
    run, evidence = tmp_path / "run", tmp_path / "evidence"
    shutil.copytree(run_folder, run)
    for name in ("raw/.DS_Store", "raw/notes.txt", "tables/.DS_Store"):
        (run / name).write_bytes(b"x")
    (run / "raw" / "__MACOSX").mkdir()
    name = f"auditor-evidence-{load_manifest(run).id}"
    old, recent, other = (
        evidence / f".{begun}.partial" for begun in (f"{name}.aaaaaaaa", f"{name}.bbbbbbbb", "auditor-evidence-x.a")
    )
    for folder in (old, recent, other):
        (folder / name / "data").mkdir(parents=True)
    for path in (old, *old.rglob("*"), other, *other.rglob("*")):
        os.utime(path, (0, 0))
    bundle = made(run, evidence).path
    assert not [path for path in bundle.rglob("*") if path.name in {".DS_Store", "notes.txt", "__MACOSX"}]
    assert set(evidence.iterdir()) == {bundle, recent}


def test_everything_is_in_it(bundle: Path, run_folder: Path) -> None:
    """Raw answers as they are, every form of the findings, the journal, and what explains it; nothing private."""
    data = bundle / "data"
    for path in (path for path in run_folder.rglob("*") if path.is_file()):
        assert (data / path.relative_to(run_folder)).read_bytes() == path.read_bytes(), path.name
    names = {path.name for path in data.iterdir()}
    assert names >= {
        *("run.json", "policy.toml", "population.json", "journal.jsonl", "raw", "tables", "bundle.json"),
        *("report.html", "report.pdf", "findings.csv", "findings.json", "due.ics"),
        *("findings.oscal.json", "findings.ocsf.jsonl", "findings.asff.json"),
        *("reconciliation.json", "data-dictionary.csv"),
    }
    assert {path.name for path in bundle.iterdir() if path.is_file()} == {
        *("README.txt", "bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt", ATTESTATION),
    }
    written = b"".join(path.read_bytes() for path in bundle.rglob("*") if path.is_file())
    assert b"PRIVATE KEY" not in written
    assert "Larkfield & Söhne" in (bundle / "README.txt").read_text()
    assert "Retention-Until: 2027-12-27\n" in (bundle / "bag-info.txt").read_text()


def test_every_total_holds(bundle: Path) -> None:
    """Accounts, users, keys, verdicts, findings, journal: each counted in every file that tells of it."""
    found = {total.what: total for total in totals(bundle / "data")}
    assert all(total.holds for total in found.values())
    assert set(found) >= {"accounts of the organisation", "accounts in scope", "users", "access keys", "findings"}
    assert found["accounts that were not audited"].counted["raw answers"] == 1
    assert found["findings"].counted["findings.csv"] > 3
    others = found["findings and accounts that were not audited"].counted
    assert set(others) == {"findings.json", "findings.ocsf.jsonl", "findings.asff.json", "findings.oscal.json"}
    assert others["findings.json"] == found["findings"].counted["findings.json"] + 1
    assert found["rows of the journal"].counted["journal.jsonl"] > 5


def test_every_column_is_explained(bundle: Path) -> None:
    """Each column of each table, each field of a finding, each column that AWS sent."""
    rows = list(csv.DictReader(io.StringIO((bundle / "data" / dictionary.FILE).read_text(), newline="")))
    told = {(row["file"], row["field"]) for row in rows}
    assert len(told) == len(rows)
    assert all(row["source"] and row["meaning"] and row["type"] for row in rows)
    tables = {
        "accounts": ACCOUNTS,
        "users": USERS,
        "keys": KEYS,
        "service_credentials": CREDENTIALS,
        "findings": FINDINGS,
        "actions": ACTIONS,
        "pending": PENDING,
    }
    expected = {(f"tables/{name}.parquet", column) for name, columns in tables.items() for column in columns}
    expected |= {(file, field) for file in ("findings.csv", "findings.json") for field in FINDING_FIELDS}
    report = next((bundle / "data" / "raw").glob("*/credential-report.csv")).read_text().splitlines()[0]
    expected |= {("raw/*/credential-report.csv", column) for column in report.split(",")}
    run = json.loads((bundle / "data" / "run.json").read_text())
    expected |= {("run.json", name) for name in run if name not in {"schema", "summary"}}
    row = json.loads((bundle / "data" / "journal.jsonl").read_text().splitlines()[0])
    expected |= {("journal.jsonl", name) for name in row}
    for name in ("keys", "response", "account", "quarantine", "service-credentials"):
        (path, *_) = (bundle / "data" / "raw").glob(f"*/{name}.json")
        expected |= {(f"raw/*/{name}.json", field) for field in json.loads(path.read_text())}
    assert expected - told == set()
    files = {
        re.sub(r"raw/\d+/", "raw/*/", path) for path in decode_manifest((bundle / MANIFEST).read_bytes(), MANIFEST)
    }
    assert {file.removeprefix("data/") for file in files} - {row["file"] for row in rows} == {dictionary.FILE}


# ------------------------------------------------------------------------------------------------- by others


def test_sha256sum_verifies_it(bundle: Path) -> None:
    """Without any program of ours."""
    for name in ("manifest-sha256.txt", "tagmanifest-sha256.txt"):
        command = ["sha256sum", "--check", "--strict", "--quiet", name]
        done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_library_of_congress_verifies_it(bundle: Path, tmp_path: Path) -> None:
    """bagit.py, the reference implementation: good, and with a byte more."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    command = [sys.executable, "-W", "ignore", "-m", "bagit", "--validate", str(copy)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    (copy / "data" / "policy.toml").write_bytes((copy / "data" / "policy.toml").read_bytes() + b"\n")
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def run_script(bundle: Path, key: Path) -> "subprocess.CompletedProcess[str]":
    """The script of the manual, in an interpreter that sees nothing of ours."""
    command = [sys.executable, "-I", str(SCRIPT), str(bundle), str(key)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", KeyKind)
def test_fifty_lines_of_somebody_else_verify_it(run_folder: Path, tmp_path: Path, kind: KeyKind) -> None:
    """The script of the manual: good, changed, stray, and by another key."""
    for name in ("ours", "theirs"):
        make_key(tmp_path / name, kind)
    private = load_private_key(tmp_path / "ours", lambda: "")
    bundle = made(run_folder, tmp_path / "evidence", sign=lambda payload: sign_by_key(payload, private)).path
    good = run_script(bundle, tmp_path / "ours.pub")
    assert (good.returncode, good.stdout.endswith("there is no other.\n")) == (0, True), good.stderr
    assert run_script(bundle, tmp_path / "theirs.pub").stderr == "NOT VERIFIED: it is not signed by this key\n"
    for other in (tmp_path / "evidence", bundle / "README.txt", made(run_folder, tmp_path / "unsigned").path):
        assert "no folder of a signed bundle" in run_script(other, tmp_path / "ours.pub").stderr
    ssh = tmp_path / "ssh.pub"
    ssh.write_bytes(private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    assert run_script(bundle, ssh).returncode == 0
    assert "name a bundle and a key" in run_script(bundle, tmp_path / "nobodys.pub").stderr
    assert verify(bundle, Trust([load_public_key(tmp_path / "ours.pub")]), NoProgress()).problem is None
    (bundle / "data" / "stray").write_text("x")
    assert "stray" in run_script(bundle, tmp_path / "ours.pub").stderr
    (bundle / "data" / "stray").unlink()
    (bundle / "data" / "run.json").write_bytes((bundle / "data" / "run.json").read_bytes() + b"\n")
    assert "changed" in run_script(bundle, tmp_path / "ours.pub").stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("attestation.intoto.json", b"junk"), ("attestation.intoto.json", b"{}"), ("manifest-sha256.txt", b"\xff junk")],
)
def test_the_script_says_so_of_what_it_cannot_read(
    run_folder: Path, sign: Sign, tmp_path: Path, name: str, content: bytes
) -> None:
    """Without a traceback, which tells an auditor nothing."""
    bundle = made(run_folder, tmp_path / "evidence", sign=sign).path
    make_key(tmp_path / "key", KeyKind.ED25519)
    (bundle / name).write_bytes(content)
    done = run_script(bundle, tmp_path / "key.pub")
    assert (done.returncode, done.stderr.startswith("NOT VERIFIED: ")) == (1, True), done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_is_short_and_needs_nothing_of_ours() -> None:
    """Somebody can read it before trusting it."""
    lines = [line for line in SCRIPT.read_text().splitlines() if line.strip()]
    assert len(lines) <= 50
    assert "import auditor" not in SCRIPT.read_text()


# ------------------------------------------------------------------------------------------------- samples


def with_keys(run: Path, folder: Path, query: str) -> Path:
    """The run, whose keys are what a query makes of its `keys`."""
    target = folder / "changed"
    shutil.copytree(run, target, dirs_exist_ok=True)
    with duckdb.connect() as connection:
        connection.read_parquet(str(run / "tables" / "keys.parquet")).create_view("keys")
        connection.sql(query).write_parquet(str(target / "tables" / "keys.parquet"))
    return target


def test_a_users_name_is_no_command_of_its_own(run_folder: Path, tmp_path: Path) -> None:
    """Whatever he is called, there are as many commands as there are questions."""
    hostile = "-x && rm -rf ~ && y"
    run = with_keys(run_folder, tmp_path, f"""SELECT * REPLACE ('{hostile}' AS "user") FROM keys WHERE NOT is_root""")
    for one in draw(run, 25, "1").drawn:
        assert one.commands[0] == f"aws iam list-access-keys --user-name='{hostile}'"
        assert all(command.startswith("aws iam ") for command in one.commands)


def test_a_sample_names_the_answers_that_are_there(run_folder: Path, tmp_path: Path) -> None:
    """The report, and the look-up that has the key's id; where an account was read by listing, what was listed."""
    run = with_keys(run_folder, tmp_path, "SELECT * FROM keys")
    drawn = draw(run, 25, "1").drawn
    assert {one.evidence.count("keys.json") for one in drawn} == {0, 1}
    for one in drawn:
        files = one.evidence.split(", ")
        assert files[0].endswith("/credential-report.csv")
        told = b"".join((run / file.removeprefix("data/")).read_bytes() for file in files)
        assert one.access_key_id is None or one.access_key_id.encode() in told
    for path in run.glob("raw/*/credential-report.csv"):
        path.rename(path.with_name("listing.json"))
    for one in draw(run, 25, "1").drawn:
        files = one.evidence.split(", ")
        assert files[0].endswith("/listing.json")
        assert all((run / file.removeprefix("data/")).is_file() for file in files)


def test_a_population_larger_than_the_run_says_is_not_read(run_folder: Path, tmp_path: Path) -> None:
    """A table may be small as a file and fill all memory."""
    run = with_keys(run_folder, tmp_path, "SELECT keys.* FROM keys, range(1000)")
    with pytest.raises(ValueError, match="more keys than"):
        draw(run, 1, "1")


# ------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_an_ssh_key_signs(bundle: Path, run_folder: Path, tmp_path: Path, kind: str) -> None:
    """As ssh-keygen writes it; whoever verifies needs the line of the .pub file."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("OpenSSH's client is not here")
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "secret", "-f", str(path)], check=True)
    key = load_private_key(path, lambda: "secret")
    made_ = made(run_folder, tmp_path / "evidence", sign=lambda payload: sign_by_key(payload, key))
    trust = Trust([load_public_key(path.with_suffix(".pub"))], replays=False)
    assert verify(made_.path, trust, NoProgress()).problem is None
    assert verify(bundle, trust, NoProgress()).problem is not None
    with pytest.raises(UsageError, match="not its passphrase"):
        load_private_key(path, lambda: "wrong")


def test_of_a_key_there_are_both_halves_or_none(tmp_path: Path) -> None:
    """Where one of the files is there already, the other is not made."""
    (tmp_path / "key").write_text("mine")
    with pytest.raises(UsageError, match="a key already"):
        make_key(tmp_path / "key", KeyKind.ED25519)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"key": "mine"}
    (tmp_path / "key").rename(tmp_path / "key.pub")
    with pytest.raises(UsageError, match="a key already"):
        make_key(tmp_path / "key", KeyKind.ED25519)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"key.pub": "mine"}
    (tmp_path / "key.pub").unlink()
    (tmp_path / "key.pub").mkdir()
    with pytest.raises(UsageError, match="a key already"):
        make_key(tmp_path / "key", KeyKind.ED25519)
    assert [path.name for path in tmp_path.iterdir()] == ["key.pub"]


@pytest.mark.parametrize("name", [".", "/", "..", "folder", "folder/.."])
def test_a_folder_is_no_keys_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """However it is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="folder"):
        make_key(Path(name), KeyKind.ED25519)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_private_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """And none is ever written over, nor taken for a public one."""
    make_key(tmp_path / "key", KeyKind.ED25519, "sealed")
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="a key already"):
        make_key(tmp_path / "key", KeyKind.ED25519)
    with pytest.raises(UsageError, match="private key"):
        load_public_key(tmp_path / "key")
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(UsageError, match="Others can read"):
        load_private_key(tmp_path / "key", lambda: "sealed")


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff" * 99]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """With what keys there are."""
    (tmp_path / "key").write_bytes(content)
    (tmp_path / "key").chmod(0o600)
    for load in (load_public_key, lambda path: load_private_key(path, lambda: "")):
        with pytest.raises(UsageError) as refused:
            load(tmp_path / "key")
        assert any(words in refused.value.next_step for words in ("Ed25519", "Name the private half"))


# ------------------------------------------------------------------------------------------------- the chain


def later(run: Path, folder: Path, days: int, **changes: str) -> Path:
    """The same answers, judged some days later, when they are still all that the policy wants to know."""
    target = folder / f"run-{days}"
    shutil.copytree(run, target)
    before = load_manifest(target)
    at = before.as_of + timedelta(days=days)
    name = f"{at:%Y%m%dT%H%M%SZ}-{before.id.split('-')[1]}"
    manifest = replace(before, id=name, as_of=at, **changes)  # type: ignore[arg-type]
    judged = judge(target, manifest.policy, at, NoProgress())
    kept = _record(target, manifest, at)
    shutil.rmtree(target / "tables")
    write_tables(target, judged.parts, {"actions": kept.actions, "pending": kept.pending} if kept else {})
    (target / "run.json").write_bytes(encode_manifest(_manifest(target, manifest, judged)))
    return target


def test_the_bundle_before_is_before_and_of_the_same_organisation(
    run_folder: Path, trust: Trust, sign: Sign, tmp_path: Path
) -> None:
    """Neither a later one, nor the run's own, nor somebody else's: at the export, and when it is verified."""
    first = made(run_folder, tmp_path / "evidence", sign=sign)
    run = later(run_folder, tmp_path, 25)
    second = made(run, tmp_path / "evidence", sign=sign)
    for exported, before in ((run_folder, second), (run, second)):
        with pytest.raises(UsageError, match="and so not before this run"):
            made(exported, tmp_path / "x", previous=before.path)
    theirs = later(run_folder, tmp_path / "theirs", 28, organisation="o-somebodyelse")
    with pytest.raises(UsageError, match="of another organisation"):
        made(theirs, tmp_path / "x", previous=second.path)
    assert made(theirs, tmp_path / "evidence").about.previous is None, "it begins a chain of its own"
    for about, words in (
        (replace(first.about, previous=Link(second.about.run_id, second.sha256)), "and so not before it"),
        (replace(second.about, previous=None), "names no bundle before it"),
    ):
        bundle = first if about.run_id == first.about.run_id else second
        (bundle.path / "data" / "bundle.json").write_bytes(encode_about(about))
        manifest = load_manifest(bundle.path / "data")
        close_bag(bundle.path, readme(manifest, about), info(manifest, about))
        (bundle.path / ATTESTATION).write_bytes(sign(statement_of(bundle.path, manifest)))
        previous = second.path if about.previous else first.path
        problem = verify(bundle.path, replace(trust, replays=False, previous=previous), NoProgress()).problem
        assert problem is not None
        assert (problem.name, words in problem.told) == ("chain", True), problem.told


@pytest.mark.parametrize(("names", "is_chained"), [(("Acme  Inc. ", " Acme Inc."), True), (("Acme", ""), True)])
def test_an_organisations_name_is_one_whatever_blanks_it_has(
    run_folder: Path, trust: Trust, tmp_path: Path, names: tuple[str, str], *, is_chained: bool
) -> None:
    """And where one bundle names none, it may be any: a chain is not begun anew without a word."""
    first = made(later(run_folder, tmp_path, 10, organisation=names[0]), tmp_path / "evidence")
    second = made(later(run_folder, tmp_path, 27, organisation=names[1]), tmp_path / "evidence")
    assert (second.about.previous == Link(first.about.run_id, first.sha256)) is is_chained
    quick = replace(trust, keys=(), replays=False, previous=first.path)
    assert verify(second.path, quick, NoProgress()).problem is None


def test_what_is_wrong_with_the_bundle_before_is_told_of_that(run_folder: Path, trust: Trust, tmp_path: Path) -> None:
    """By its path: the one that is verified may be sound."""
    first = made(run_folder, tmp_path / "evidence")
    second = made(later(run_folder, tmp_path, 25), tmp_path / "evidence")
    (first.path / "data" / "findings.csv").write_text("x")
    quick = replace(trust, keys=(), replays=False, previous=first.path)
    problem = verify(second.path, quick, NoProgress()).problem
    assert problem is not None
    assert problem.told.startswith(f"what was given as the bundle before ({first.path}) is no sound one: ")


def test_a_run_of_another_version_is_not_called_damaged(run_folder: Path, tmp_path: Path) -> None:
    """It may have been written otherwise; the version that can export it is named."""
    run = tmp_path / "run"
    shutil.copytree(run_folder, run)
    manifest = load_manifest(run)
    coverage = replace(manifest.coverage, users=manifest.coverage.users + 1)
    other = replace(manifest, coverage=coverage, tool_version="0.0.9")
    (run / "run.json").write_bytes(encode_manifest(other))
    with pytest.raises(OutputError) as refused:
        made(run, tmp_path / "evidence")
    assert "It was made by auditor 0.0.9" in refused.value.next_step


def test_each_bundle_names_the_one_before(run_folder: Path, trust: Trust, sign: Sign, tmp_path: Path) -> None:
    """The latest of an earlier run beside it; a month that was taken away or rewritten shows."""
    evidence, quick = tmp_path / "evidence", replace(trust, replays=False)
    first = made(run_folder, evidence, sign=sign)
    second = made(later(run_folder, tmp_path, 25), evidence, sign=sign)
    third = made(later(run_folder, tmp_path, 28), evidence, sign=sign, is_packed=True)
    named = [one.about.previous.run_id if one.about.previous else None for one in (first, second, third)]
    assert named == [None, first.about.run_id, second.about.run_id]
    for one, before in ((second, first), (third, second)):
        found = verify(one.path, replace(quick, previous=before.path), NoProgress())
        assert found.problem is None
        assert checks_of(found)["chain"].was_made
    skipped = verify(third.path, replace(quick, previous=first.path), NoProgress()).problem
    assert skipped is not None
    assert skipped.name == "chain"
    assert not checks_of(verify(third.path, quick, NoProgress()))["chain"].was_made
    rewritten = tmp_path / "rewritten"
    shutil.copytree(second.path, rewritten)
    os.utime(rewritten)
    assert bundle_digest(rewritten) == second.sha256
    again = made(later(run_folder, tmp_path / "other", 25), tmp_path / "elsewhere", sign=sign)
    assert verify(third.path, replace(quick, previous=again.path), NoProgress()).problem is not None
    with pytest.raises(UsageError, match="no bundle"):
        made(run_folder, tmp_path / "x", previous=tmp_path / "nowhere")


def test_the_bundle_before_is_never_guessed(run_folder: Path, sign: Sign, tmp_path: Path) -> None:
    """Two that differ, or one that is damaged or renamed: whoever exports names it, and nothing is chained past it."""
    evidence = tmp_path / "evidence"
    first = made(run_folder, evidence)
    run = later(run_folder, tmp_path, 25)
    manifest = first.path / "tagmanifest-sha256.txt"
    content = manifest.read_bytes()
    archive = evidence / f"{first.path.name}.zip"
    pack(first.path, archive)
    (evidence / f"{archive.name}.sha256").write_text("a note beside it")

    def refused(path: Path, words: str) -> None:
        with pytest.raises(UsageError, match=words) as told:
            made(run, evidence, sign=sign)
        assert told.value.where == str(path)
        assert "--previous" in told.value.next_step

    other = export(run_folder, Wanted(tmp_path / "other", timedelta(days=500)), NoProgress()).path
    whole = archive.read_bytes()
    archive.unlink()
    pack(other, archive)
    refused(first.path, "differ")
    archive.write_bytes(whole)
    manifest.write_bytes(content + b"\n")
    refused(first.path, "cannot be read: line 5 of tagmanifest-sha256.txt")
    manifest.write_bytes(content)
    readme_of = first.path / "README.txt"
    said = readme_of.read_bytes()
    readme_of.write_bytes(said + b"x")
    refused(first.path, "cannot be read: README.txt")
    readme_of.write_bytes(said)
    manifest.unlink()
    refused(first.path, "cannot be read: tagmanifest-sha256.txt is missing")
    manifest.write_bytes(content)
    archive.write_bytes(whole[:-9])
    refused(archive, "an archive that is cut off")
    archive.write_bytes(whole.replace(b'"schema": "auditor.bundle/1"', b'"schema": "auditor.bundle/2"'))
    refused(archive, "no archive")
    archive.unlink()
    renamed = first.path.rename(evidence / "auditor-evidence-2000-january")
    refused(renamed, "its name does not say")
    assert made(run, evidence, previous=renamed).about.previous == Link(first.about.run_id, first.sha256)


def test_of_the_bundles_before_only_the_latest_is_read(run_folder: Path, tmp_path: Path) -> None:
    """And of that a few small files: the rest of an archive may be anything."""
    evidence = tmp_path / "evidence"
    first = made(run_folder, evidence, is_packed=True)
    content = first.path.read_bytes()
    at = content.rindex(b"Larkfield")
    first.path.write_bytes(content[:at] + b"Markfield" + content[at + 9 :])
    (evidence / "auditor-evidence-20200101T000000Z-00000000.zip").write_bytes(b"damaged, and long before")
    second = made(later(run_folder, tmp_path, 25), evidence)
    assert second.about.previous == Link(first.about.run_id, first.sha256)


def test_what_was_not_checked_is_said(bundle: Path, run_folder: Path, trust: Trust, tmp_path: Path) -> None:
    """No key, no replay, no signature: it holds, as far as it was looked at, and that is told."""
    found = checks_of(verify(bundle, Trust(replays=False), NoProgress()))
    assert [name for name, check in found.items() if not check.was_made] == ["signature", "chain", "answers", "replay"]
    unsigned = made(run_folder, tmp_path).path
    problem = verify(unsigned, trust, NoProgress()).problem
    assert problem is not None
    assert problem.told == "it is not signed"


def test_a_newer_version_may_say_more_and_nothing_else() -> None:
    """findings.json of an older version is compared field by field."""
    old = b'{"findings": [{"user": "a", "outcome": "unknown"}]}'
    assert _is_within(old, b'{"findings": [{"user": "a", "outcome": "unknown", "more": 1}], "new": []}')
    assert not _is_within(old, b'{"findings": [{"user": "a", "outcome": "compliant"}]}')
    assert not _is_within(old, b'{"findings": []}')
    assert not _is_within(b"[" * 100_000, old)
    assert decode_manifest(b"", "x") == {}
