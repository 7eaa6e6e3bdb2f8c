"""Keys that sign bundles, and their public halves: made here, kept by whoever signs, never in a bundle."""

import base64
import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
    load_ssh_private_key,
    load_ssh_public_key,
)

from auditor.errors import OutputError, UsageError

PrivateKey = Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})
SMALLEST_RSA = 2048

MOST_BYTES = 1 << 16
"""Of a key's file."""

OTHERS = stat.S_IRWXG | stat.S_IRWXO

GOOD_KEYS = "Keys are Ed25519, ECDSA on a NIST curve, or RSA of 2,048 bits and more, as PEM or as OpenSSH writes them."


class KeyKind(StrEnum):
    """Kinds of keys that are made here."""

    ED25519 = "ed25519"
    ECDSA = "ecdsa"


def make_key(path: Path, kind: KeyKind, passphrase: str = "") -> Path:
    """Make a key pair: the private half at `path`, which nobody else can read, the public one beside it as `.pub`.

    Returns:
        The path of the public half.

    Raises:
        UsageError: one of the files is there already, or the path is a folder's.
        OutputError: they cannot be written.
    """
    if not path.name or path.name == ".." or path.is_dir():
        step = "Name the file of the private key; the public one gets .pub."
        raise UsageError("This is a folder.", where=str(path), next_step=step)
    public_path = path.with_name(f"{path.name}.pub")
    made: PrivateKey = (
        Ed25519PrivateKey.generate() if kind is KeyKind.ED25519 else ec.generate_private_key(ec.SECP256R1())
    )
    sealed = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    private = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, sealed)
    public = made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with ExitStack() as undone:
            undone.callback(path.unlink)
            with os.fdopen(descriptor, "wb") as file:
                file.write(private)
            with public_path.open("xb") as file:
                undone.callback(public_path.unlink)
                file.write(public)
            undone.pop_all()
    except FileExistsError:
        step = "Name another file: a key that signed evidence is kept for as long as that is."
        raise UsageError("There is a key already.", where=str(path), next_step=step) from None
    except OSError as error:
        what = f"The key cannot be written ({error.strerror})."
        raise OutputError(what, where=str(path), next_step="Name a folder that can be written.") from error
    return public_path


def load_private_key(path: Path, ask: Callable[[], str]) -> PrivateKey:
    """A private key, of PEM or OpenSSH's form, that nobody but its owner can read.

    Args:
        path: its file.
        ask: gives the passphrase, where the file needs one.

    Raises:
        UsageError: others can read the file, or it holds no key that can sign.
    """
    content = _content(path)
    if b"PUBLIC KEY" in content or content.startswith((b"ssh-", b"ecdsa-")):
        step = "Name the private half, whose file has the same name without .pub."
        raise UsageError("This is a public key, which signs nothing.", where=str(path), next_step=step)
    if path.stat().st_mode & OTHERS:
        step = f"Take the right away (chmod 600 {path}), and consider whether others have it already."
        raise UsageError("Others can read this private key.", where=str(path), next_step=step)
    load = load_ssh_private_key if b"BEGIN OPENSSH PRIVATE KEY" in content else load_pem_private_key
    try:
        try:
            key = load(content, None)
        except TypeError:  # it is sealed
            key = load(content, ask().encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _refusal(path, "This is no private key, or not its passphrase.") from error
    if not isinstance(key, PrivateKey) or not is_good(key.public_key()):
        raise _refusal(path, "Bundles are not signed with this kind of key.")
    return key


def load_public_key(path: Path) -> PublicKey:
    """A public key out of its file, of PEM or OpenSSH's form; UsageError where it is none, or a private one."""
    content = _content(path)
    if b"PRIVATE KEY" in content:
        step = "Name the public half: whoever checks a bundle has no need of the private one."
        raise UsageError("This is a private key.", where=str(path), next_step=step)
    load = load_pem_public_key if content.lstrip().startswith(b"-----") else load_ssh_public_key
    try:
        key = load(content)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refusal(path, "This is no public key.") from error
    if not isinstance(key, PublicKey) or not is_good(key):
        raise _refusal(path, "Bundles are not signed with this kind of key.")
    return key


def public_key_of(der: bytes, where: str) -> PublicKey:
    """A public key as AWS KMS gives it (SubjectPublicKeyInfo); UsageError where bundles are not signed with it."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("Bundles are not signed with this kind of key.", where=where, next_step=GOOD_KEYS) from error
    if isinstance(key, Ed25519PublicKey):
        step = "Name a key of RSA or of a NIST curve; Ed25519 is for keys in files."
        raise UsageError("Bundles are not signed with an Ed25519 key of AWS KMS.", where=where, next_step=step)
    if not isinstance(key, PublicKey) or not is_good(key):
        raise UsageError("Bundles are not signed with this kind of key.", where=where, next_step=GOOD_KEYS)
    return key


def is_good(key: object) -> bool:
    """Whether a public key is of a kind that bundles are signed with."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= SMALLEST_RSA
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in CURVES
    return isinstance(key, Ed25519PublicKey)


def fingerprint(key: PublicKey) -> str:
    """What people compare: SHA-256 of the SubjectPublicKeyInfo, in Base64 as OpenSSH writes digests."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256:{base64.b64encode(hashlib.sha256(der).digest()).decode().rstrip('=')}"


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _refusal(path, "This is no key: it is too large.")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"It cannot be read ({error.strerror}).", where=str(path), next_step="Name a key.") from error


def _refusal(path: Path, what: str) -> UsageError:
    return UsageError(what, where=str(path), next_step=GOOD_KEYS)
