"""The standards: one TOML file per edition, as typed, frozen records; every mistake in one is named at once.

The shipped files lie in `auditor/frameworks/`; `docs/frameworks.md` explains the format to whoever writes another.
"""

import difflib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from auditor.config.forms import FRAMEWORK_ID, Form
from auditor.config.policy_conflicts import BUILT_IN
from auditor.config.section import Section
from auditor.config.sentences import problem_of
from auditor.config.text import read_text, table_of
from auditor.config.words import KeyPath, Problem, at, dotted, quoted
from auditor.errors import UsageError
from auditor.model import Clause, ControlId, Criterion, Framework, Limit, Operator, Support

SCHEMA: Literal["auditor.framework/1"] = "auditor.framework/1"

_NEXT_STEP = "Correct it; docs/frameworks.md describes every key of a framework file."

_LIMIT: Mapping[str, Any] = MappingProxyType({"max_days": None, "operator": None})
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_TAKES: Mapping[ControlId, Mapping[str, Any]] = MappingProxyType(
    {
        ControlId.KEY_AGE: _LIMIT,
        ControlId.KEY_UNUSED: MappingProxyType({**_LIMIT, "grace_days": 0}),
        ControlId.ROOT_ACCESS_KEY: MappingProxyType({"inactive_fails": False}),
        ControlId.ONE_ACTIVE_KEY: MappingProxyType({"max_active_keys": 1, "overlap_days": 0}),
        ControlId.EXTRA_KEYS: _NOTHING,
        ControlId.KEY_AT_USER_CREATION: MappingProxyType({"any_unused": False}),
        ControlId.INACTIVE_KEY_RETAINED: _LIMIT,
        ControlId.QUARANTINED_KEY: _NOTHING,
        ControlId.SERVICE_CREDENTIAL_AGE: _LIMIT,
        ControlId.CONSOLE_PASSWORD_UNUSED: _LIMIT,
        ControlId.CONSOLE_MFA: _NOTHING,
    }
)
"""The settings that each control takes in a clause, and their defaults; None is what must be given."""

_SETTINGS = tuple(dict.fromkeys(name for taken in _TAKES.values() for name in taken))

# Line separators and direction marks have no place in a line that tables, pages and terminals show.
_SHOWN = r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]"


def _line(kind: str, most: int) -> Form:
    rule = f"1 to {most} characters, without line breaks or control characters, and no space at either end"
    return Form(kind, rule, rf"(?!\s){_SHOWN}{{1,{most}}}(?<!\s)")


_CLAUSE_ID = _line("a clause's id", 40)
_SHORT = _line("a line of text", 200)
_LONG = _line("a line of text", 1000)


def _absent(value: object) -> bool:
    return value is None


class _Record(Section):
    model_config = ConfigDict(alias_generator=lambda name: {"schema_id": "schema", "clauses": "clause"}.get(name, name))


class ClauseConfig(_Record):
    """A requirement of a standard that bears on access keys, and the control that tests it, with its numbers.

    What the control takes and the file leaves out stands here with its default, so that a stored clause is complete.
    """

    id: Annotated[str, _CLAUSE_ID]
    """The number or name that the standard gives the requirement."""
    title: Annotated[str, _SHORT]
    """What it asks, in our own words."""
    control: Annotated[ControlId | None, Field(strict=False)] = Field(default=None, exclude_if=_absent)
    """The control that tests it; left out where support is "not_covered"."""
    max_days: int | None = Field(default=None, ge=1, le=3650, exclude_if=_absent)
    """The limit, for controls that compare a duration."""
    operator: Annotated[Operator | None, Field(strict=False)] = Field(default=None, exclude_if=_absent)
    """Whether the limit is broken beyond it (">") or on it (">=")."""
    grace_days: int | None = Field(default=None, ge=0, le=3650, exclude_if=_absent)
    """key-unused: a never-used key younger than this is not judged."""
    max_active_keys: int | None = Field(default=None, ge=1, le=2, exclude_if=_absent)
    """one-active-key: active keys that a user may have."""
    overlap_days: int | None = Field(default=None, ge=0, le=3650, exclude_if=_absent)
    """one-active-key: a second active key younger than this is a rotation under way, and passes."""
    inactive_fails: bool | None = Field(default=None, exclude_if=_absent)
    """root-access-key: whether an inactive key fails, too."""
    any_unused: bool | None = Field(default=None, exclude_if=_absent)
    """key-at-user-creation: whether any never-used key of a console user fails, whenever it was made."""
    support: Annotated[Support, Field(strict=False)]
    """How far the test goes towards what the clause asks."""
    reason: Annotated[str, _LONG]
    """Why the support is what it is."""
    source: Annotated[str, _SHORT]
    """Where the requirement and its numbers are found."""

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, data: Any) -> Any:
        taken = _taken(data) if isinstance(data, dict) else None
        given = {name: default for name, default in (taken or {}).items() if default is not None}
        return {**given, **data} if given else data

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        """For records made in Python; reading asks the raw table, which can be wrong in other ways as well."""
        _raise(_clause_conflicts(self.model_dump(mode="json", by_alias=True), ()))
        return self

    def to_clause(self) -> Clause:
        """The clause as the evaluation takes it."""
        criterion = None if self.control is None else self._criterion(self.control)
        return Clause(self.id, self.title, self.support, self.reason, self.source, criterion)

    def _criterion(self, control: ControlId) -> Criterion:
        limit = None
        if self.max_days is not None and self.operator is not None:
            limit = Limit(timedelta(days=self.max_days), self.operator)
        grace = timedelta(days=self.grace_days or self.overlap_days or 0)
        strict = bool(self.inactive_fails or self.any_unused)
        return Criterion(control, limit, grace, self.max_active_keys or 1, strict)


class FrameworkConfig(_Record):
    """One edition of a standard."""

    schema_id: Literal["auditor.framework/1"]
    """The version of this format."""
    id: Annotated[str, FRAMEWORK_ID]
    """What the edition is called on the command line, in files and in addresses."""
    title: Annotated[str, _SHORT]
    """The standard's name."""
    edition: Annotated[str, _SHORT]
    """Its version or year."""
    source: Annotated[str, _LONG]
    """Who published it, where and when."""
    clauses: Annotated[tuple[ClauseConfig, ...], Field(strict=False)]
    """Its requirements that bear on access keys."""

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> Self:
        """For records made in Python; reading asks the raw table, which can be wrong in other ways as well."""
        _raise(framework_conflicts(self.model_dump(mode="json", by_alias=True)))
        return self

    def to_framework(self) -> Framework:
        """The edition as the evaluation takes it."""
        clauses = tuple(clause.to_clause() for clause in self.clauses)
        return Framework(self.id, self.title, self.edition, self.source, clauses)


def parse_framework(text: str, origin: str) -> FrameworkConfig:
    """The edition in a TOML text; UsageError at `origin` has every problem at once, one a line, with its key path."""
    data = table_of(text, origin, _NEXT_STEP)
    try:
        return FrameworkConfig.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [problem_of(found, FrameworkConfig) for found in error.errors() if found["type"] != "conflict"]
    told = [f"{dotted(path)}: {said}" for path, said in (*problems, *framework_conflicts(data))]
    raise UsageError("\n".join(told), where=origin, next_step=_NEXT_STEP)


def load_framework(path: Path) -> FrameworkConfig:
    """The edition in a file, as `parse_framework` reads it; UsageError also where the file cannot be read."""
    return parse_framework(read_text(path), str(path))


def built_in_frameworks() -> tuple[str, ...]:
    """The ids of the shipped editions: the CIS benchmarks by age, then the others."""
    return BUILT_IN


@cache
def built_in_framework(framework_id: str) -> FrameworkConfig:
    """A shipped edition by its id; UsageError with the ids that are like it where there is none of this id."""
    if framework_id not in BUILT_IN:
        near = difflib.get_close_matches(framework_id[:80], BUILT_IN, n=3) or BUILT_IN
        step = f"{'Did you mean' if near is not BUILT_IN else 'There are'} {', '.join(near)}"
        step += "?" if near is not BUILT_IN else "; a file of your own is given by its path."
        raise UsageError(f"no framework is called {quoted(framework_id)}", next_step=step)
    text = files("auditor").joinpath("frameworks", f"{framework_id}.toml").read_text(encoding="utf-8")
    return parse_framework(text, f"{framework_id}.toml")


# ------------------------------------------------------------------------------------------------- conflicts


def _raise(problems: Iterator[Problem]) -> None:
    found = "; ".join(f"{dotted(path)}: {said}" for path, said in problems)
    if found:
        raise PydanticCustomError("conflict", "{found}", {"found": found})


def _taken(clause: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the clause's control takes; nothing without a control, and None where there is no such control."""
    control = clause.get("control")
    if control is None:
        return _NOTHING
    return _TAKES[ControlId(control)] if isinstance(control, str) and control in {*ControlId} else None


def framework_conflicts(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What no single key is to blame for, in data that may be wrong in any other way as well."""
    clauses = at(data, list, "clause")
    if data.get("clause") == []:
        yield ("clause",), "is an empty list; wanted one [[clause]] at least"
    first: dict[tuple[str, object], int] = {}
    for index, clause in enumerate(clauses):
        if not isinstance(clause, dict):
            continue
        yield from _clause_conflicts(clause, ("clause", index))
        name, control = at(clause, str, "id"), clause.get("control")
        if not name or _taken(clause) is None:
            continue
        before = first.setdefault((name, control), index)
        if before != index:
            tested = f"with the control {control}" if control else "without a control"
            yield ("clause", index), f"{quoted(name)} is given twice {tested}, first in clause[{before}]"
        others = [place for (other, tests), place in first.items() if other == name and bool(tests) != bool(control)]
        if others and before == index:
            yield ("clause", index), f"{quoted(name)} is tested and not covered at once; see clause[{others[0]}]"


def _clause_conflicts(clause: Mapping[str, Any], path: KeyPath) -> Iterator[Problem]:
    """Whether control, support and settings of a clause go together."""
    control, support, taken = clause.get("control"), clause.get("support"), _taken(clause)
    if control is None and support in (Support.DIRECT, Support.SUPPORTS):
        yield (*path, "control"), f'is missing; support = "{support}" needs the control that tests the clause'
    if control is not None and support == Support.NOT_COVERED:
        yield (*path, "control"), 'is a test, and support = "not_covered" says there is none; remove one of them'
    if taken is None or (control is None and support != Support.NOT_COVERED):
        return
    for name in _SETTINGS:
        if name in clause and name not in taken:
            takes = f"{control} takes {', '.join(taken) or 'no settings'}" if control else "no control is given"
            yield (*path, name), f"has no meaning here: {takes}"
        elif name in taken and taken[name] is None and name not in clause:
            yield (*path, name), f"is missing; {control} needs it"
    grace, limit = clause.get("grace_days"), clause.get("max_days")
    if type(grace) is int and type(limit) is int and grace > limit >= 1:
        yield (*path, "grace_days"), "is longer than max_days"
