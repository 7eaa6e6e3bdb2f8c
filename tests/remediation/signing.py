"""An approver's SSH key and signatures, made without OpenSSH as OpenSSH makes them (PROTOCOL.sshsig)."""

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auditor.remediation.approval import NAMESPACE, Approval, Statement
from auditor.remediation.plan import Plan


def _text(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


@dataclass
class Approver:
    """A person with a key."""

    name: str
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def _public(self) -> bytes:
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return _text(b"ssh-ed25519") + _text(raw)

    @property
    def line(self) -> str:
        """The line of an allowed_signers file."""
        return f"{self.name} ssh-ed25519 {base64.b64encode(self._public).decode()}"

    def signature(self, message: bytes, namespace: str = NAMESPACE) -> str:
        """Over a message."""
        parts = _text(namespace.encode()) + _text(b"") + _text(b"sha512")
        signed = self.key.sign(b"SSHSIG" + parts + _text(hashlib.sha512(message).digest()))
        body = b"SSHSIG" + struct.pack(">I", 1) + _text(self._public) + parts
        blob = base64.b64encode(body + _text(_text(b"ssh-ed25519") + _text(signed))).decode()
        return f"-----BEGIN SSH SIGNATURE-----\n{blob}\n-----END SSH SIGNATURE-----\n"

    def approves(self, plan: Plan, when: datetime, *, namespace: str = NAMESPACE, **changes: Any) -> Approval:
        """The plan, or what `changes` make of the statement."""
        statement = Statement(
            plan_id=plan.id,
            plan_sha256=plan.digest,
            approver=self.name,
            through=plan.highest,
            reason="monthly",
            at=when,
        ).model_copy(update=changes)
        return Approval(statement=statement, signature=self.signature(statement.content, namespace))


def person(name: str) -> Approver:
    """Somebody with a key that is always the same."""
    return Approver(name, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def told_of(*approvals: Approval) -> list[dict[str, Any]]:
    """As the journal keeps them."""
    return [json.loads(one.model_dump_json(by_alias=True)) for one in approvals]
