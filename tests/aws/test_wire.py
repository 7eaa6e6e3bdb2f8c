"""What goes over the wire: where botocore would send it, signed as botocore would sign it, through TLS and proxies."""

import datetime as dt
import http.server
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import botocore.session
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSRequest
from botocore.credentials import ReadOnlyCredentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from auditor.aws.calls import Caller, request_id
from auditor.aws.clients import AmbientCredentials, Clients, Connection, StaticCredentials
from auditor.aws.failures import AwsFailure, Kind
from auditor.aws.identity import caller_identity
from auditor.aws.loop import run
from auditor.aws.wire import Wire
from auditor.errors import UsageError
from benchmarks.endpoint import CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY, Endpoint
from tests.conftest import VirtualTime

KEY, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a/token+that=needs&quoting"
CREDENTIALS = ReadOnlyCredentials(KEY, SECRET, TOKEN)
ANSWER = (
    b'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    b"<Arn>arn:aws:iam::111111111111:user/ann</Arn><UserId>AIDA</UserId><Account>111111111111</Account>"
    b"</GetCallerIdentityResult><ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata>"
    b"</GetCallerIdentityResponse>"
)


@pytest.mark.parametrize(
    ("service", "partition", "environment", "url"),
    [
        ("iam", "aws", {}, "https://iam.amazonaws.com/"),
        ("iam", "aws", {"AWS_DEFAULT_REGION": "eu-central-1"}, "https://iam.amazonaws.com/"),
        ("iam", "aws-cn", {}, "https://iam.cn-north-1.amazonaws.com.cn/"),
        ("iam", "aws-us-gov", {}, "https://iam.us-gov.amazonaws.com/"),
        ("sts", "aws", {}, "https://sts.us-east-1.amazonaws.com/"),
        ("sts", "aws", {"AWS_DEFAULT_REGION": "eu-central-1"}, "https://sts.eu-central-1.amazonaws.com/"),
        ("sts", "aws-cn", {"AWS_DEFAULT_REGION": "eu-central-1"}, "https://sts.cn-north-1.amazonaws.com.cn/"),
        ("sts", "aws", {"AWS_USE_FIPS_ENDPOINT": "true"}, "https://sts-fips.us-east-1.amazonaws.com/"),
        ("sts", "aws-us-gov", {}, "https://sts.us-gov-west-1.amazonaws.com/"),
        (
            "organizations",
            "aws",
            {"AWS_DEFAULT_REGION": "eu-central-1"},
            "https://organizations.us-east-1.amazonaws.com/",
        ),
        ("iam", "aws", {"AWS_ENDPOINT_URL_IAM": "https://127.0.0.1:8443"}, "https://127.0.0.1:8443/"),
        ("sts", "aws", {"AWS_ENDPOINT_URL": "http://127.0.0.1:8080"}, "http://127.0.0.1:8080/"),
    ],
)
def test_a_service_is_where_botocore_says(
    service: str, partition: str, environment: Mapping[str, str], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every partition, and with the settings that AWS's own tools know."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    wire, _ = Clients(Connection()).get(service, partition)
    assert wire.url == url


CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("sts", "get_caller_identity", {}),
    (
        "sts",
        "assume_role",
        {"RoleArn": "arn:aws:iam::111111111111:role/a/b", "RoleSessionName": "x=y,z@w", "ExternalId": "a:b/c+d=e"},
    ),
    ("iam", "list_access_keys", {"UserName": "ann+b=c,d@e.f-g_h"}),
    ("iam", "list_users", {"Marker": "ä ß/é+&=", "MaxItems": 5}),
    ("iam", "generate_credential_report", {}),
    ("organizations", "list_accounts", {"MaxResults": 20, "NextToken": 'a"b\\ü'}),
    ("organizations", "list_tags_for_resource", {"ResourceId": "111111111111"}),
]


@pytest.mark.parametrize(("service", "method", "params"), CALLS, ids=[call[1] for call in CALLS])
@pytest.mark.parametrize("region", ["eu-central-1", "cn-north-1", "us-gov-west-1"])
def test_a_request_is_what_botocore_would_send(service: str, method: str, params: dict[str, Any], region: str) -> None:
    """The same body, and the same signature over the same headers."""
    client = botocore.session.Session().create_client(
        service, region, aws_access_key_id=KEY, aws_secret_access_key=SECRET, aws_session_token=TOKEN
    )
    sent: list[AWSPreparedRequest] = []

    class StopError(Exception):
        pass

    def keep(request: AWSPreparedRequest, **_: object) -> None:
        sent.append(request)
        raise StopError

    wire = Wire(client, loopback_only=False)
    client.meta.events.register("before-send", keep)
    ours, theirs = {"x-amz-date": ""}, {"x-amz-date": "none yet"}
    request = AWSRequest()
    while ours["x-amz-date"] != theirs["x-amz-date"]:  # the clock may strike between the two
        with suppress(StopError):
            getattr(client, method)(**params)
        theirs = {name.lower(): _text(value) for name, value in sent[-1].headers.items()}
        request = wire._signed(wire.answers.operations[method], params, CREDENTIALS, "auditor")
        ours = {name.lower(): _text(value) for name, value in request.headers.items()}
    assert sent[-1].url == wire.url
    assert _text(sent[-1].body) == _text(request.data)
    for name in ("x-amz-security-token", "content-type", "x-amz-target"):
        assert ours.get(name) == theirs.get(name)
    assert ours["authorization"] == theirs["authorization"]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_every_service_tells_the_id_of_the_request() -> None:
    """However the header is spelt; it is evidence."""
    with Endpoint() as endpoint:
        own = StaticCredentials(CALLER_ACCESS_KEY_ID, CALLER_SECRET_ACCESS_KEY)
        clients = Clients(Connection(endpoint_url=endpoint.url, isolated=own))
        caller = Caller(clients, clients.ambient(), "aws", VirtualTime().timing)
        for service, method, params in CALLS[0], CALLS[4], ("organizations", "list_roots", {}):
            assert request_id(run(caller.call(service, method, **params)))


# ------------------------------------------------------------------------------------------------- TLS and proxies


class _Sts(http.server.BaseHTTPRequestHandler):
    """Says who calls, whoever calls."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Tunnels, and remembers to whom."""

    asked: ClassVar[list[str]]

    def do_CONNECT(self) -> None:
        type(self).asked.append(f"{self.path} {self.headers.get('Proxy-Authorization', '')}".strip())
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pump, args=(there, self.connection), daemon=True)
            back.start()
            _pump(self.connection, there)
            back.join(5)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key beside it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem"


@pytest.fixture(scope="module")
def secured(authority: Path) -> Iterator[str]:
    """The URL of an STS behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority, authority.with_name("key.pem"))
    with serving(_Sts, context) as port:
        yield f"https://127.0.0.1:{port}"


def who(url: str, seconds: float = 5) -> str:
    """Whom STS at this URL says the caller is."""
    clients = Clients(Connection(endpoint_url=url, connect_timeout=seconds, read_timeout=seconds))
    signer = AmbientCredentials(botocore.credentials.Credentials(KEY, SECRET, TOKEN))
    caller = Caller(clients, signer, "aws", VirtualTime().timing, attempts=1)
    return run(caller_identity(caller)).account_id


def test_tls_is_checked_against_the_configured_authorities(
    secured: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that nobody vouches for is refused before anything is said; AWS_CA_BUNDLE may vouch for it."""
    with pytest.raises(AwsFailure, match="certificate verify failed") as caught:
        who(secured)
    assert caught.value.kind is Kind.UNREACHABLE
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    assert who(secured) == "111111111111"
    monkeypatch.delenv("AWS_CA_BUNDLE")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    assert who(secured) == "111111111111"
    monkeypatch.setenv("AWS_CA_BUNDLE", "/nowhere/bundle.pem")
    with pytest.raises(UsageError, match="No such file"):
        who(secured)


def test_calls_go_through_the_proxy_of_the_environment(
    secured: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the password that its URL has; past it where NO_PROXY says so."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))

    class Proxy(_Proxy):
        asked: ClassVar[list[str]] = []

    with serving(Proxy) as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://ann:pw@127.0.0.1:{port}")
        assert who(secured) == "111111111111"
        target = secured.removeprefix("https://")
        assert Proxy.asked == [f"{target} Basic YW5uOnB3"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert who(secured) == "111111111111"
        assert len(Proxy.asked) == 1


@pytest.mark.parametrize(
    "proxy", ["http://ann:hunter2/x@127.0.0.1:9", "http://ann:hunter2@p:port", "socks5://ann:hunter2@127.0.0.1:9"]
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    secured: str, authority: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    """Before anything is sent."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError) as caught:
        who(secured)
    assert "hunter2" not in str(caught.value) + caught.value.next_step


def test_a_proxy_that_says_nothing_is_not_waited_for_for_ever(
    secured: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection, and that is all."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(AwsFailure) as caught:
            who(secured, seconds=0.5)
    assert caught.value.kind in {Kind.UNREACHABLE, Kind.TIMED_OUT}


def test_a_proxy_that_is_not_there_is_told(secured: str, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the reason, and never by going past it."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(AwsFailure, match=r"127\.0\.0\.1:9") as caught:
        who(secured)
    assert caught.value.kind is Kind.UNREACHABLE
