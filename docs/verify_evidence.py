"""Verify an evidence bundle of auditor without auditor: python verify_evidence.py BUNDLE-FOLDER PUBLIC-KEY.

Needs `cryptography` alone. Checks that every file is there and unchanged, that there is no other, and that the key
signed it (DSSE, in-toto); neither a time stamp nor the verdicts: `auditor evidence verify` does.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key


def require(holds, what):
    if not holds:
        sys.exit(f"NOT VERIFIED: {what}")


sys.excepthook = lambda _, error, __: sys.stderr.write(f"NOT VERIFIED: it cannot be read ({error!r})\n")

require(sys.argv[2:] and Path(sys.argv[2]).is_file(), f"name a bundle and a key that is there.\n\n{__doc__}")
bag, content = Path(sys.argv[1]), Path(sys.argv[2]).read_bytes()
public_key = load_pem_public_key(content) if content.startswith(b"-----") else load_ssh_public_key(content)
require((bag / "attestation.intoto.json").is_file(), "this is no folder of a signed bundle (unpack an archive first)")


def sha256(name):
    with (bag / name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def manifest(name):
    return {path: digest for digest, path in (line.split("  ", 1) for line in (bag / name).read_text().splitlines())}


listed = manifest("manifest-sha256.txt") | manifest("tagmanifest-sha256.txt")
there = {path.relative_to(bag).as_posix() for path in bag.rglob("*") if not path.is_dir() or path.is_symlink()}
beside = {"tagmanifest-sha256.txt", "attestation.intoto.json", "attestation.tsr"}
require(not any(path.is_symlink() for path in bag.rglob("*")), "there are links in it")
require(there - beside == set(listed), f"missing or stray: {sorted((there - beside) ^ set(listed))}")
require(not (wrong := [name for name, digest in listed.items() if sha256(name) != digest]), f"changed: {wrong}")

envelope = json.loads((bag / "attestation.intoto.json").read_text())
payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
signature = base64.b64decode(envelope["signatures"][0]["sig"])
pss, sizes = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO), {384: hashes.SHA384, 521: hashes.SHA512}
try:
    if isinstance(public_key, rsa.RSAPublicKey):
        public_key.verify(signature, signed, pss, hashes.SHA256())
    elif isinstance(public_key, ec.EllipticCurvePublicKey):
        public_key.verify(signature, signed, ec.ECDSA(sizes.get(public_key.curve.key_size, hashes.SHA256)()))
    else:
        public_key.verify(signature, signed)
except InvalidSignature:
    sys.exit("NOT VERIFIED: it is not signed by this key")
subjects = {one["name"]: one["digest"]["sha256"] for one in json.loads(payload)["subject"]}
require(set(subjects) >= {"manifest-sha256.txt", "tagmanifest-sha256.txt", "bag-info.txt"}, "not signed as a whole")
require(all(sha256(name) == digest for name, digest in subjects.items()), "what was signed are other files")
print(f"{len(listed)} files are what was signed, and there is no other.")
