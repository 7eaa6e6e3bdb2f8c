"""What pydantic finds, in our words."""

import difflib
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from auditor.config.words import KeyPath, Problem, found

SENTENCES = {
    "form": "{sentence}",
    "missing": "is missing and has no default",
    "extra_forbidden": "unknown key; {suggestion}",
    "model_type": "found {found}; wanted a table",
    "tuple_type": "found {found}; wanted a list in square brackets",
    "int_type": "found {found}; wanted a whole number, without quotes",
    "bool_type": "found {found}; wanted true or false, without quotes",
    "date_type": "found {found}; wanted a day such as 2026-11-01",
    "enum": "found {found}; wanted {expected}",
    "literal_error": "found {found}; wanted {expected}",
    "greater_than_equal": "found {found}; wanted {ge} or more",
    "less_than_equal": "found {found}; wanted {le} or less",
}
"""What pydantic finds, by its error types, in our words."""


def problem_of(error: ErrorDetails, record: type[BaseModel]) -> Problem:
    """An error of pydantic's on a record as key path and sentence."""
    path, context = error["loc"], error.get("ctx", {})
    suggestion = _suggestion(path, record) if error["type"] == "extra_forbidden" else ""
    if "expected" in context:
        context["expected"] = context["expected"].replace("'", '"')
    sentence = SENTENCES.get(error["type"], "found {found}, which is not valid here")
    return path, sentence.format(**context, found=found(error["input"]), suggestion=suggestion)


def _suggestion(path: KeyPath, record: type[BaseModel]) -> str:
    section: Any = record
    for name in (step for step in path[:-1] if isinstance(step, str)):
        annotation = next(field.annotation for field in section.model_fields.values() if field.alias == name)
        section = next(iter(get_args(annotation)), annotation)
    valid = [str(field.alias) for field in section.model_fields.values()]
    near = difflib.get_close_matches(str(path[-1])[:80], valid, n=1)
    return f"did you mean {near[0]}?" if near else f"valid here: {', '.join(valid)}"
