"""A time stamp of a bundle's signature by an authority (RFC 3161): whoever signs cannot have dated it back."""

import hashlib
import http.client
import logging
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier, SignatureAlgorithmOID
from rfc3161_client import TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response
from rfc3161_client.errors import VerificationError
from rfc3161_client.tsp import PKIStatus

from auditor.errors import OutputError, UsageError
from auditor.evidence.bag import TIME_STAMP, BagError, read_tag
from auditor.formats.words import instant

log = logging.getLogger(__name__)

SECONDS = 30
MOST_BYTES = 1 << 20

REQUEST, RESPONSE = "application/timestamp-query", "application/timestamp-reply"


def ask_for_time_stamp(url: str, message: bytes) -> bytes:
    """The authority's answer about a message, which it does not see, but for its digest.

    Raises:
        UsageError: the URL is none to be asked in the clear.
        OutputError: it does not answer, or with something that is no time stamp of the message.
    """
    if not _is_address(url):
        step = "It begins with https:// or http://; the answer is signed."
        raise UsageError("This is no address of a time stamp authority.", where=url, next_step=step)
    asked = TimestampRequestBuilder().data(message).build()
    request = urllib.request.Request(url, asked.as_bytes(), {"Content-Type": REQUEST}, method="POST")  # noqa: S310
    step = "Try again, name another authority, or leave the time stamp out."
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - http and https alone
            content: bytes = answer.read(MOST_BYTES)
        response = decode_timestamp_response(content)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise OutputError(f"The authority gave no time stamp ({error}).", where=url, next_step=step) from error
    imprint = bytes(asked.message_imprint.message)
    is_ours = (
        response.status == PKIStatus.GRANTED
        and response.tst_info.nonce == asked.nonce
        and bytes(response.tst_info.message_imprint.message) == imprint
    )
    if not is_ours:
        what = f"The authority did not stamp what it was asked to ({response.status})."
        raise OutputError(what, where=url, next_step=step)
    try:
        _confirm_form(content)
    except ValueError as error:
        what = f"Nobody could check the authority's time stamp: {error}."
        raise OutputError(what, where=url, next_step=step) from error
    return content


def _is_address(url: str) -> bool:
    """Whether something can be asked there, over HTTP."""
    try:
        parts = urlsplit(url)
        is_port = parts.port != 0  # a port that is no number raises here
    except ValueError:
        return False
    is_plain = all(character.isprintable() and not character.isspace() for character in url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and is_port and is_plain and url.isascii()


@dataclass(frozen=True, slots=True)
class Stamped:
    """What a time stamp says: when, and by which authority; `is_trusted` where its certificate is known to be good."""

    at: datetime
    is_trusted: bool


def check_time_stamp(
    bag: Path, message: bytes, roots: Sequence[x509.Certificate], within: tuple[datetime, datetime] | None = None
) -> Stamped:
    """What the time stamp of a bag says about a message.

    Args:
        bag: the bag.
        message: what was stamped.
        roots: certificates of authorities that are trusted; without any, nothing is known of who stamped.
        within: the instants between which it was stamped: when there was something to be, and now.

    Raises:
        BagError: it is no time stamp of the message, of another time, or not by such an authority.
    """
    content = read_tag(bag, TIME_STAMP)
    try:
        response = decode_timestamp_response(content)
        digest = bytes(response.tst_info.message_imprint.message)
        at = response.tst_info.gen_time
        is_whole = bytes(response.as_bytes()) == content
    except (ValueError, TypeError, OverflowError) as error:
        log.debug("%s: %s", TIME_STAMP, error)
        raise BagError(f"{TIME_STAMP} is no time stamp") from error
    if not is_whole or digest != hashlib.sha512(message).digest():
        raise BagError(f"{TIME_STAMP} is not of this signature")
    if within is not None and at < within[0]:
        raise BagError(
            f"{TIME_STAMP} is of {instant(at)}, before {instant(within[0])}, when there was nothing to stamp"
        )
    if within is not None and at > within[1]:
        raise BagError(f"{TIME_STAMP} is of {instant(at)}, which is yet to come: one of the two clocks is wrong")
    if not roots:
        return Stamped(at, is_trusted=False)
    builder = VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        _confirm_form(content)
    except ValueError as error:
        log.debug("%s: %s", TIME_STAMP, error)
        raise BagError(f"{TIME_STAMP} is not written as a time stamp is") from error
    try:
        builder.build().verify_message(response, message)
    except (VerificationError, ValueError) as error:
        log.debug("%s: %s", TIME_STAMP, error)
        what = f"not by an authority that was given, or its certificate was not valid at {instant(at)}"
        raise BagError(f"{TIME_STAMP} is {what}") from error
    return Stamped(at, is_trusted=True)


RSA = ObjectIdentifier("1.2.840.113549.1.1.1")
"""What signs may be named so, without the digest, which is named before it (RFC 8017, rsaEncryption)."""

ALGORITHMS = {
    "2.16.840.1.101.3.4.2.1": {RSA, SignatureAlgorithmOID.RSA_WITH_SHA256, SignatureAlgorithmOID.ECDSA_WITH_SHA256},
    "2.16.840.1.101.3.4.2.2": {RSA, SignatureAlgorithmOID.RSA_WITH_SHA384, SignatureAlgorithmOID.ECDSA_WITH_SHA384},
    "2.16.840.1.101.3.4.2.3": {RSA, SignatureAlgorithmOID.RSA_WITH_SHA512, SignatureAlgorithmOID.ECDSA_WITH_SHA512},
}
"""How a signature over a digest of SHA-256, SHA-384 or SHA-512 may be called (RFC 5754)."""

VERSION, SIGNER_VERSION = 3, 1
"""Of what is signed where it is a time stamp, and of who signs where issuer and number tell who that is (RFC 5652)."""


@asn1.sequence
class _Algorithm:
    algorithm: ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _SignerInfo:
    version: int
    signer: asn1.TLV
    digest: _Algorithm
    signed: Annotated[asn1.SetOf[asn1.TLV], asn1.Implicit(0)]
    algorithm: _Algorithm
    signature: bytes
    unsigned: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(1)]


@asn1.sequence
class _SignedData:
    version: int
    digests: asn1.SetOf[asn1.TLV]
    content: asn1.TLV
    certificates: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(0)]
    revoked: Annotated[asn1.SetOf[asn1.TLV] | None, asn1.Implicit(1)]
    signers: asn1.SetOf[_SignerInfo]


@asn1.sequence
class _ContentInfo:
    type: ObjectIdentifier
    content: Annotated[_SignedData, asn1.Explicit(0)]


@asn1.sequence
class _Response:
    status: asn1.TLV
    token: _ContentInfo


def _confirm_form(content: bytes) -> None:
    """Look at what checking a signature does not: what the versions are, and how the signature is called.

    Raises:
        ValueError: they are not those of a time stamp.
    """
    signed = asn1.decode_der(_Response, content).token.content
    for one in signed.signers.as_list():
        names = ALGORITHMS.get(one.digest.algorithm.dotted_string, set())
        if one.version != SIGNER_VERSION or one.algorithm.algorithm not in names:
            raise ValueError("its signer is not told as that of a time stamp")
    if signed.version != VERSION:
        raise ValueError(f"version {signed.version} of what is signed")


def load_roots(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file; UsageError where there are none."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        step = "Name a PEM file with the certificates of the authority's root, which came another way than the bundle."
        raise UsageError(f"There are no certificates in it ({error}).", where=str(path), next_step=step) from error
