"""Approvals by keys of AWS KMS: signatures like any other of OpenSSH's, made by who may use the key."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from moto.kms.models import kms_backends
from moto.kms.utils import AbstractPrivateKey

from auditor.aws.calls import Caller
from auditor.aws.clients import shared_clients
from auditor.aws.failures import AwsFailure
from auditor.demo import AccountSeed, EmbeddedOrganisation, ErrorFault, OrganisationSeed
from auditor.errors import UsageError
from auditor.remediation.approval import Approvers, Statement, read_approval, signed_by
from auditor.remediation.kms_approval import public_line, sign_by_kms
from auditor.remediation.plan import Kind
from tests.builders import AS_OF
from tests.conftest import CommandLine, StartCloud, connect
from tests.remediation.test_record import ITEM
from tests.remediation.world import MAIN, Clock, plan_of

BOB = "bob@example.com"


def make_key(spec: str = "RSA_2048", usage: str = "SIGN_VERIFY", region: str = "us-east-1") -> str:
    """A key of the main account; its ARN."""
    backend = kms_backends[MAIN][region]
    key = backend.create_key(policy="", key_usage=usage, key_spec=spec, description="", tags=[])
    return str(key.arn)


class Sm2(AbstractPrivateKey):
    """The private half of a key of SM2, which the simulated KMS does not make: a curve that libraries may not know."""

    def sign(self, message: bytes, signing_algorithm: str) -> bytes:
        """Nobody gets so far."""
        raise NotImplementedError

    def verify(self, message: bytes, signature: bytes, signing_algorithm: str) -> bool:
        """Nobody gets so far."""
        raise NotImplementedError

    def public_key(self) -> bytes:
        """SubjectPublicKeyInfo, which differs from another curve's by the curve's name (RFC 5480; GM/T 0006)."""
        of_p256 = ec.generate_private_key(ec.SECP256R1()).public_key()
        content = of_p256.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return content.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a811ccf5501822d"))


def make_sm2_key() -> str:
    """A key of the kind SM2, which KMS has in China; its ARN."""
    arn = make_key("ECC_NIST_P256")
    kms_backends[MAIN]["us-east-1"].keys[arn.rpartition("/")[2]].private_key = Sm2()
    return arn


@pytest.fixture
def cloud(start_cloud: StartCloud) -> EmbeddedOrganisation:
    return start_cloud(OrganisationSeed((AccountSeed(MAIN, "management"),)))


@pytest.fixture
def caller(cloud: EmbeddedOrganisation) -> Caller:
    clients = shared_clients(connect(cloud))
    return Caller(clients, clients.ambient(), "aws", Clock().timing, attempts=2)


def statement(**changes: object) -> Statement:
    """Bob approves."""
    plan = plan_of(ITEM)
    said = Statement(plan_id=plan.id, plan_sha256=plan.digest, approver=BOB, through=Kind.ROTATE, reason="r", at=AS_OF)
    return said.model_copy(update=changes)


def approvers(folder: Path, line: str) -> Approvers:
    """Bob's key is this one."""
    path = folder / "allowed_signers"
    path.write_text(f"{BOB} {line}\n")
    return Approvers.read(path)


@pytest.mark.parametrize(
    "spec",
    [
        "RSA_2048",
        pytest.param(
            "ECC_NIST_P256",
            marks=pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH's client is not here"),
        ),
    ],
)
def test_a_signature_of_kms_is_one_of_openssh(caller: Caller, tmp_path: Path, spec: str) -> None:
    """Checked as every approval is, without AWS; of this statement, by this key, and of nothing else."""
    key = make_key(spec)
    line = public_line(caller, key)
    approval = sign_by_kms(statement(), caller, key)
    allowed = approvers(tmp_path, line)
    assert signed_by(approval, allowed) == line
    assert read_approval(approval.model_dump_json(by_alias=True).encode(), "a") == approval
    other = approval.model_copy(update={"statement": statement(reason="another")})
    assert signed_by(other, allowed) is None
    assert signed_by(approval, approvers(tmp_path, public_line(caller, make_key(spec)))) is None


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH's client is not here")
def test_numbers_of_every_length_are_written_as_openssh_wants_them(caller: Caller, tmp_path: Path) -> None:
    """A number of ECDSA may begin with zeros, or look negative: every few signatures one does."""
    key = make_key("ECC_NIST_P256")
    allowed = approvers(tmp_path, public_line(caller, key))
    for number in range(12):
        assert signed_by(sign_by_kms(statement(reason=f"r{number}"), caller, key), allowed)


def test_a_key_in_another_region_is_found_by_its_arn(caller: Caller) -> None:
    """An approver's key need not be where the run is."""
    assert public_line(caller, make_key(region="eu-west-1")).startswith("ssh-rsa ")


def test_keys_that_sign_nothing_that_openssh_knows_are_refused(caller: Caller) -> None:
    """For another use, of another curve, or not there at all."""
    with pytest.raises(UsageError, match="no signatures that OpenSSH knows"):
        public_line(caller, make_key("ECC_SECG_P256K1"))
    with pytest.raises(UsageError, match="no signatures that OpenSSH knows"):
        public_line(caller, make_sm2_key())
    with pytest.raises(AwsFailure, match="no key for signatures"):
        public_line(caller, make_key(usage="ENCRYPT_DECRYPT"))
    with pytest.raises(AwsFailure, match="NotFoundException"):
        sign_by_kms(statement(), caller, "alias/none")


def test_approving_by_kms(cli: CommandLine, cloud: EmbeddedOrganisation) -> None:
    """The approval lies beside the plan; a key that is not the approver's is told with the line that would allow it."""
    cli.log_in(cloud)
    plan = plan_of(ITEM, at=datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1))
    path, key = cli.folder / "plan-1.json", make_key()
    path.write_bytes(plan.content)
    (cli.folder / "config.toml").write_text('[remediation.approval]\nallowed_signers = "signers"\n')
    (cli.folder / "signers").write_text("")
    options = ("remediate", "approve", str(path), "--reason", "CHG-1", "--as", BOB)
    refused = cli.run(*options, "--kms", key)
    assert (refused.code, list(cli.folder.glob("*.approval-*"))) == (2, [])
    assert "The key does not sign for" in " ".join(refused.err.split())
    (cli.folder / "signers").write_text(refused.out)
    done = cli.run(*options, "--kms", key, "--json")
    assert done.code == 0, done.err
    approval = read_approval((cli.folder / json.loads(done.out)["approval"]).read_bytes(), "a")
    assert signed_by(approval, Approvers.read(cli.folder / "signers"))
    assert approval.statement.plan_sha256 == plan.digest
    assert cli.run(*options).code == 2
    assert cli.run(*options, "--kms", key, "--sign-with", "x").code == 2


def test_who_may_not_sign_is_told(start_cloud: StartCloud) -> None:
    """With AWS's word for it."""
    cloud = start_cloud(
        OrganisationSeed((AccountSeed(MAIN, "management"),)),
        fault=lambda call: ErrorFault(400, "AccessDeniedException") if call.action == "Sign" else None,
    )
    clients = shared_clients(connect(cloud))
    refused = Caller(clients, clients.ambient(), "aws", Clock().timing, attempts=2)
    key = make_key()
    assert public_line(refused, key)
    with pytest.raises(AwsFailure, match="kms:Sign"):
        sign_by_kms(statement(), refused, key)
