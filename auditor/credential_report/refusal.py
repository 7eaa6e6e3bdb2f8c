"""Why a report is refused: origin, line and column, what is wrong, and how to get a whole report."""

import re

from auditor.errors import ReportFormatError

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,80}")
SHOWN_LENGTH = 80
"""The most characters of a foreign value that an error repeats."""

_NEXT_STEP = (
    "Download the report again with `aws iam get-credential-report --query Content --output text | base64 --decode`; "
    "do not edit or re-save it in a spreadsheet."
)


class WrongAccountError(ReportFormatError):
    """The report is readable, but belongs to another account than the one that was asked for."""


def refusal(what: str, origin: str, line: int, column: str | None = None) -> ReportFormatError:
    """The error that refuses a report for what is wrong at this place."""
    return ReportFormatError(what, where=place(origin, line, column), next_step=_NEXT_STEP)


def place(origin: str, line: int, column: str | None) -> str:
    """A place in a report, for an error."""
    return f"{origin}, line {line}" if column is None else f"{origin}, line {line}, column {column}"


def shown(value: str) -> str:
    """A foreign value, safe to print on a terminal and never longer than a line."""
    return repr(value if len(value) <= SHOWN_LENGTH else value[:SHOWN_LENGTH] + "…")


def shown_column(column: str) -> str:
    """A column's name; a foreign one is made safe to print."""
    return column if _PLAIN_NAME.fullmatch(column) else shown(column)
