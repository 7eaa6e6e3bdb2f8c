"""Bytes of a request → a call; an answer or a refusal → bytes. AWS's Query protocol and its JSON 1.1."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from benchmarks.endpoint.cloud import RefusedError

SERVER_ERROR = 500

_TARGET = b"\r\nx-amz-target:"
_CREDENTIAL = b"Credential="
_TO_ORGANIZATIONS = {
    "AccessDenied": (400, "AccessDeniedException"),
    "Throttling": (400, "TooManyRequestsException"),
    "ServiceFailure": (500, "ServiceException"),
    "InvalidClientTokenId": (400, "UnrecognizedClientException"),
    "ExpiredToken": (400, "ExpiredTokenException"),
    "InvalidAction": (400, "UnknownOperationException"),
}
"""Organizations' own status and code for what STS and IAM call otherwise."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    """What a request says, whoever sent it."""

    action: str
    params: Mapping[str, Any]
    access_key_id: str
    is_json: bool


def read(head: bytes, body: bytes) -> Request:
    """The call in a request; an action that is not named is empty.

    Raises:
        ValueError: the body is not what its protocol asks for.
    """
    lowered = head.lower()
    target = lowered.find(_TARGET)
    if target >= 0:
        end = head.find(b"\r\n", target + 2)
        name = head[target + len(_TARGET) : None if end < 0 else end]
        action = name.rpartition(b".")[2].decode("ascii").strip()
        return Request(action, json.loads(body or b"{}"), _key_id(head), is_json=True)
    pairs = (pair.partition("=") for pair in body.decode("ascii").split("&"))
    params = {name: unquote_plus(value) if "%" in value or "+" in value else value for name, _, value in pairs}
    return Request(params.get("Action", ""), params, _key_id(head), is_json=False)


def _key_id(head: bytes) -> str:
    start = head.find(_CREDENTIAL)
    if start < 0:
        return ""
    start += len(_CREDENTIAL)
    return head[start : head.find(b"/", start)].decode("ascii")


def query_answer(action: str, namespace: str, result: str, request_id: str) -> bytes:
    """The answer to a query around its result."""
    return _response(
        200,
        "text/xml",
        request_id,
        f'<{action}Response xmlns="{namespace}"><{action}Result>{result}</{action}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>",
    )


def json_answer(result: Mapping[str, Any], request_id: str) -> bytes:
    """The answer of Organizations, and of the endpoint's own paths."""
    return _response(200, "application/x-amz-json-1.1", request_id, json.dumps(result))


def refusal(refused: RefusedError, request_id: str, *, is_json: bool) -> bytes:
    """An error in the words of its protocol."""
    if is_json:
        status, code = _TO_ORGANIZATIONS.get(refused.code, (refused.status, refused.code))
        said = json.dumps({"__type": code, "message": refused.message})
        return _response(status, "application/x-amz-json-1.1", request_id, said)
    side = "Receiver" if refused.status >= SERVER_ERROR else "Sender"
    return _response(
        refused.status,
        "text/xml",
        request_id,
        f"<ErrorResponse><Error><Type>{side}</Type><Code>{refused.code}</Code>"
        f"<Message>{escape(refused.message)}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
    )


def garbage(request_id: str) -> bytes:
    """An answer that is neither XML nor JSON."""
    return _response(200, "text/html", request_id, "<html><p>This is not AWS</html")


def _response(status: int, content_type: str, request_id: str, body: str) -> bytes:
    content = body.encode()
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: {content_type}\r\n"
        f"x-amzn-RequestId: {request_id}\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode("ascii") + content
