"""The signature of a bundle: a DSSE envelope over an in-toto Statement with the digests of the bag's tag files.

in-toto Attestation Framework v1 (statement, test-result predicate); DSSE v1 (envelope and what is signed of it).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import CryptoSigner, Signature, SSlibKey

from auditor.evidence.bag import ATTESTATION, TAG_MANIFEST, TAGS, BagError, digest_of, read_tag
from auditor.evidence.keys import PrivateKey, PublicKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"

SIGNED = (*TAGS, TAG_MANIFEST)
"""What is signed: these files have the digests of all others."""

KMS_ALGORITHMS = {256: "ECDSA_SHA_256", 384: "ECDSA_SHA_384", 521: "ECDSA_SHA_512"}
KMS_RSA = "RSASSA_PSS_SHA_256"
"""What AWS KMS calls the signatures that a verifier of DSSE expects of each kind of key."""


def statement(bag: Path, result: str, policy_sha256: str, failed: Sequence[str], warned: Sequence[str]) -> bytes:
    """The statement about a bag, as bytes.

    Args:
        bag: the bag.
        result: PASSED, WARNED (something could not be judged) or FAILED.
        policy_sha256: the digest of what was judged by.
        failed: controls with violations.
        warned: controls with verdicts that are unknown.
    """
    document = {
        "_type": STATEMENT_TYPE,
        "subject": _subjects(bag),
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "result": result,
            "configuration": [{"name": "data/policy.toml", "digest": {"sha256": policy_sha256}}],
            "failedTests": sorted(failed),
            "warnedTests": sorted(warned),
        },
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _subjects(bag: Path) -> list[dict[str, Any]]:
    return [{"name": name, "digest": {"sha256": digest_of(bag / name)}} for name in sorted(SIGNED)]


def sign_by_key(payload: bytes, key: PrivateKey) -> bytes:
    """The envelope of a statement, signed by a private key; for Ed25519 always the same bytes."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(CryptoSigner(key))
    return encode_envelope(envelope)


def sign_by_other(payload: bytes, public: PublicKey, sign: Callable[[bytes, str], bytes]) -> bytes:
    """The envelope of a statement, signed by something that keeps its key to itself, such as AWS KMS.

    Args:
        payload: the statement.
        public: the key's public half.
        sign: gives the signature over these bytes, which it hashes itself, by the algorithm of this name in KMS.

    Raises:
        BagError: the signature is not by that key.
    """
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    algorithm = KMS_ALGORITHMS[public.curve.key_size] if isinstance(public, ec.EllipticCurvePublicKey) else KMS_RSA
    assert isinstance(public, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    key_id = SSlibKey.from_crypto(public).keyid
    signature = Signature(key_id, sign(envelope.pae(), algorithm).hex())
    if not _is_by(public, signature, envelope.pae()):  # the name may mean another key by now
        raise BagError("what signed is not the key whose public half was read")
    envelope.signatures[key_id] = signature
    return encode_envelope(envelope)


def encode_envelope(envelope: Envelope) -> bytes:
    """The envelope as its file has it: the same envelope always has the same bytes."""
    return json.dumps(envelope.to_dict(), sort_keys=True, indent=1).encode() + b"\n"


def decode_envelope(content: bytes) -> Envelope:
    """The envelope of a file.

    Raises:
        BagError: it is none, has not exactly one signature, or is written otherwise than `encode_envelope` does.
    """
    try:
        document = json.loads(content)
        for text in (document["payload"], *(one["sig"] for one in document["signatures"])):
            base64.b64decode(text, validate=True)
        envelope = Envelope.from_dict(document)
        is_ours = encode_envelope(envelope) == content and envelope.payload_type == PAYLOAD_TYPE
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise BagError(f"{ATTESTATION} is no DSSE envelope") from error
    if not is_ours or len(envelope.signatures) != 1:
        raise BagError(f"{ATTESTATION} is no envelope of one signature, written as a bundle's is")
    return envelope


def check_signature(bag: Path, keys: Sequence[PublicKey]) -> tuple[PublicKey, bytes]:
    """Which of these keys signed the bag as it is, and the statement that it signed.

    Raises:
        BagError: none did, or the statement is about something else.
    """
    envelope = decode_envelope(read_tag(bag, ATTESTATION))
    signature = next(iter(envelope.signatures.values()))
    signer = next((key for key in keys if _is_by(key, signature, envelope.pae())), None)
    if signer is None:
        raise BagError(f"{ATTESTATION} is not signed by a key that was given")
    _confirm_about(bag, envelope)
    return signer, envelope.payload


def read_statement(bag: Path) -> bytes:
    """What is signed, by whomever: it is this bag as it is; raises BagError where it is about something else."""
    envelope = decode_envelope(read_tag(bag, ATTESTATION))
    _confirm_about(bag, envelope)
    return envelope.payload


def _confirm_about(bag: Path, envelope: Envelope) -> None:
    if decode_statement(envelope.payload)["subject"] != _subjects(bag):
        raise BagError("what was signed are other files than these")


def decode_statement(payload: bytes) -> Mapping[str, Any]:
    """A statement; raises BagError where it is none of a bundle."""
    try:
        told: Mapping[str, Any] = json.loads(payload)
        is_ours = (told["_type"], told["predicateType"]) == (STATEMENT_TYPE, PREDICATE_TYPE) and "subject" in told
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BagError("what was signed is no in-toto statement") from error
    if not is_ours:
        raise BagError("what was signed is no statement about a test's result")
    return told


def _is_by(key: PublicKey, signature: Signature, message: bytes) -> bool:
    try:
        SSlibKey.from_crypto(key).verify_signature(signature, message)
    except (UnverifiedSignatureError, VerificationError):
        return False
    return True


def attestation_digest(bag: Path) -> bytes:
    """SHA-256 of the signature's file, which a time stamp is of."""
    return hashlib.sha256(read_tag(bag, ATTESTATION)).digest()
