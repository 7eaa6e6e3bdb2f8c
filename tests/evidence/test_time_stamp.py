"""A time stamp of the signature, by an authority that an auditor trusts for reasons of his own."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.errors import OutputError, UsageError
from auditor.evidence.bag import TIME_STAMP
from auditor.evidence.export import Wanted, export
from auditor.evidence.time_stamp import ask_for_time_stamp, load_roots
from auditor.evidence.verify import Trust, Verification, verify
from tests.conftest import NoProgress
from tests.evidence.authority import Authority, serving

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


def test_roots_that_are_none_are_refused(tmp_path: Path) -> None:
    """A file without certificates."""
    (tmp_path / "roots.pem").write_text("nothing")
    with pytest.raises(UsageError, match="no certificates"):
        load_roots(tmp_path / "roots.pem")
