"""An HTTP server on loopback in a thread of its own, quiet, with keep-alive, and gone without a trace when stopped."""

import io
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from threading import Lock, Thread
from typing import Any
from wsgiref.types import WSGIApplication

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer

LOOPBACK = "127.0.0.1"
"""The only address that the embedded organisation ever binds to."""

_POLL_SECONDS = 0.02
_STOP_SECONDS = 5.0


class LoopbackServer:
    """Serves a WSGI application on a free port of 127.0.0.1 from construction until `stop`."""

    def __init__(self, application: WSGIApplication, clock: Callable[[], datetime] | None = None) -> None:
        """Bind, listen and serve, with this time in answers' Date; raises OSError when no port is to be had."""
        self._server = _Server(LOOPBACK, 0, application, _Handler)
        self._server.clock = clock
        self._thread = Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="embedded-aws", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://{LOOPBACK}:{self._server.port}"

    def stop(self) -> None:
        """Stop listening, hang up on whoever is still connected, and wait for the threads to end."""
        self._server.shutdown()
        self._thread.join(_STOP_SECONDS)
        self._server.hang_up(_STOP_SECONDS)


class _Server(ThreadedWSGIServer):
    """Keeps track of its connections: with keep-alive they outlast their requests."""

    clock: Callable[[], datetime] | None = None

    def __init__(self, *args: Any) -> None:
        self._connections: dict[socket.socket, Thread] = {}
        self._lock = Lock()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._lock:
            self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken connection is the client's affair."""

    def hang_up(self, seconds: float) -> None:
        """End all open connections and wait so long for each of their threads."""
        with self._lock:
            open_connections = dict(self._connections)
        for connection in open_connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in open_connections.values():
            thread.join(seconds)


class _Handler(MotoRequestHandler):
    """Reads bodies whole and keeps connections; werkzeug's own closes each one and waits for stray bytes."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    """Head and body are two packets: without this, the second waits for the client's delayed acknowledgement."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """What the Date of an answer says: the clock's time, or the machine's."""
        clock = self.server.clock if isinstance(self.server, _Server) else None
        return super().date_time_string(clock().timestamp() if clock else timestamp)

    def run_wsgi(self) -> None:
        """Answer one request; a ConnectionError of the application drops the connection without an answer."""
        environ = self.make_environ()
        environ["wsgi.input"] = io.BytesIO(self._body(environ))
        head: tuple[str, list[tuple[str, str]]] = ("500 No Answer", [])

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Any:
            del exc_info
            nonlocal head
            head = status, headers
            return io.BytesIO().write

        chunks: Iterable[bytes] = self.server.app(environ, start_response)
        content = b"".join(chunks)
        if close := getattr(chunks, "close", None):
            close()
        self._send(*head, content)

    def _body(self, environ: dict[str, Any]) -> bytes:
        stream = environ["wsgi.input"]
        whole = stream.read() if environ.get("wsgi.input_terminated") else None
        body: bytes = whole if whole is not None else stream.read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["CONTENT_LENGTH"] = str(len(body))
        return body

    def _send(self, status: str, headers: list[tuple[str, str]], content: bytes) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() not in {"content-length", "connection", "date", "server"}:
                self.send_header(name, value)
        declared = next((value for name, value in headers if name.lower() == "content-length"), "")
        is_head = self.command == "HEAD"
        self.send_header("Content-Length", declared if is_head and declared else str(len(content)))
        self.end_headers()
        if not is_head:
            self.wfile.write(content)

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 - werkzeug's name
        """Nothing: the terminal belongs to the product."""
