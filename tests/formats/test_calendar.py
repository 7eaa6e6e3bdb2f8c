"""due.ics: what any calendar takes, whatever the names, and the same events from run to run."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.formats.calendar import ABOUT, LINE, folded, render_calendar
from auditor.formats.view import FindingView, ReportView, build_view
from auditor.model import ControlId
from auditor.policy import CONTROLS, NOT_LOOKED_UP
from tests.formats.sample_run import AS_OF, sample_run

DUE = datetime(2026, 12, 24, 23, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def view() -> ReportView:
    """A view of a run whose findings the tests replace."""
    return build_view(sample_run())


def finding(
    view: ReportView,
    user: str = "ann",
    owner: str | None = "payments",
    due_at: datetime = DUE,
    control: ControlId = ControlId.KEY_AGE,
) -> FindingView:
    """What falls due, of a user."""
    limit = "more than 90 days"
    return replace(view.upcoming[0], user=user, owner=owner, due_at=due_at, control=control.value, limit=limit)


def lines(content: bytes) -> list[str]:
    """The unfolded lines; every one of them ended properly and none is too long (RFC 5545, 3.1)."""
    text = content.decode("utf-8")
    assert text.endswith("\r\n")
    raw = text.split("\r\n")[:-1]
    for line in raw:
        assert len(line.encode()) <= 75
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)
    return re.sub("\r\n ", "", text).split("\r\n")[:-1]


def unescaped(text: str) -> str:
    """The text that a value of the type TEXT stands for."""
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] in "nN" else found[1], text)


def events(content: bytes) -> Iterator[dict[str, str]]:
    """The properties of each event; a property stands once."""
    inside: dict[str, str] | None = None
    for line in lines(content):
        name, _, value = line.partition(":")
        if line == "BEGIN:VEVENT":
            inside = {}
        elif line == "END:VEVENT":
            assert inside
            yield inside
            inside = None
        elif inside is not None:
            assert name not in inside
            inside[name.partition(";")[0]] = value


# ------------------------------------------------------------------------------------------------- lines


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("é漢😀"), max_size=300))
def test_unfolding_gives_the_line_back(text: str) -> None:
    """No line is over 75 octets, none breaks a character, and only what folding put there goes away again."""
    parts = folded(text).encode().split(b"\r\n")
    assert all(len(part) <= LINE for part in parts)
    assert all(part.decode("utf-8") for part in parts[1:])
    assert all(part.startswith(b" ") for part in parts[1:])
    assert b"".join([parts[0], *(part[1:] for part in parts[1:])]).decode("utf-8") == text


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_a_line_is_as_long_as_may_be(letter: str) -> None:
    """75 octets stand on one line, and one more makes two."""
    most = LINE // len(letter.encode())
    assert "\r\n" not in folded(letter * most)
    assert folded(letter * (most + 1)).count("\r\n") == 1


# ------------------------------------------------------------------------------------------------- events


def test_a_day_and_an_owner_make_an_event(view: ReportView) -> None:
    """Of the whole day in UTC; those of another owner or another day have one of their own."""
    due = [
        finding(view, "zoe"),
        finding(view, "ann", due_at=DUE - timedelta(hours=23)),
        finding(view, "bob", owner=None),
        finding(view, "cat", due_at=DUE + timedelta(minutes=30)),
    ]
    found = list(events(render_calendar(replace(view, upcoming=tuple(due)))))
    assert [(event["DTSTART"], event["DTEND"], event["SUMMARY"]) for event in found] == [
        ("20261224", "20261225", f"1 access key falls due ({NOT_LOOKED_UP})"),
        ("20261224", "20261225", "2 access keys fall due (payments)"),
        ("20261225", "20261226", "1 access key falls due (payments)"),
    ]
    assert {event["DTSTAMP"] for event in found} == {"20261122T190000Z"}
    assert len({event["UID"] for event in found}) == 3
    said = unescaped(found[1]["DESCRIPTION"]).splitlines()
    assert len(said) == 2
    assert all("more than 90 days fails" in line for line in said)


def test_due_dates_by_use_are_left_out(view: ReportView) -> None:
    """They move with every use, so the event would never come true."""
    dated = {ControlId.KEY_AGE, ControlId.INACTIVE_KEY_RETAINED, ControlId.SERVICE_CREDENTIAL_AGE}
    for control in ControlId:
        content = render_calendar(replace(view, upcoming=(finding(view, control=control),)))
        assert len(list(events(content))) == (control in dated)


def test_an_event_keeps_its_uid_from_run_to_run(view: ReportView) -> None:
    """A day later, with more keys and of another version: the same event, which replaces the one before."""
    (before,) = events(render_calendar(replace(view, upcoming=(finding(view),))))
    manifest = replace(view.manifest, id="another", as_of=AS_OF + timedelta(days=1), tool_version="9.9.9")
    later = replace(view, manifest=manifest, upcoming=(finding(view), finding(view, "bob")))
    (after,) = events(render_calendar(later))
    assert after["UID"] == before["UID"]
    assert after["DTSTAMP"] > before["DTSTAMP"]
    (elsewhere,) = events(render_calendar(replace(later, organisation="Another company")))
    assert elsewhere["UID"] != after["UID"]


def test_the_same_view_gives_the_same_bytes(view: ReportView) -> None:
    """Nothing of the machine or the moment is in the calendar."""
    assert render_calendar(view) == render_calendar(build_view(sample_run()))


def test_many_of_a_day_are_counted(view: ReportView) -> None:
    """Fifty are told one by one, and how many more there are."""
    due = tuple(finding(view, f"u{number:03}") for number in range(120))
    (event,) = events(render_calendar(replace(view, upcoming=due)))
    said = unescaped(event["DESCRIPTION"]).splitlines()
    assert (len(said), said[-1]) == (51, "and 70 more keys")


def test_a_run_that_tells_no_limits_has_a_calendar(view: ReportView) -> None:
    """An older one: its lines leave the limit out."""
    (event,) = events(render_calendar(replace(view, upcoming=(replace(finding(view), limit=None),))))
    said = unescaped(event["DESCRIPTION"])
    assert said.endswith(CONTROLS[ControlId.KEY_AGE].title)


def test_a_calendar_that_does_not_reach_90_days_says_so(view: ReportView) -> None:
    """Where more falls due than a run tells one by one."""

    def about(shown: int, total: int) -> str:
        ahead = replace(view, forecast=replace(view.forecast, shown=shown, total=total))
        said = dict(line.split(":", 1) for line in lines(render_calendar(ahead)) if line.startswith("X-WR-CALDESC"))
        return unescaped(said["X-WR-CALDESC"])

    assert about(5_000, 12_345).endswith(
        " Of 12,345 due dates, those by use among them, only the soonest 5,000 were looked at."
    )
    assert about(5_000, 5_000) == ABOUT


def test_an_empty_calendar_is_valid(view: ReportView) -> None:
    """A calendar must hold a component (RFC 5545, 3.6); without events it holds a time zone."""
    found = lines(render_calendar(replace(view, upcoming=())))
    assert found[0] == "BEGIN:VCALENDAR"
    assert found[-1] == "END:VCALENDAR"
    assert [line for line in found if line.startswith("BEGIN:")][1] == "BEGIN:VTIMEZONE"
    begun = [line.partition(":")[2] for line in found if line.startswith("BEGIN:")]
    ended = [line.partition(":")[2] for line in found if line.startswith("END:")]
    assert sorted(begun) == sorted(ended)
    for required in ("VERSION:2.0", "PRODID:", "TZID:UTC"):
        assert sum(line.startswith(required) for line in found) == 1


# ------------------------------------------------------------------------------------------------- hostile names

HOSTILE = [
    "a;b,c\\d:e",
    "x\r\nEND:VEVENT\r\nBEGIN:VALARM",
    "x\nATTACH:http://example.com",
    "\\n\\",
    "tab\there\x00\x7f\x85\u2028",
    "=cmd|' /C calc'!A0",
    "😀" * 60,
    "\ud800 lone",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_never_more_than_a_text(view: ReportView, name: str) -> None:
    """It ends no line and no value, and comes back without what no line may hold."""
    upcoming = (finding(view, name, owner=name), finding(view, "plain"))
    content = render_calendar(replace(view, upcoming=upcoming, organisation=name))
    found = list(events(content))
    assert len(found) == 2
    assert sum(line.startswith(("BEGIN:", "END:", "ATTACH")) for line in lines(content)) == 6
    shown = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800]", "", name)
    assert f"1 access key falls due ({shown})" in {unescaped(event["SUMMARY"]) for event in found}
    assert any(shown in unescaped(event["DESCRIPTION"]) for event in found)


@given(st.text(max_size=80))
def test_any_name_makes_a_calendar(name: str) -> None:
    """Whatever a text holds, every line is whole and the number of events stands."""
    upcoming = (finding(VIEW, name, owner=name or None),)
    assert len(list(events(render_calendar(replace(VIEW, upcoming=upcoming, organisation=name))))) == 1


VIEW = build_view(sample_run())
