"""The server: bare asyncio on loopback, HTTP/1.1 with keep-alive and without pipelining, one thread."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any

from benchmarks.endpoint import wire
from benchmarks.endpoint.cloud import Call, Cloud, RefusedError
from benchmarks.endpoint.counts import Account, Tally
from benchmarks.endpoint.organizations import ORGANIZATIONS
from benchmarks.endpoint.query import IAM, STS
from benchmarks.endpoint.settings import Fault, Settings, rules_from

LOOPBACK = "127.0.0.1"
"""The only address that is ever listened on."""

LARGEST_REQUEST = 1 << 20
"""Bytes; who sends more is hung up on."""

BACKLOG = 1024

_NAMESPACES = {
    **dict.fromkeys(STS, "https://sts.amazonaws.com/doc/2011-06-15/"),
    **dict.fromkeys(IAM, "https://iam.amazonaws.com/doc/2010-05-08/"),
}
_QUERIES = {**STS, **IAM}
_REFUSALS: Mapping[Fault | None, RefusedError] = {
    Fault.DENIED: RefusedError(403, "AccessDenied", "A rule of the endpoint denies this call."),
    Fault.THROTTLED: RefusedError(400, "Throttling", "Rate exceeded"),
    Fault.EXPIRED: RefusedError(410, "ReportExpired", "The most recent credential report has expired"),
    Fault.FAILURE: RefusedError(500, "ServiceFailure", "A rule of the endpoint fails this call."),
}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Server:
    """Answers calls, counts them and does to them what the settings say."""

    def __init__(self, settings: Settings) -> None:
        """Listens nowhere yet."""
        self.settings = settings
        self.cloud = Cloud(settings)
        self.tally = Tally(settings)
        self._calls = 0
        self._slowed: dict[int, tuple[asyncio.TimerHandle, Callable[[], None]]] = {}

    async def listen(self, port: int) -> asyncio.Server:
        """Listen on a port of loopback, 0 for any that is free; raises OSError where it is taken."""
        self._loop = asyncio.get_running_loop()
        return await self._loop.create_server(lambda: _Connection(self), LOOPBACK, port, backlog=BACKLOG)

    def receive(self, connection: "_Connection", head: bytes, body: bytes) -> None:
        """Take a whole request, and have it answered now or when its time has come."""
        self._calls += 1
        request_id = f"{self._calls:08x}-0000-4000-8000-000000000000"
        if not head.startswith(b"POST / "):
            connection.send(self._own(head, body, request_id))
            return
        try:
            request = wire.read(head, body)
        except (ValueError, AttributeError):
            connection.send(wire.refusal(RefusedError(400, "MalformedInput", "unreadable"), request_id, is_json=False))
            return
        number = self.cloud.account_of(request.access_key_id)
        call = Call(request.action, request.params, request.access_key_id, number, self._about(request, number))
        account = self.tally.account(call.about)
        self.tally.begin(account, call.action)
        fault, slow = account.ruling(call.action)
        if fault is None and not self._lets_pass(account, call):
            fault = Fault.THROTTLED
        elif fault is not None:
            self.tally.faults[fault] += 1
        answer = self._answer(call, fault, request_id, is_json=request.is_json)
        if slow > 0:
            self._slow_down(slow, partial(self._finish, connection, account, fault, answer))
        elif self.settings.latency > 0:
            self._loop.call_later(self.settings.latency, self._finish, connection, account, fault, answer)
        else:
            self._finish(connection, account, fault, answer)

    def _slow_down(self, seconds: float, finish: Callable[[], None]) -> None:
        """Answer later, or when the rules change."""
        number = self._calls

        def now() -> None:
            del self._slowed[number]
            finish()

        self._slowed[number] = self._loop.call_later(self.settings.latency + seconds, now), now

    def _about(self, request: wire.Request, number: int) -> int:
        """The account that a call is for."""
        if request.action != "AssumeRole":
            return number
        account_id = str(request.params.get("RoleArn", "")).removeprefix("arn:aws:iam::").partition(":")[0]
        return self.cloud.company.account_number(account_id) or 0

    def _lets_pass(self, account: Account, call: Call) -> bool:
        """Whether neither the account's bucket nor chance throttles the call; IAM alone has buckets by account."""
        if call.action in IAM:
            now = self._loop.time()
            account.clock_in(now)
            if not account.has_token(now, self.settings):
                self.tally.throttled["rate"] += 1
                return False
        share = self.settings.throttled
        if share > 0 and self._chance(account, call) < share:
            self.tally.throttled["random"] += 1
            return False
        return True

    def _chance(self, account: Account, call: Call) -> float:
        """From 0 to 1, by seed, account and its calls so far: the same however the accounts' calls interleave."""
        what = f"{self.settings.seed}/{call.about}/{account.actions.total()}".encode()
        return int.from_bytes(blake2b(what, digest_size=4).digest(), "big") / 2**32

    def _answer(self, call: Call, fault: Fault | None, request_id: str, *, is_json: bool) -> bytes:
        if fault is Fault.GARBAGE:
            return wire.garbage(request_id)
        refused = _REFUSALS.get(fault)
        if refused is None:
            try:
                return self._true_answer(call, request_id, is_json=is_json)
            except RefusedError as error:
                refused = error
            except ValueError as error:
                refused = RefusedError(400, "ValidationError", str(error))
        return wire.refusal(refused, request_id, is_json=is_json)

    def _true_answer(self, call: Call, request_id: str, *, is_json: bool) -> bytes:
        known: Mapping[str, object] = ORGANIZATIONS if is_json else _QUERIES
        if call.action not in known:
            raise RefusedError(400, "InvalidAction", f"Could not find operation {call.action}")
        self.cloud.check_credentials(call.access_key_id)
        if is_json:
            return wire.json_answer(ORGANIZATIONS[call.action](self.cloud, call), request_id)
        result = _QUERIES[call.action](self.cloud, call)
        return wire.query_answer(call.action, _NAMESPACES[call.action], result, request_id)

    def _finish(self, connection: "_Connection", account: Account, fault: Fault | None, answer: bytes) -> None:
        self.tally.end(account)
        match fault:
            case Fault.RESET:
                connection.reset()
            case Fault.HALF:
                connection.send(answer[: len(answer) // 2])
                connection.close()
            case _:
                connection.send(answer)

    def _own(self, head: bytes, body: bytes, request_id: str) -> bytes:
        """The endpoint's own paths: counts, and what can be changed on the way."""
        method, path = head.partition(b"\r\n")[0].split(b" ")[:2]
        done: Mapping[str, Any] = {}
        match method, path:
            case b"GET", b"/_/counts" | b"/_/counts?accounts":
                by_account = path.endswith(b"accounts")
                done = self.tally.report(by_account=by_account) | {"cpu_seconds": time.process_time()}
            case b"POST", b"/_/reset":
                self.tally.reset()
                self.cloud.forget_reports()
            case b"POST", b"/_/rules":
                try:
                    self.tally.change_rules(rules_from(json.loads(body)))
                except (TypeError, ValueError) as error:
                    return wire.refusal(RefusedError(400, "BadRules", str(error)), request_id, is_json=True)
                for timer, finish in tuple(self._slowed.values()):
                    timer.cancel()
                    finish()
            case _:
                return wire.refusal(RefusedError(404, "NoSuchPath", "There is no such path."), request_id, is_json=True)
        return wire.json_answer(done, request_id)


class _Connection(asyncio.Protocol):
    """One client's connection; gathers bytes until a request is whole."""

    __slots__ = ("_received", "_server", "_transport")

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        size = end + 4 + _content_length(received[: end + 2]) if end >= 0 else 0
        if len(received) > LARGEST_REQUEST or size > LARGEST_REQUEST:
            self._transport.abort()
        elif end < 0 or len(received) < size:
            self._received = received
        else:
            self._received = b""
            self._server.receive(self, received[: end + 2], received[end + 4 : size])

    def send(self, answer: bytes) -> None:
        """Send an answer, unless the client has gone."""
        if not self._transport.is_closing():
            self._transport.write(answer)

    def close(self) -> None:
        """Hang up when all is sent."""
        self._transport.close()

    def reset(self) -> None:
        """Hang up with a reset instead of an end."""
        if not self._transport.is_closing():
            raw: socket.socket = self._transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"\r\ncontent-length:")
    return int(lowered[at + 17 : lowered.find(b"\r\n", at + 17)]) if at >= 0 else 0
