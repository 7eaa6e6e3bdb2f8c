"""The formats by name: each makes its file, and asking for one does not load another."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.formats.registry import FORMATS
from auditor.formats.view import ReportView, build_view
from tests.formats.sample_run import clean_run


@pytest.fixture(scope="module")
def view() -> ReportView:
    return build_view(clean_run())


def test_names_and_files() -> None:
    """The names of the command line, and the file names of the run folder."""
    assert [(name, made.name, made.file_name) for name, made in FORMATS.items()] == [
        ("html", "html", "report.html"),
        ("pdf", "pdf", "report.pdf"),
        ("csv", "csv", "findings.csv"),
        ("json", "json", "findings.json"),
        ("ics", "ics", "due.ics"),
        ("oscal", "oscal", "findings.oscal.json"),
        ("ocsf", "ocsf", "findings.ocsf.jsonl"),
        ("asff", "asff", "findings.asff.json"),
    ]


@pytest.mark.parametrize(
    ("name", "beginning"),
    [
        ("html", b"<!doctype html>"),
        ("pdf", b"%PDF-1.7"),
        ("csv", b"account_id,"),
        ("json", b'{\n  "schema"'),
        ("oscal", b'{\n  "assessment-results"'),
        ("asff", b"["),
    ],
)
def test_each_renders_the_view_to_bytes(view: ReportView, name: str, beginning: bytes) -> None:
    """A format's function takes the view and gives the whole file."""
    content = FORMATS[name].render(view)
    assert content[: len(beginning)].lower() == beginning.lower()


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after a statement."""
    program = (
        f"import sys\n{statement}\nimport json\nprint(json.dumps(sorted({{n.split('.')[0] for n in sys.modules}})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[2],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stdout))


def test_the_names_cost_nothing() -> None:
    """Asking for the names loads neither pandas nor jinja2 nor WeasyPrint."""
    loaded = loaded_by("from auditor.formats.registry import FORMATS; list(FORMATS)")
    assert not loaded & {"pandas", "jinja2", "weasyprint", "fontTools"}


@pytest.mark.parametrize(("name", "loads"), [("csv", False), ("json", False), ("html", False), ("pdf", True)])
def test_only_the_pdf_loads_weasyprint(name: str, *, loads: bool) -> None:
    """The others do without it: it takes time, and needs libraries that a machine may lack."""
    loaded = loaded_by(
        "from auditor.formats.registry import FORMATS\n"
        "from auditor.formats.view import build_view\n"
        "from tests.formats.sample_run import clean_run\n"
        f"FORMATS[{name!r}].render(build_view(clean_run()))"
    )
    assert ("weasyprint" in loaded) is loads
    assert ("cffi" in loaded) is loads
