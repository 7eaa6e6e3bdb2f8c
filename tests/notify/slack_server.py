"""Slack's Web API on loopback, as far as a notice needs it: one channel, its messages, and faults."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

TOKEN = "xoxb-canary-4711"
BOT = "B1"


class Slack:
    """What was posted, what was called, and what is to go wrong."""

    def __init__(self) -> None:
        """Nothing was posted."""
        self.messages: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()
        self.faults: list[str] = []
        """For the next posts: ratelimited, lost (posted, and then the connection is cut), failed, channel_not_found."""
        self.may_look = True
        self.users: dict[str, dict[str, Any]] = {}
        self.url = ""

    def reply(self, user: str, text: str, seconds: float = 1, to: str = "", **more: Any) -> None:
        """Somebody replies to a message, or to the first, so long after it."""
        head = to or str(self.messages[0]["ts"])
        ts = f"{float(head) + seconds:.6f}"
        self.messages.append({"user": user, "text": text, "ts": ts, "thread_ts": head, **more})

    def _asked(self, method: str, said: dict[str, Any]) -> dict[str, Any] | None:
        """What is there; None for another kind of call."""
        match method:
            case "auth.test":
                return {"ok": True, "bot_id": BOT, "user_id": "UBOT"}
            case "users.info":
                return {"ok": True, "user": {"id": said["user"]} | self.users.get(str(said["user"]), {})}
            case "conversations.replies":
                first = int(said.get("cursor") or 0)
                thread = [one for one in self.messages if said["ts"] in {one["ts"], one.get("thread_ts")}]
                more = {"next_cursor": str(first + 2)} if len(thread) > first + 2 else {}
                return {"ok": True, "messages": thread[first : first + 2], "response_metadata": more}
            case "conversations.history" | "conversations.open":
                return self._looked(method, said)
            case _:
                return None

    def _looked(self, method: str, said: dict[str, Any]) -> dict[str, Any]:
        """A room's last messages, or the room of a person's direct ones: which a person's id does not stand for."""
        if not self.may_look:
            return {"ok": False, "error": "missing_scope"}
        if method == "conversations.open":
            return {"ok": True, "channel": {"id": f"D{said['users']}"}}
        if str(said["channel"]).startswith("U"):
            return {"ok": False, "error": "channel_not_found"}
        there = [one for one in self.messages if one.get("channel", said["channel"]) == said["channel"]]
        return {"ok": True, "messages": there[::-1][: int(said["limit"])]}

    def answer(self, method: str, said: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body; a status of 0 cuts the connection."""
        self.calls[method] += 1
        asked = self._asked(method, said)
        if asked is not None:
            return 200, asked
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "ratelimited":
            return 429, {"ok": False, "error": "ratelimited"}
        if fault == "failed":
            return 500, {}
        if fault == "channel_not_found":
            return 200, {"ok": False, "error": fault}
        ts = f"{datetime.now(UTC).timestamp():.6f}"
        if str(said["channel"]).startswith("U"):  # a person's direct messages
            said["channel"] = f"D{said['channel']}"
        self.messages.append({name: _parsed(value) for name, value in said.items()} | {"ts": ts, "bot_id": BOT})
        return (0, {}) if fault == "lost" else (200, {"ok": True, "channel": said["channel"], "ts": ts})


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) and value[:1] in {"{", "["} else value


@contextmanager
def serving() -> Iterator[Slack]:
    """Slack, until the block ends."""
    slack = Slack()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            is_json = "json" in self.headers.get("Content-Type", "")
            said = json.loads(body) if is_json else dict(parse_qsl(body))
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            status, told = slack.answer(self.path.rpartition("/")[2], said)
            if not status:
                self.close_connection = True
                self.connection.close()
                return
            content = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - the server's name for it

        def log_message(self, *_arguments: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    slack.url = f"http://127.0.0.1:{server.server_port}/api/"
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
