"""What an approver has to see of a plan beside its steps: where secrets go, who reads them, and when. Pure."""

import base64
import binascii
import hashlib
from collections.abc import Iterator

from auditor.remediation.plan import CAREFUL, Delivery, Item, Kind, Plan

STORES = {
    "secretsmanager": "Secrets Manager",
    "ssm": "Parameter Store",
    "profile": "the credentials file {0.file}",
    "age": "a file below {0.file}",
}


def destination(delivery: Delivery) -> str:
    """Where the secret of a new key goes, but for its name there."""
    region = f", in {delivery.region}" if delivery.region else ""
    key = f", under the KMS key {delivery.kms_key}" if delivery.kms_key else ""
    return f"{STORES[delivery.store].format(delivery)}{region}{key}"


def reader(public_key: str) -> str:
    """A public key, short: of SSH its fingerprint, as `ssh-keygen -l` prints it, and its comment; of age both ends."""
    kind, _, rest = public_key.strip().partition(" ")
    content, _, comment = rest.strip().partition(" ")
    if not content:
        return f"{kind[:8]}...{kind[-12:]}"
    try:
        digest = hashlib.sha256(base64.b64decode(content, validate=True)).digest()
    except (binascii.Error, ValueError):
        return f"{kind} ...{content[-12:]}"
    fingerprint = base64.b64encode(digest).decode().rstrip("=")
    return f"{kind} SHA256:{fingerprint}{f' ({comment.strip()})' if comment.strip() else ''}"


def waits(item: Item) -> str:
    """How long is waited, for as far as the item goes."""
    told, asked = item.waits, []
    if item.makes_key and item.covers(Kind.DEACTIVATE):
        asked.append(f"{told.grace_days} days to move to the new key")
    if item.covers(Kind.DEACTIVATE):
        asked.append("at once, quiet or not" if item.urgent else f"{told.quiet_days} days quiet")
    if item.covers(Kind.DELETE):
        asked.append(f"{told.quarantine_days} days inactive")
    return ", ".join(asked)


def facts_of(plan: Plan) -> Iterator[tuple[str, str]]:
    """Label and value of all that is to be said of a plan's items, those of a kind together."""
    places: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    lengths: dict[str, list[str]] = {}
    for item in plan.items:
        if item.delivery is not None:
            group = (destination(item.delivery), item.delivery.readers)
            places.setdefault(group, []).append(item.delivery.secret)
        lengths.setdefault(waits(item), []).append(item.user)
    for (place, readers), names in places.items():
        yield "Secrets go to", f"{place}: {', '.join(names)}"
        for one in readers:
            yield "Can be read by", reader(one)
    for length, users in lengths.items():
        if length:
            yield "Waits", f"{length}: {', '.join(users)}"
    for item in plan.items:
        yield from _facts_of_item(item)


def _facts_of_item(item: Item) -> Iterator[tuple[str, str]]:
    """What is to be said of one alone."""
    for warning in item.warnings:
        yield CAREFUL.strip(" :"), f"{item.user}: {warning}"
    if item.inactive_since is not None:
        yield "Inactive since", f"{item.inactive_since:%Y-%m-%d %H:%M}Z: {item.user}"
