"""Approvals that a key of AWS KMS signs, in the very form of OpenSSH's, so that there is one way to check them.

The key's public half stands in `allowed_signers` as any other does, and checking asks nobody (OpenSSH: PROTOCOL.sshsig;
RFC 5656 section 3.1.2 for signatures of ECDSA).
"""

import base64
import hashlib
import struct
import textwrap

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from auditor.aws import kms
from auditor.aws.calls import Caller
from auditor.aws.loop import run
from auditor.errors import UsageError
from auditor.remediation.approval import NAMESPACE, Approval, Statement

RSA = ("rsa-sha2-512", "RSASSA_PKCS1_V1_5_SHA_512")
ECDSA = {
    "ecdsa-sha2-nistp256": "ECDSA_SHA_256",
    "ecdsa-sha2-nistp384": "ECDSA_SHA_384",
    "ecdsa-sha2-nistp521": "ECDSA_SHA_512",
}
"""How OpenSSH and KMS name one kind of signature."""


def public_line(caller: Caller, key_id: str) -> str:
    """The key's public half, as `allowed_signers` has it after a name.

    Raises:
        AwsFailure: it cannot be read.
        UsageError: OpenSSH has no such kind of key.
    """
    content = run(kms.public_key(caller, key_id))
    key: PublicKeyTypes | None
    try:
        key = load_der_public_key(content)
    except (UnsupportedAlgorithm, ValueError):  # such as one of SM2
        key = None
    is_ssh = isinstance(key, rsa.RSAPublicKey) or (
        isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in {"secp256r1", "secp384r1", "secp521r1"}
    )
    if key is None or not is_ssh:
        step = "Make one of key spec RSA_3072 or ECC_NIST_P256, for SIGN_VERIFY."
        raise UsageError("This kind of key makes no signatures that OpenSSH knows.", where=key_id, next_step=step)
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def sign_by_kms(statement: Statement, caller: Caller, key_id: str) -> Approval:
    """The statement, signed by a key of KMS; raises as `public_line`."""
    kind, blob = public_line(caller, key_id).split()
    hashed = hashlib.sha512(statement.content).digest()
    parts = _text(NAMESPACE.encode()) + _text(b"") + _text(b"sha512")
    name, algorithm = RSA if kind == "ssh-rsa" else (kind, ECDSA[kind])
    made = run(kms.sign(caller, key_id, b"SSHSIG" + parts + _text(hashed), algorithm))
    signature = made if kind == "ssh-rsa" else _of_ecdsa(made)
    whole = b"SSHSIG" + struct.pack(">I", 1) + _text(base64.b64decode(blob)) + parts
    whole += _text(_text(name.encode()) + _text(signature))
    lines = "\n".join(textwrap.wrap(base64.b64encode(whole).decode(), 70))
    armoured = f"-----BEGIN SSH SIGNATURE-----\n{lines}\n-----END SSH SIGNATURE-----\n"
    return Approval(statement=statement, signature=armoured)


def _of_ecdsa(der: bytes) -> bytes:
    """Two numbers, as OpenSSH writes them."""
    return b"".join(_text(_number(number)) for number in decode_dss_signature(der))


def _number(number: int) -> bytes:
    """A positive number without needless zeros, but one where it would else be taken for a negative one."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def _text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
