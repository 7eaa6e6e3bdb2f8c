"""A view as people see it who need not know whole key ids: `AKIA…7Q2X`, wherever an id stands in it. Pure.

Masked is the view itself, before anything is laid out: what a format embeds, packs or attaches is masked with it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from auditor.formats.view import ReportView

KEY_ID = "(?:AKIA|ASIA|ACCA)[A-Z0-9]{12,}"
"""Ids of access keys and of service-specific credentials (AWS IAM: "Unique identifiers"), also within a longer word."""

ID_FIELDS = ("access_key_id", "credential_id", "old_key_id", "new_key_id")
"""Fields that hold an id: one that looks otherwise is masked as well, here and inside of texts."""

NOTE = (
    "Of the ids of access keys and service-specific credentials the first four and the last four characters are shown; "
    "findings.json and findings.csv have them whole."
)

SHORTEST = 16
"""Characters of the shortest id that there can be (IAM API reference, AccessKey)."""


def masked(view: ReportView) -> ReportView:
    """The view with every key id in it masked, in fields of its own and inside of texts."""
    strange = {name for name in _ids(view) if len(name) >= SHORTEST and not re.fullmatch(KEY_ID, name)}
    known = [re.escape(name) for name in sorted(strange, key=lambda name: (-len(name), name))]
    made: ReportView = _Mask(re.compile("|".join((KEY_ID, *known)))).of(view)
    return replace(made, method=(*made.method, NOTE))


def mask(key_id: str) -> str:
    """The first four and the last four characters of an id: which kind it is, and which of a user's it may be."""
    return f"{key_id[:4]}…{key_id[-4:]}"


def _ids(view: ReportView) -> Iterator[str]:
    remediation = view.remediation
    changes = (*remediation.actions, *remediation.pending) if remediation else ()
    for row in (*view.findings, *view.due_soon, *view.upcoming, *changes):
        yield from (found for name in ID_FIELDS if (found := getattr(row, name, None)))


class _Mask:
    """Goes through records, lists and mappings, and masks what is text; what has no id in it stays the same object."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def of(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._pattern.sub(_masked, value)
        if kind in {tuple, list, set, frozenset}:
            return self._members(value)
        if isinstance(value, Mapping):
            made = {self.of(name): self.of(member) for name, member in value.items()}
            return value if made == value else made
        return self._record(value) if is_dataclass(kind) else value

    def _members(self, members: Any) -> Any:
        made = [self.of(member) for member in members]
        return members if all(map(_is, made, members)) else type(members)(made)

    def _record(self, record: Any) -> Any:
        held = {field.name: getattr(record, field.name) for field in fields(record)}
        changed = {name: made for name, value in held.items() if (made := self.of(value)) is not value}
        return replace(record, **changed) if changed else record


def _masked(match: re.Match[str]) -> str:
    return mask(match[0])


def _is(one: object, other: object) -> bool:
    return one is other
