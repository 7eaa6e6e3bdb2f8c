"""`auditor evidence` as a user runs it: keys, bundles, S3 and KMS over HTTP, and what an auditor does with a bundle."""

import csv
import io
import json
import resource
import shutil
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from auditor.aws.evidence_store import place_of, put_bundle
from auditor.demo import Call, EmbeddedOrganisation, ErrorFault, Fault, RawFault
from auditor.errors import OutputError, UsageError
from auditor.evidence.bag import close_bag, decode_info
from tests.cli.test_audit_command import AS_OF, ended, organisation
from tests.conftest import CommandLine, StartCloud, connect
from tests.evidence.authority import serving
from tests.remediation.test_kms_approval import make_key

NAME = "auditor-evidence-"

RETENTION = timedelta(days=36_500)
"""So long that it is not over when the tests are run."""


@pytest.fixture
def cloud(cli: CommandLine, start_cloud: StartCloud, tmp_path_factory: pytest.TempPathFactory) -> EmbeddedOrganisation:
    """A run of three accounts lies in reports/; it is made once, and copied."""
    faults: list[Fault] = []

    def fault(call: Call) -> Fault | None:
        return faults[0] if faults and (call.service == "s3" or call.action == "Sign") else None

    cloud = start_cloud(organisation(), fault=fault)
    cli.log_in(cloud)
    (cli.folder / "config.toml").write_text(
        f'[accounts]\nsource = "organisation"\nrole_name = "{cloud.role_name}"\nexternal_id = "{cloud.external_id}"\n'
        f"[evidence]\nretention_days = {RETENTION.days}\n"
    )
    kept = tmp_path_factory.getbasetemp() / "run-of-three-accounts"
    if kept.exists():
        shutil.copytree(kept, cli.folder / "reports")
    else:
        ended(cli.run("audit", "--as-of", AS_OF, "-q", "-f", "json"), 1)
        shutil.copytree(cli.folder / "reports", kept)
    cloud.faults = faults  # type: ignore[attr-defined]
    return cloud


def s3(cloud: EmbeddedOrganisation) -> Any:
    """A client of the test's own."""
    return session_of(cloud).client("s3", endpoint_url=cloud.endpoint_url)


def session_of(cloud: EmbeddedOrganisation) -> boto3.Session:
    """As the cloud's caller."""
    return boto3.Session(cloud.access_key_id, cloud.secret_access_key, region_name="us-east-1")


def bundle_of(cli: CommandLine) -> Path:
    """The one bundle."""
    (bundle,) = (cli.folder / "evidence").iterdir()
    return bundle


@pytest.mark.usefixtures("cloud")
def test_from_a_key_to_a_verified_bundle(cli: CommandLine) -> None:
    """Key, bundle, verification in plain sentences and for programs; without AWS from the bundle on."""
    made = cli.run("evidence", "keygen", "keys/evidence", "--json")
    ended(made, 0)
    ended(cli.run("evidence", "keygen", "keys/evidence"), 2)
    exported = cli.run("evidence", "export", "latest", "--sign", "keys/evidence", "--json", "-q")
    ended(exported, 0)
    told = exported.json
    assert (told["signed"], told["new"], told["previous"]) == (True, True, None)
    cli.environment = {}
    bundle = str(cli.folder / told["bundle"])
    ended(cli.run("evidence", "verify", bundle, "-q"), 2)
    verified = cli.run("evidence", "verify", bundle, "--key", "keys/evidence.pub", "-q")
    ended(verified, 0)
    said = " ".join(verified.out.split())
    assert made.json["fingerprint"] in said
    assert "judged again, give the same" in said
    assert "Everything that was checked holds. Not checked, as told above: chain." in said
    document = cli.run("evidence", "verify", bundle, "--unsigned", "--no-replay", "--json", "-q").json
    assert (document["holds"], document["sha256"]) == (True, told["sha256"])
    assert {one["check"]: one["holds"] for one in document["checks"]}["signature"] is None
    answers = next(Path(bundle).glob("data/raw/*/credential-report.csv"))
    answers.write_bytes(answers.read_bytes().replace(b"true", b"false", 1))
    broken = cli.run("evidence", "verify", bundle, "--key", "keys/evidence.pub", "-q")
    ended(broken, 9)
    assert "DOES NOT HOLD fixity" in " ".join(broken.out.split())
    problem = cli.run("evidence", "verify", bundle, "--key", "keys/evidence.pub", "--json", "-q").json["problem"]
    assert problem["check"] == "fixity"
    for command in (("replay", bundle), ("sample", bundle, "--seed", "1")):
        refused = cli.run("evidence", *command)
        ended(refused, 9)
        assert "no sound bundle" in refused.err


@pytest.mark.usefixtures("cloud")
def test_another_policy_on_the_same_evidence(cli: CommandLine) -> None:
    """What five days, or another edition, would have said; as text and as JSON."""
    ended(cli.run("evidence", "export", "-q", "--zip"), 0)
    bundle = str(bundle_of(cli))
    (cli.folder / "other.toml").write_text("[policy.key-age]\nmax_age_days = 3\n")
    replayed = cli.run("evidence", "replay", bundle, "--policy", "other.toml", "--json", "-q")
    ended(replayed, 0)
    assert "Who signed this bundle was not checked" in replayed.err
    assert {change["user"] for change in replayed.json["changes"] if change["control"] == "key-age"} == {"good"}
    stricter = cli.run("evidence", "replay", bundle, "--max-age", "500d", "--framework", "cis-aws-7.0", "-q")
    ended(stricter, 0)
    assert "CIS" in stricter.out
    ended(cli.run("evidence", "replay", bundle, "--max-age", "soon", "-q"), 2)


@pytest.mark.usefixtures("cloud")
def test_a_sample_follows_from_the_auditors_number_alone(cli: CommandLine) -> None:
    """The same for the same number, another for another; with how to look at each key in AWS."""
    ended(cli.run("evidence", "export", "-q"), 0)
    bundle = str(bundle_of(cli))
    first, again, *others = (
        cli.run("evidence", "sample", bundle, "--n", "2", "--seed", seed, "--json").json for seed in "7701234"
    )
    assert first == again
    assert any(one["drawn"] != first["drawn"] for one in others)
    assert (first["population"], len(first["drawn"])) == (3, 2)
    assert all(isinstance(command, str) for one in first["drawn"] for command in one["commands"])
    everything = cli.run("evidence", "sample", bundle, "--n", "25", "--seed", "7", "--csv")
    rows = list(csv.DictReader(io.StringIO(everything.out)))
    assert {row["user"] for row in rows} == {"good", "old"}
    (old,) = (row for row in rows if row["user"] == "old")
    assert "key-age: non_compliant" in old["verdicts"]
    assert old["console"].endswith("/users/details/old?section=security_credentials")
    assert old["commands"].startswith("aws iam list-access-keys --user-name=old && aws iam get-access-key-last-used")
    assert (old["checked_by"], old["result"]) == ("", "")
    shown = cli.run("evidence", "sample", bundle, "--n", "1", "--seed", "x")
    ended(shown, 0)
    assert '1 of 3 access keys, drawn with "x"' in shown.out
    assert "Who signed this bundle was not checked" in shown.err
    assert "Who signed" not in shown.out


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "RSA_2048", "RSA_3072"])
def test_a_key_of_kms_signs_and_its_public_half_verifies(
    cli: CommandLine, cloud: EmbeddedOrganisation, spec: str
) -> None:
    """KMS signs over HTTP; whoever verifies has the public key and no AWS."""
    arn = make_key(spec)
    ended(cli.run("evidence", "export", "--sign", f"kms:{arn}", "-q"), 0)
    kms = session_of(cloud).client("kms", endpoint_url=cloud.endpoint_url)
    public = load_der_public_key(kms.get_public_key(KeyId=arn)["PublicKey"])
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (cli.folder / "kms.pem").write_bytes(pem)
    cli.environment = {}
    ended(cli.run("evidence", "verify", str(bundle_of(cli)), "--key", "kms.pem", "--no-replay", "-q"), 0)


def test_a_bundle_is_locked_in_s3_and_read_back(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """In compliance mode until its day, once; another of that name is not written over."""
    store = s3(cloud)
    store.create_bucket(Bucket="evidence", ObjectLockEnabledForBucket=True)
    put = cli.run("evidence", "export", "--to", "s3://evidence/iam/2026", "--json", "-q")
    ended(put, 0)
    key = f"iam/2026/{bundle_of(cli).name}"
    assert put.json["stored"].startswith(f"s3://evidence/{key}?versionId=")
    head = store.head_object(Bucket="evidence", Key=key)
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert head["ObjectLockRetainUntilDate"] == datetime(2026, 11, 23, tzinfo=UTC) + RETENTION
    body = store.get_object(Bucket="evidence", Key=key)["Body"].read()
    assert body == bundle_of(cli).read_bytes()
    (cli.folder / "downloaded.zip").write_bytes(body)
    ended(cli.run("evidence", "verify", "downloaded.zip", "--unsigned", "-q"), 0)
    ended(cli.run("evidence", "export", "--to", "s3://evidence/iam/2026", "-q"), 0)
    assert len(store.list_object_versions(Bucket="evidence")["Versions"]) == 1
    store.put_object(Bucket="evidence", Key=f"other/{bundle_of(cli).name}", Body=b"x", ChecksumAlgorithm="SHA256")
    refused = cli.run("evidence", "export", "--to", "s3://evidence/other", "-q")
    ended(refused, 2)
    assert "another object" in refused.err


def test_a_bucket_without_lock_is_accepted_only_if_somebody_says_so(
    cli: CommandLine, cloud: EmbeddedOrganisation
) -> None:
    """Who owns such a bucket can delete what is in it."""
    s3(cloud).create_bucket(Bucket="plain")
    refused = cli.run("evidence", "export", "--to", "s3://plain/x", "-q")
    ended(refused, 2)
    assert "--without-lock" in refused.err
    assert s3(cloud).list_objects_v2(Bucket="plain")["KeyCount"] == 0
    ended(cli.run("evidence", "export", "--to", "s3://plain/x", "--without-lock", "-q"), 0)
    assert s3(cloud).list_objects_v2(Bucket="plain")["KeyCount"] == 1
    ended(cli.run("evidence", "export", "--to", "s3://Not A Bucket/x", "-q"), 2)
    missing = cli.run("evidence", "export", "--to", "s3://nowhere-at-all/x", "-q")
    ended(missing, 4)
    assert "NoSuchBucket" in missing.err
    assert "Name a bucket that is there" in " ".join(missing.err.split())


def test_what_aws_refuses_is_told(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """The bundle is there all the same, and can be stored later."""
    s3(cloud).create_bucket(Bucket="evidence", ObjectLockEnabledForBucket=True)
    cloud.faults.append(ErrorFault(403, "AccessDenied"))  # type: ignore[attr-defined]
    refused = cli.run("evidence", "export", "--to", "s3://evidence/x", "-q")
    ended(refused, 4)
    assert "AccessDenied" in " ".join(refused.err.split())
    assert "Allow s3:" in " ".join(refused.err.split())
    assert bundle_of(cli).suffix == ".zip"
    unsigned = cli.run("evidence", "export", "--sign", f"kms:{make_key()}", "-q")
    ended(unsigned, 4)
    assert [path.name for path in (cli.folder / "evidence").iterdir()] == [bundle_of(cli).name]


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://bucket/x", "does not begin with s3://"),
        ("s3://Bucket/x", "'B' is not allowed in a bucket"),
        ("s3://b_b_b/x", "'_' is not allowed in a bucket"),
        ("s3://bucket/a b", "' ' is not allowed in a prefix"),
        ("s3://bucket/a?b", "'?' is not allowed in a prefix"),
        ("s3://bucket/ü", "'ü' is not allowed in a prefix"),
        ("s3://", "no bucket is called ''"),
        ("s3://a..b/x", "no bucket is called 'a..b'"),
        ("s3://bucket/../x", "no part of a prefix"),
        ("s3://bucket/x/.", "no part of a prefix"),
        ("s3://bucket//x", "no part of a prefix"),
    ],
)
def test_what_is_no_place_is_told_by_what_is_wrong(to: str, said: str) -> None:
    """The character, or the part."""
    with pytest.raises(UsageError) as refused:
        place_of(to)
    assert said in refused.value.what


def test_places_of_partitions_are_taken() -> None:
    """As tables in S3 have them; with or without a slash at the end."""
    assert place_of("s3://bucket/iam/year=2026/month=11/") == ("bucket", "iam/year=2026/month=11")
    assert place_of("s3://bucket") == place_of("s3://bucket/") == ("bucket", "")


@pytest.fixture
def planned(start_cloud: StartCloud, tmp_path: Path) -> tuple[EmbeddedOrganisation, list[Fault | None], Path]:
    """A cloud with a bucket, what its next calls of S3 are answered with, and a file to store."""
    plan: list[Fault | None] = []
    cloud = start_cloud(organisation(), fault=lambda call: plan.pop(0) if plan and call.service == "s3" else None)
    s3(cloud).create_bucket(Bucket="evidence", ObjectLockEnabledForBucket=True)
    (tmp_path / "bundle.zip").write_bytes(b"a bundle")
    return cloud, plan, tmp_path / "bundle.zip"


Planned = tuple[EmbeddedOrganisation, list[Fault | None], Path]


def test_a_retention_that_is_over_is_refused_before_anything_is_sent(planned: Planned) -> None:
    """S3 would refuse it after the upload."""
    cloud, _, bundle = planned
    with pytest.raises(UsageError, match="is over") as refused:
        put_bundle(connect(cloud), bundle, "s3://evidence/x", datetime.now(UTC).date() - timedelta(days=1))
    assert "retention_days" in refused.value.next_step
    assert s3(cloud).list_objects_v2(Bucket="evidence")["KeyCount"] == 0


def test_a_conflict_in_s3_is_tried_once_more(planned: Planned) -> None:
    """Then it is said that somebody else is at work there."""
    cloud, plan, bundle = planned
    conflict = ErrorFault(409, "ConditionalRequestConflict")
    plan += [conflict, conflict]
    with pytest.raises(OutputError, match="Somebody else") as refused:
        put_bundle(connect(cloud), bundle, "s3://evidence/x", None)
    assert "again" in refused.value.next_step
    assert not plan
    plan.append(conflict)
    assert put_bundle(connect(cloud), bundle, "s3://evidence/x", None).startswith("s3://evidence/x/bundle.zip")
    assert s3(cloud).get_object(Bucket="evidence", Key="x/bundle.zip")["Body"].read() == b"a bundle"


def test_a_lock_that_s3_does_not_tell_of_names_the_right_that_is_missing(planned: Planned) -> None:
    """HeadObject leaves it out for who has no s3:GetObjectRetention."""
    cloud, plan, bundle = planned
    plan += [None, None, None, RawFault(b"")]
    with pytest.raises(OutputError, match="tells of no lock") as refused:
        put_bundle(connect(cloud), bundle, "s3://evidence/x", datetime.now(UTC).date() + timedelta(days=1))
    assert "s3:GetObjectRetention" in refused.value.next_step


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("export", "nothing"), "There is no run nothing"),
        (("export", "--sign", "nowhere"), "cannot be read"),
        (("export", "--sign", ""), "No key is named to sign with"),
        (("export", "--sign", "kms: "), "No key is named to sign with"),
        (("export", "--timestamp", "http://127.0.0.1:9/"), "nothing to be stamped"),
        (("export", "--previous", "nowhere"), "no bundle"),
        (("verify", "reports", "--unsigned", "--previous", "nowhere"), "There is no bundle"),
        (("keygen", "x", "--passphrase"), "to be sealed"),
        (("sample", "reports", "--seed", "caf\udce9"), "cannot be written down"),
        (("keygen", "x", "--type", "dsa"), "no type"),
        (("verify", "nowhere", "--key", "config.toml"), "no public key"),
    ],
)
def test_what_is_wrong_is_said(cli: CommandLine, options: tuple[str, ...], said: str) -> None:
    """Before anything is made."""
    finished = cli.run("evidence", *options)
    ended(finished, 2)
    assert said in " ".join(finished.err.split())
    assert not (cli.folder / "evidence").exists() or not list((cli.folder / "evidence").iterdir())


@pytest.mark.usefixtures("cloud")
def test_a_public_key_signs_nothing(cli: CommandLine) -> None:
    """It is said which half was meant."""
    ended(cli.run("evidence", "keygen", "key"), 0)
    refused = cli.run("evidence", "export", "--sign", "key.pub")
    ended(refused, 2)
    assert "This is a public key" in refused.err


@pytest.mark.usefixtures("cloud")
def test_a_signature_is_stamped_and_the_stamp_verified(cli: CommandLine, tmp_path: Path) -> None:
    """By OpenSSL's own authority, from the command line; without its root, or by another's, that is said."""
    ended(cli.run("evidence", "keygen", "key"), 0)
    with serving(tmp_path) as authority:
        ended(cli.run("evidence", "export", "--sign", "key", "--timestamp", authority.url, "-q"), 0)
    bundle = str(bundle_of(cli))
    assert Path(bundle, "attestation.tsr").stat().st_size
    command = ("evidence", "verify", bundle, "--key", "key.pub", "--no-replay", "-q")
    verified = cli.run(*command, "--authority", str(authority.root))
    ended(verified, 0)
    assert "The authority confirms that the signature was there at " in " ".join(verified.out.split())
    assert "no authority was given to check it with" in " ".join(cli.run(*command).out.split())
    (tmp_path / "other").mkdir()
    with serving(tmp_path / "other") as other:
        refused = cli.run(*command, "--authority", str(other.root))
    ended(refused, 9)
    assert "not by an authority that was given" in " ".join(refused.out.split())


@pytest.mark.usefixtures("cloud")
def test_no_address_is_no_time_stamp(cli: CommandLine) -> None:
    """An unset variable is not "without one"."""
    ended(cli.run("evidence", "keygen", "key"), 0)
    refused = cli.run("evidence", "export", "--sign", "key", "--timestamp", "", "-q")
    ended(refused, 2)
    assert "no address of a time stamp authority" in " ".join(refused.err.split())


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("content", ["{}", "[" * 100_000])
def test_content_that_cannot_be_judged_is_the_bundles_fault(cli: CommandLine, content: str) -> None:
    """Exit code 9, though its manifests are good."""
    ended(cli.run("evidence", "export", "-q"), 0)
    bundle = bundle_of(cli)
    (bundle / "data" / "run.json").write_text(content)
    told = decode_info((bundle / "bag-info.txt").read_bytes())
    told.pop("Payload-Oxum")
    close_bag(bundle, (bundle / "README.txt").read_bytes(), told.items())
    for command in (("replay", str(bundle)), ("sample", str(bundle), "--seed", "1")):
        refused = cli.run("evidence", *command)
        ended(refused, 9)
        assert "no sound bundle" in refused.err or "cannot be read" in refused.err


@pytest.mark.usefixtures("cloud")
@pytest.mark.parametrize("what", ["export", "verify", "sample"])
def test_a_disk_that_is_full_says_nothing_of_the_evidence(cli: CommandLine, what: str) -> None:
    """Exit code 4, and nothing is left behind: a bundle that cannot be looked at here may be sound."""
    ended(cli.run("evidence", "export", "--zip", "-q"), 0)
    bundle = bundle_of(cli)
    room = cli.folder / "room"
    room.mkdir()
    commands = {
        "export": ("export", "--bundles", str(room), "-q"),
        "verify": ("verify", str(bundle), "--unsigned", "-q"),
        "sample": ("sample", str(bundle), "--seed", "1"),
    }
    process = subprocess.run(
        [sys.executable, "-m", "auditor", "evidence", *commands[what]],
        cwd=cli.folder,
        env=cli.whole_environment | {"TMPDIR": str(room)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 4, process.stderr + process.stdout
    said = " ".join((process.stdout + process.stderr).split())
    assert "DOES NOT HOLD" not in said
    assert "no sound bundle" not in said
    assert "File too large" in said
    assert list(room.iterdir()) == []


@pytest.mark.usefixtures("cloud")
def test_a_retention_that_is_over_is_told_before_the_bundle_is_made(cli: CommandLine) -> None:
    """A bundle that cannot be locked would be in the way of the next one."""
    config = cli.folder / "config.toml"
    config.write_text(config.read_text().replace(f"retention_days = {RETENTION.days}", "retention_days = 1"))
    refused = cli.run("evidence", "export", "--to", "s3://evidence/x", "-q")
    ended(refused, 2)
    assert "is over" in refused.err
    assert not (cli.folder / "evidence").exists()


def test_ctrl_c_says_nothing_of_runs(cli: CommandLine) -> None:
    """There was none to be written; here AWS never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        cli.environment |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        server.settimeout(60)
        process = cli.start("evidence", "export", "--sign", "kms:alias/evidence")
        connection, _ = server.accept()
        with connection:
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (4, "Error: Interrupted.\n")


def test_a_bundle_that_is_not_there_does_not_hold(cli: CommandLine) -> None:
    """Exit code 9, as for any that does not."""
    finished = cli.run("evidence", "verify", "nowhere", "--unsigned", "--json", "-q")
    ended(finished, 9)
    assert json.loads(finished.out)["problem"]["check"] == "container"
