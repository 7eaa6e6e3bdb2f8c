"""A time stamp of the signature, by an authority that an auditor trusts for reasons of his own."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import OutputError, UsageError
from auditor.evidence.bag import ATTESTATION, TIME_STAMP, BagError
from auditor.evidence.export import Wanted, export
from auditor.evidence.time_stamp import ask_for_time_stamp, check_time_stamp, load_roots
from auditor.evidence.verify import Trust, Verification, verify
from tests.conftest import NoProgress
from tests.evidence.authority import Authority, serving, stamp_within

Sign = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with serving(tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture(scope="module")
def stamped(run_folder: Path, sign: Sign, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a time stamp."""
    folder = tmp_path_factory.mktemp("stamped")
    stamp = lambda message: ask_for_time_stamp(authority.url, message)  # noqa: E731
    return export(run_folder, Wanted(folder, timedelta(days=400), sign=sign, stamp=stamp), NoProgress()).path


def verified(bundle: Path, trust: Trust) -> Verification:
    """Without judging again."""
    return verify(bundle, replace(trust, replays=False), NoProgress())


def test_a_time_stamp_says_when_the_signature_was_there(stamped: Path, trust: Trust, authority: Authority) -> None:
    """With the authority's root it is confirmed; without one it is said that nobody vouches for it."""
    confirmed = verified(stamped, replace(trust, authorities=load_roots(authority.root)))
    told = {check.name: check for check in confirmed.checks}["time stamp"]
    assert confirmed.problem is None
    assert told.told.startswith("The authority confirms")
    alone = {check.name: check for check in verified(stamped, trust).checks}["time stamp"]
    assert (alone.holds, alone.was_made) == (True, False)


def test_another_authority_or_none_is_a_problem(stamped: Path, bundle: Path, trust: Trust, tmp_path: Path) -> None:
    """A stamp that is asked for has to be there, and by whom one trusts."""
    with serving(tmp_path) as other:
        roots = load_roots(other.root)
    for path, words in ((stamped, "not by an authority"), (bundle, "no time stamp")):
        problem = verified(path, replace(trust, authorities=roots)).problem
        assert problem is not None
        assert words in problem.told


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_changed_time_stamp_is_found(stamped: Path, trust: Trust, authority: Authority, data: st.DataObject) -> None:
    """Any bytes: an answer, never an error; only the very same is good."""
    before = (stamped / TIME_STAMP).read_bytes()
    at = data.draw(st.integers(0, len(before) - 1))
    made = before[:at] + data.draw(st.binary(max_size=3)) + before[at + data.draw(st.integers(0, 3)) :]
    (stamped / TIME_STAMP).write_bytes(made)
    try:
        found = verified(stamped, replace(trust, authorities=load_roots(authority.root)))
        assert (found.problem is None) == (made == before)
    finally:
        (stamped / TIME_STAMP).write_bytes(before)


def test_no_byte_of_a_time_stamp_can_be_changed(stamped: Path, authority: Authority, tmp_path: Path) -> None:
    """Each of them, one bit and then all of it."""
    before, message = (stamped / TIME_STAMP).read_bytes(), (stamped / ATTESTATION).read_bytes()
    roots = load_roots(authority.root)
    passed = []
    for at, change in product(range(len(before)), (0x01, 0x02, 0xFF)):
        made = bytearray(before)
        made[at] ^= change
        (tmp_path / TIME_STAMP).write_bytes(made)
        with suppress(BagError):
            check_time_stamp(tmp_path, message, roots)
            passed.append((at, change))
    assert passed == []


@pytest.mark.parametrize("instead", [b"", b"\x30\x03\x02\x01\x02", b"<html>not here</html>"])
def test_what_is_no_time_stamp_is_not_kept(authority: Authority, instead: bytes) -> None:
    """The authority answers with something else."""
    authority.instead = instead
    try:
        with pytest.raises(OutputError, match=r"time stamp|did not stamp"):
            ask_for_time_stamp(authority.url, b"message")
    finally:
        authority.instead = None


def test_an_answer_about_something_else_is_not_kept(authority: Authority) -> None:
    """A stamp that was made before, of another message."""
    authority.instead = ask_for_time_stamp(authority.url, b"another message")
    try:
        with pytest.raises(OutputError, match="did not stamp what it was asked"):
            ask_for_time_stamp(authority.url, b"message")
    finally:
        authority.instead = None
    with pytest.raises(OutputError, match="gave no time stamp"):
        ask_for_time_stamp("http://127.0.0.1:9/", b"message")
    with pytest.raises(UsageError):
        ask_for_time_stamp("file:///etc/passwd", b"message")


@pytest.mark.parametrize(
    "url",
    [
        *("http://[::1/", "http://127.0.0.1:port/", "http://127.0.0.1:99999/", "https://", "127.0.0.1", ""),
        *("http://127.0.0.1/a b", "http://127.0.0.1/\n", "http://127.0.0.1/ü", "http://127.0.0.1:0/"),
    ],
)
def test_what_is_no_address_is_not_asked(url: str) -> None:
    """Told as wrong usage."""
    with pytest.raises(UsageError, match="no address"):
        ask_for_time_stamp(url, b"message")


@pytest.mark.parametrize(
    "answer", [b"no HTTP at all\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"]
)
def test_what_is_no_http_is_no_time_stamp(answer: bytes) -> None:
    """Whatever listens there."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(answer)

    with TCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(OutputError, match="gave no time stamp"):
            ask_for_time_stamp(f"http://127.0.0.1:{server.server_address[1]}/", b"message")


def test_a_stamp_from_before_there_was_anything_is_refused(stamped: Path) -> None:
    """Nobody stamps today what is made tomorrow, nor was anything stamped tomorrow."""
    message, second = (stamped / ATTESTATION).read_bytes(), timedelta(seconds=1)
    at = check_time_stamp(stamped, message, ()).at
    assert check_time_stamp(stamped, message, (), (at, at)).at == at
    with pytest.raises(BagError, match="nothing to stamp"):
        check_time_stamp(stamped, message, (), (at + second, at + second))
    with pytest.raises(BagError, match="yet to come"):
        check_time_stamp(stamped, message, (), (at - second, at - second))


@pytest.mark.parametrize(("start", "end"), [(-9, -1), (1, 9)])
def test_an_authority_whose_certificate_is_not_good_at_the_time_is_refused(
    tmp_path: Path, start: int, end: int
) -> None:
    """Over already, or not begun."""
    now = datetime.now(UTC)
    with serving(tmp_path) as other:
        good = ask_for_time_stamp(other.url, b"message")
        stamp_within(other.folder, now + timedelta(days=start), now + timedelta(days=end))
        bad = ask_for_time_stamp(other.url, b"message")
        roots = load_roots(other.root)
    (tmp_path / TIME_STAMP).write_bytes(good)
    assert check_time_stamp(tmp_path, b"message", roots).is_trusted
    (tmp_path / TIME_STAMP).write_bytes(bad)
    with pytest.raises(BagError, match="not by an authority"):
        check_time_stamp(tmp_path, b"message", roots)


def test_an_authority_that_nobody_can_check_is_refused_at_once(tmp_path: Path) -> None:
    """Not when the bundle is verified, years later."""
    with serving(tmp_path) as other:
        config = other.folder / "openssl.cnf"
        config.write_text(config.read_text().replace("signer_digest = sha256", "signer_digest = sha1"))
        with pytest.raises(OutputError, match="Nobody could check"):
            ask_for_time_stamp(other.url, b"message")


def test_roots_that_are_none_are_refused(tmp_path: Path) -> None:
    """A file without certificates."""
    (tmp_path / "roots.pem").write_text("nothing")
    with pytest.raises(UsageError, match="no certificates"):
        load_roots(tmp_path / "roots.pem")
