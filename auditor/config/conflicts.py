"""What no single key of a configuration is to blame for."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from auditor.config.words import KeyPath, Problem, dotted, quoted

CHAINED_MINUTES = 60
"""The longest session of a role that is assumed from a role (AWS IAM: role chaining)."""

_T = TypeVar("_T")


def conflicts(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What no single key is to blame for, in data that may be wrong in any other way as well."""
    accounts, unused = at(data, dict, "accounts"), at(data, dict, "policy", "key-unused")
    listed = at(accounts, list, "list")
    source = accounts.get("source", "caller")
    if source == "list" and not accounts.get("list"):
        yield ("accounts", "list"), 'source = "list" needs at least one account under [[accounts.list]]'
    if source in ("caller", "organisation") and listed:
        yield ("accounts", "source"), f'"{source}" does not read [[accounts.list]]; set it to "list" or remove the list'
    if source == "caller" and accounts.get("role_name"):
        said = 'source = "caller" assumes no role; set source to "organisation" or "list", or remove this key'
        yield ("accounts", "role_name"), said
    if source == "organisation" and not accounts.get("role_name"):
        yield (
            ("accounts", "role_name"),
            'source = "organisation" needs the role to assume in every account; --role-name gives it, too',
        )
    yield from _repeated([at(entry, str, "id") for entry in listed], ("accounts", "list"), "id")
    yield from _entry_conflicts(accounts, source)
    filters: list[KeyPath] = [
        ("accounts", side, name) for side in ("include", "exclude") for name in ("ids", "names", "ous", "tags")
    ]
    for path in filters:
        if source in ("caller", "list") and at(data, list, *map(str, path)):
            yield path, f'source = "{source}" has no organisation to choose from; set it to "organisation"'
    for path in (*filters, ("owners", "tags"), ("output", "formats")):
        yield from _repeated(at(data, list, *map(str, path)), path)
    if at(data, dict, "output").get("formats") == []:
        yield ("output", "formats"), "is an empty list; wanted one format at least"
    grace, limit = unused.get("grace_days", 1), unused.get("max_unused_days", 45)
    if {type(grace), type(limit)} == {int} and grace > limit >= 1:
        yield ("policy", "key-unused", "grace_days"), "is longer than max_unused_days"


def _entry_conflicts(accounts: Mapping[str, Any], source: object) -> Iterator[Problem]:
    """What is wrong with how accounts are entered, beyond single keys."""
    overrides = at(accounts, list, "override")
    if overrides and source in ("caller", "list"):
        said = f'source = "{source}" does not read [[accounts.override]]; set it to "organisation"'
        yield ("accounts", "override"), said
    yield from _repeated([at(entry, str, "id") for entry in overrides], ("accounts", "override"), "id")
    for index, entry in enumerate(overrides):
        if isinstance(entry, dict) and not (entry.get("role_name") or entry.get("external_id")):
            yield ("accounts", "override", index), "changes nothing; give role_name or external_id"
    if accounts.get("via"):
        if source == "caller":
            yield ("accounts", "via"), 'source = "caller" assumes no role; set source to "organisation" or "list"'
        minutes = accounts.get("session_minutes")
        if type(minutes) is int and minutes > CHAINED_MINUTES:
            said = f"is more than the {CHAINED_MINUTES} that AWS gives a role assumed from another (accounts.via)"
            yield ("accounts", "session_minutes"), said


def _repeated(values: list[Any], path: KeyPath, *last: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, value in enumerate(values):
        if value and isinstance(value, str) and first.setdefault(value, index) != index:
            yield (*path, index, *last), f"{quoted(value)} is given twice, first in {dotted((*path, first[value]))}"


def at(data: Any, kind: type[_T], *names: str) -> _T:
    """What stands in `data` at a path of names, or an empty value where something else or nothing does."""
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data if isinstance(data, kind) else kind()
