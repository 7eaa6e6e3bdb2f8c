"""Amazon SES over SMTP: its password is not the secret of the key, but comes from it, one for each Region."""

import base64
import hashlib
import hmac

from auditor.secret import Secret

_VERSION = b"\x04"
_STEPS = ("ses", "aws4_request", "SendRawEmail")


def smtp_password(secret: Secret, region: str) -> Secret:
    """The password of SES's SMTP endpoint in a Region; the user name is the key's id.

    As the SES developer guide derives it: a Signature Version 4 key of a fixed date that signs a fixed text.
    """
    signature = b"AWS4" + secret.reveal().encode()
    for step in ("11111111", region, *_STEPS):
        signature = hmac.new(signature, step.encode(), hashlib.sha256).digest()
    return Secret(base64.b64encode(_VERSION + signature).decode())
