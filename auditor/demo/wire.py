"""AWS's wire formats: a signed HTTP request as plain fields; answers and errors as each protocol writes them."""

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID
from wsgiref.types import StartResponse, WSGIEnvironment
from xml.sax.saxutils import escape

_NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
}
_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/")

Payload = Mapping[str, Any]
"""An answer's members by name: text, numbers, booleans, datetimes, None for absent, lists and mappings of these."""


class Protocol(StrEnum):
    """How a service talks; decides how an error must look."""

    QUERY = "query"
    JSON = "json"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class AwsError:
    """An error as AWS sends it; `code` is the wire code, which is not always the exception's name in the SDKs."""

    status: int
    code: str
    message: str


class RefusedError(Exception):
    """Raised where a request must be answered with an AWS error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """With the HTTP status, the wire code and the message of the answer."""
        super().__init__(f"{status} {code}: {message}")
        self.error = AwsError(status, code, message)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str
    request_id: str

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        """As WSGI wants it."""
        headers = [
            ("Content-Type", self.content_type),
            ("Content-Length", str(len(self.body))),
            ("x-amzn-RequestId", self.request_id),
        ]
        start_response(f"{self.status} {'OK' if self.status == 200 else 'Refused'}", headers)  # noqa: PLR2004 - HTTP
        return [self.body]


@dataclass(frozen=True, slots=True)
class Request:
    """A request, read whole; `access_key_id` is None for an unsigned one. Parameters of JSON calls are flattened."""

    service: str
    region: str
    action: str
    protocol: Protocol
    params: Mapping[str, str]
    access_key_id: str | None
    session_token: str | None
    user_agent: str = ""


def parse_request(environ: WSGIEnvironment) -> Request:
    """The request, by the credential scope of its Authorization header; its body stays readable for moto."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    scope = _SCOPE.match(environ.get("HTTP_AUTHORIZATION", ""))
    service = scope["service"].lower() if scope else ""
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    if target:
        protocol, action, params = Protocol.JSON, target.rpartition(".")[2], _json_params(body)
    elif environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        params = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
        protocol, action = Protocol.QUERY, params.get("Action", "")
    else:
        params = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
        protocol = Protocol.S3 if service == "s3" else Protocol.JSON
        action = f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '/')}"
    return Request(
        service=service,
        region=scope["region"] if scope else "",
        action=action,
        protocol=protocol,
        params=params,
        access_key_id=scope["key"] if scope else None,
        session_token=environ.get("HTTP_X_AMZ_SECURITY_TOKEN"),
        user_agent=environ.get("HTTP_USER_AGENT", ""),
    )


def _json_params(body: bytes) -> dict[str, str]:
    try:
        fields = json.loads(body or b"{}")
    except ValueError:
        return {}
    if not isinstance(fields, dict):
        return {}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def render_answer(request: Request, payload: Payload, request_id: UUID) -> Answer:
    """A successful answer to `request`."""
    if request.protocol is Protocol.JSON:
        body = json.dumps(payload, default=_json_value, separators=(",", ":"))
        return Answer(200, body.encode(), "application/x-amz-json-1.1", str(request_id))
    action, namespace = request.action, _NAMESPACES.get(request.service, "")
    body = (
        f'<{action}Response xmlns="{namespace}"><{action}Result>{_xml(payload)}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
    return Answer(200, body.encode(), "text/xml", str(request_id))


def render_error(request: Request, error: AwsError, request_id: UUID) -> Answer:
    """An error in the form that the request's protocol gives it."""
    if request.protocol is Protocol.JSON:
        body = json.dumps({"__type": error.code, "Message": error.message, "message": error.message})
        return Answer(error.status, body.encode(), "application/x-amz-json-1.1", str(request_id))
    inner = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    if request.protocol is Protocol.S3:
        body = f"<Error>{inner}<RequestId>{request_id}</RequestId></Error>"
        return Answer(error.status, body.encode(), "application/xml", str(request_id))
    fault = "Sender" if error.status < 500 else "Receiver"  # noqa: PLR2004 - HTTP
    body = (
        f'<ErrorResponse xmlns="{_NAMESPACES.get(request.service, "")}"><Error><Type>{fault}</Type>{inner}</Error>'
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    )
    return Answer(error.status, body.encode(), "text/xml", str(request_id))


def iso(instant: datetime) -> str:
    """An instant as the query protocol writes it, in whole seconds."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"no JSON for {type(value).__name__}")


def _xml(value: object) -> str:
    if isinstance(value, Mapping):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items() if inner is not None)
    if isinstance(value, list | tuple):
        return "".join(f"<member>{_xml(inner)}</member>" for inner in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(iso(value) if isinstance(value, datetime) else str(value))
