"""A time stamp of a bundle's signature by an authority (RFC 3161): whoever signs cannot have dated it back."""

import hashlib
import http.client
import logging
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
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
        raise BagError(f"{TIME_STAMP} is no time stamp: {error}") from error
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
        builder.build().verify_message(response, message)
    except (VerificationError, ValueError) as error:
        log.debug("%s: %s", TIME_STAMP, error)
        what = f"not by an authority that was given, or its certificate was not valid at {instant(at)}"
        raise BagError(f"{TIME_STAMP} is {what}") from error
    return Stamped(at, is_trusted=True)


def load_roots(path: Path) -> list[x509.Certificate]:
    """The certificates of a PEM file; UsageError where there are none."""
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError) as error:
        step = "Name a PEM file with the certificates of the authority's root, which came another way than the bundle."
        raise UsageError(f"There are no certificates in it ({error}).", where=str(path), next_step=step) from error
