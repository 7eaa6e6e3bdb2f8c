"""A time stamp authority on loopback: openssl's own, with certificates that are made for the test."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

CONFIG = """
[req]
distinguished_name = name
prompt = no
[name]
CN = Test authority
[root]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[stamp]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = stamps
[stamps]
serial = serial
signer_cert = stamp.pem
signer_key = stamp.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
"""


@dataclass
class Authority:
    """Where it answers, whose root is trusted, and what it answers instead of a stamp, if anything."""

    url: str
    root: Path
    folder: Path
    instead: bytes | None = None
    asked: int = 0


def make_certificates(folder: Path) -> None:
    """A root and the certificate that stamps."""
    (folder / "openssl.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "rsa:2048", "-nodes", "-config", "openssl.cnf", "-days", "3650")
    openssl("req", "-x509", *key, "-subj", "/CN=Root", "-extensions", "root", "-keyout", "root.key", "-out", "root.pem")
    openssl("req", *key[:-2], "-subj", "/CN=Stamp", "-keyout", "stamp.key", "-out", "stamp.csr")
    signing = ("-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial", "-days", "3650")
    extensions = ("-extfile", "openssl.cnf", "-extensions", "stamp")
    openssl("x509", "-req", "-in", "stamp.csr", *signing, *extensions, "-out", "stamp.pem")


def stamp_within(folder: Path, start: datetime, end: datetime) -> None:
    """Let the certificate that stamps be good between these instants alone."""
    root, old = (x509.load_pem_x509_certificate((folder / name).read_bytes()) for name in ("root.pem", "stamp.pem"))
    key = load_pem_private_key((folder / "root.key").read_bytes(), None)
    builder = x509.CertificateBuilder(old.issuer, old.subject, old.public_key(), old.serial_number, start, end)
    for extension in old.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    assert isinstance(key, RSAPrivateKey)
    assert root.subject == old.issuer
    (folder / "stamp.pem").write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))


def stamp(folder: Path, query: bytes) -> bytes:
    """The authority's answer."""
    (folder / "query.tsq").write_bytes(query)
    command = ["openssl", "ts", "-reply", "-config", "openssl.cnf", "-section", "stamps", "-queryfile", "query.tsq"]
    subprocess.run([*command, "-out", "reply.tsr"], cwd=folder, check=True, capture_output=True)
    return (folder / "reply.tsr").read_bytes()


@contextmanager
def serving(folder: Path) -> Iterator[Authority]:
    """An authority that answers until the end."""
    make_certificates(folder)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            authority.asked += 1
            query = self.rfile.read(int(self.headers["Content-Length"]))
            content = authority.instead if authority.instead is not None else stamp(folder, query)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    authority = Authority(f"http://127.0.0.1:{server.server_port}/", folder / "root.pem", folder)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
