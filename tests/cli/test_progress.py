"""What a log is told of a run that takes long."""

import time

import pytest

from auditor.cli.progress import PlainProgress


def test_a_log_is_told_how_far_it_is_though_nothing_happens(capsys: pytest.CaptureFixture[str]) -> None:
    """An account that keeps everybody waiting is named again and again; silence would look like a hang."""
    progress = PlainProgress(silence=0.05)
    progress.phase("Auditing accounts", 1000)
    progress.status("1,000 requested, 0 not audited, waiting for 111122223333")
    told = ""
    deadline = time.monotonic() + 30
    while told.count("waiting for 111122223333") < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
        told += capsys.readouterr().err
    progress.close()
    assert told.count("  0 of 1,000  1,000 requested, 0 not audited, waiting for 111122223333\n") >= 2


def test_a_phase_that_has_no_steps_goes_on_being_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes: there is no rate of nothing."""
    monkeypatch.setattr("auditor.cli.progress.SETTLED", 0.0)
    progress = PlainProgress(silence=0.02)
    progress.phase("Archiving the run")
    told = ""
    deadline = time.monotonic() + 30
    while told.count("\n") < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
        told += capsys.readouterr().err
    progress.close()
    assert told.count("  goes on, 0 s so far\n") >= 3
    assert "Traceback" not in told


def test_a_log_is_told_of_each_step_of_a_short_phase_only(capsys: pytest.CaptureFixture[str]) -> None:
    """Twenty lines a phase at most, and the last of them says that all is done."""
    for total in (3, 1000):
        progress = PlainProgress()
        progress.phase("Auditing accounts", total)
        for number in range(total):
            progress.advance(f"account-{number}")
        progress.close()
    short, long = capsys.readouterr().err.split("Auditing accounts")[1:]
    assert [line for line in short.splitlines() if "account-" in line] == [
        "  1 of 3  account-0",
        "  2 of 3  account-1",
        "  3 of 3  account-2",
    ]
    assert "account-" not in long
    assert len(long.splitlines()[1:]) == 20
    assert long.splitlines()[-1].startswith("  1,000 of 1,000")
