"""What the tests of the formats for other tools share: runs to try, and what every form must have of them."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

from auditor.formats.findings_json import render_findings_json
from auditor.formats.view import ReportView, build_view
from auditor.tables import Run
from tests.formats.governed_run import governed_run
from tests.formats.sample_run import clean_run, empty_run, sample_run

RUNS = ("sample", "complete", "clean", "empty", "governed", "governed with a gap")


@cache
def view_of(name: str) -> ReportView:
    """The view of one of the runs."""
    made: dict[str, Callable[[], Run]] = {
        "sample": sample_run,
        "complete": lambda: sample_run(complete=True),
        "clean": clean_run,
        "empty": empty_run,
        "governed": governed_run,
        "governed with a gap": lambda: governed_run(missing=True),
    }
    return build_view(made[name]())


def outcomes_of(view: ReportView) -> Counter[str]:
    """How many findings of findings.json have which outcome; each account that was not audited is one unknown."""
    content: Any = json.loads(render_findings_json(view))
    counts = Counter(finding["outcome"] for finding in content["findings"])
    counts["unknown"] += len(content["coverage"]["not_audited"])
    return +counts


def named(name: str) -> ReportView:
    """A view in which whatever people may name has this name."""
    view = view_of("sample")
    finding = replace(view.findings[1], user=name, owner=name, account_name=name, description=name, reason=name)
    gap = replace(view.not_audited[0], account_name=name, reason=name)
    manifest = replace(view.manifest, organisation=name, scope=name)
    return replace(view, manifest=manifest, findings=(finding,), not_audited=(gap,), organisation=name)


def texts_of(content: Any) -> list[str]:
    """Every text in a JSON document."""
    if isinstance(content, dict):
        return [text for value in content.values() for text in texts_of(value)]
    if isinstance(content, list):
        return [text for value in content for text in texts_of(value)]
    return [content] if isinstance(content, str) else []
