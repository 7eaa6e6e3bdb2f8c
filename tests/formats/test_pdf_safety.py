"""The PDF report is the same every time, quiet, and harmless whatever a name holds."""

import hashlib
import io
import os
import subprocess
import sys
import textwrap
import unicodedata
from dataclasses import replace
from pathlib import Path

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.formats import pdf
from auditor.formats.pdf import printable, render_pdf
from tests.formats.pdf_reading import ODD_NAMES, THIEF, VIEWS, objects, rendered, squeezed
from tests.formats.sample_run import BREAKING_NAME, IMAGE_OWNER, SCRIPT_NAME

# ------------------------------------------------------------------------------------------------- always the same


PROGRAM = """
    import hashlib, logging, sys
    from auditor.formats.pdf import render_pdf
    from auditor.formats.view import build_view
    from tests.formats.sample_run import clean_run
    logging.basicConfig(level=logging.INFO)
    document = render_pdf(build_view(clean_run()))
    print(hashlib.sha256(document).hexdigest())
"""


def in_another_process(**environment: str) -> "subprocess.CompletedProcess[str]":
    """Render the clean run in a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        cwd=Path(__file__).resolve().parents[2],
        env=dict(os.environ) | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_bytes_depend_on_the_run_alone(tmp_path: Path) -> None:
    """Another process, hash seed, time zone and a machine without fonts give the same bytes, and nothing is printed."""
    (tmp_path / "fonts.conf").write_text(
        f'<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd">'
        f"<fontconfig><dir>{tmp_path}/none</dir><cachedir>{tmp_path}/cache</cachedir></fontconfig>"
    )
    done = in_another_process(
        PYTHONHASHSEED="4711", TZ="Asia/Tokyo", LC_ALL="C", FONTCONFIG_FILE=str(tmp_path / "fonts.conf")
    )
    assert done.stderr == ""
    assert done.stdout.split() == [hashlib.sha256(rendered("clean").document).hexdigest()]


def test_another_run_is_another_document() -> None:
    """The identifier in the file follows the run id."""
    view = VIEWS["clean"]()
    other = render_pdf(replace(view, manifest=replace(view.manifest, id="20261222T190000Z-000000")))
    with pikepdf.open(io.BytesIO(other)) as document, rendered("clean").open() as first:
        assert bytes(document.trailer.ID[0]) != bytes(first.trailer.ID[0])


# ------------------------------------------------------------------------------------------------- safety


@pytest.mark.parametrize("name", VIEWS)
def test_it_does_and_fetches_nothing(name: str) -> None:
    """No action, script, address, attachment or form is in the document, whatever a name holds."""
    forbidden = {
        "/JS",
        "/JavaScript",
        "/URI",
        "/Launch",
        "/GoToR",
        "/SubmitForm",
        "/OpenAction",
        "/AA",
        "/EmbeddedFiles",
    }
    with rendered(name).open() as document:
        for thing in objects(document):
            assert not forbidden & set(thing.keys())
            assert str(thing.get("/S")) not in forbidden
            assert thing.get("/Subtype") != "/Image"
        assert "/AcroForm" not in document.Root


@pytest.mark.parametrize("name", VIEWS)
def test_nothing_is_complained_of(name: str) -> None:
    """WeasyPrint warns of nothing: no character without a glyph, no unknown style, no picture without words."""
    assert rendered(name).log == ()


def test_hostile_names_are_just_names() -> None:
    """Markup, template syntax and references appear as they were written."""
    text = squeezed(" ".join(rendered("odd").pages()))
    for name in (THIEF, SCRIPT_NAME, BREAKING_NAME, IMAGE_OWNER, "</style><style>*{display:none}", "{{7*7}}", "&lt;"):
        assert squeezed(name) in text
    assert "root:x:0:0" not in text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("日本", r"\u{65E5}\u{672C}"),
        ("\u202egnp.exe\u202c", r"\u{202E}gnp.exe\u{202C}"),
        ("a\x00b\tc\nd", r"a\u{0}b\u{9}c\u{A}d"),
        ("🙂", r"\u{1F642}"),
        ("\ud800", r"\u{D800}"),
        ("e\u0301\u0301", "é\\u{301}"),
        ("zero\u200bwidth", r"zero\u{200B}width"),
        ("≤ → ✓", r"\u{2264} \u{2192} \u{2713}"),
        ("Zoe\u0308 Łódź", "Zoë Łódź"),
        ("Αθήνα", "Αθήνα"),
        ("Москва", "Москва"),
        ("plain+name=,.@_-", "plain+name=,.@_-"),
    ],
)
def test_what_cannot_be_shown_is_seen_all_the_same(name: str, shown: str) -> None:
    """A character without a glyph, or one that acts on its neighbours, appears as its code point."""
    assert printable(name) == shown
    if name in ODD_NAMES:
        assert f"r{squeezed(shown)}" in squeezed(" ".join(rendered("odd").pages()))


@given(st.text(st.characters()))
def test_printable_text_is_visible_and_stays_so(text: str) -> None:
    """No control, format or lone combining character is left, and printing twice changes nothing."""
    shown = printable(text)
    assert printable(shown) == shown
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me"}


@pytest.mark.parametrize(
    "markup",
    [
        "<img src=file:///etc/passwd>",
        "<img src=https://127.0.0.1/x.png>",
        "<link rel=attachment href=file:///etc/passwd>",
        "<link rel=stylesheet href=asset:fonts/../report.css>",
        "<style>@import 'file:///etc/passwd'</style>",
        "<p style='background: url(data:image/svg+xml,x)'>x</p>",
        "<object data=asset:/etc/passwd></object>",
    ],
)
def test_markup_that_got_through_could_fetch_nothing(markup: str) -> None:
    """The fetcher refuses whatever is not the package's own style sheet or font, and that ends the rendering."""
    weasyprint = pdf.load_weasyprint()
    with pytest.raises(weasyprint.urls.FatalURLFetchingError, match="not part of the report"):
        weasyprint.HTML(string=f"<html lang=en><title>x</title>{markup}", url_fetcher=pdf._fetch).write_pdf()


def test_missing_libraries_are_told_with_the_command(tmp_path: Path) -> None:
    """Where Pango cannot be loaded the error names it and the command that installs it; stdout stays clean."""
    (tmp_path / "libpango-1.0.so.0").write_bytes(b"not a library")
    done = in_another_process(LD_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith("auditor.errors.OutputError: libpango-1.0-0: the PDF report needs a system library")
    assert "sudo apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0" in last
