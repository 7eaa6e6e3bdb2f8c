"""What is wrong with limits, exemptions and frameworks together, beyond single keys."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import combinations
from typing import Any

from auditor.config.words import KeyPath, Problem, at, dotted, is_one_of, quoted, repeated
from auditor.model import ControlId, Policy, Severity

BUILT_IN = (
    "cis-aws-1.4",
    "cis-aws-1.5",
    "cis-aws-2.0",
    "cis-aws-3.0",
    "cis-aws-4.0.1",
    "cis-aws-5.0",
    "cis-aws-6.0",
    "cis-aws-7.0",
    "aws-fsbp",
    "pci-dss-4.0.1",
    "nist-800-53-r5",
    "soc2",
    "iso-27001-2022",
    "hipaa",
    "fedramp-moderate",
    "fedramp-high",
)
"""The shipped frameworks, in the order in which they are told."""

LIMITED = (
    ControlId.KEY_AGE,
    ControlId.KEY_UNUSED,
    ControlId.INACTIVE_KEY_RETAINED,
    ControlId.SERVICE_CREDENTIAL_AGE,
    ControlId.CONSOLE_PASSWORD_UNUSED,
)
"""Controls that compare a duration, so that rules can give some keys or users another."""

OF_KEYS = (
    ControlId.KEY_AGE,
    ControlId.KEY_UNUSED,
    ControlId.ROOT_ACCESS_KEY,
    ControlId.KEY_AT_USER_CREATION,
    ControlId.INACTIVE_KEY_RETAINED,
    ControlId.QUARANTINED_KEY,
)
"""Controls that judge access keys, each by itself."""

SELECTORS = ("users", "tags", "paths", "accounts", "ous", "kind")

SCOPES = ("key", "user", "tag", "path", "account")
"""What an exemption may be for, the narrowest first, which decides how wide it is."""

LONGEST = {Severity.LOW: 365, Severity.MEDIUM: 180, Severity.HIGH: 90, Severity.CRITICAL: 30}
"""Days, where the configuration does not say."""


def policy_conflicts(data: Mapping[str, Any]) -> Iterator[Problem]:
    """In data that may be wrong in any other way as well."""
    yield from _limit_conflicts(at(data, list, "policy", "limit"))
    yield from repeated(at(data, list, "frameworks", "use"), ("frameworks", "use"))
    definitions = [at(entry, str, "id") for entry in at(data, list, "frameworks", "definition")]
    yield from repeated(definitions, ("frameworks", "definition"), "id")
    known = [*dict.fromkeys(name for name in (*definitions, *BUILT_IN) if name)]
    for index, name in enumerate(at(data, list, "frameworks", "use")):
        if isinstance(name, str) and name not in definitions:
            near = difflib.get_close_matches(name[:80], known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            yield ("frameworks", "use", index), f"no framework is called {quoted(name)}; {hint}"
    listed = at(data, list, "exemptions", "list")
    yield from repeated([at(entry, str, "id") for entry in listed], ("exemptions", "list"), "id")
    for index, entry in enumerate(listed):
        if isinstance(entry, dict):
            for name, said in _exemption_conflicts(entry, data):
                yield ("exemptions", "list", index, *([name] if name else [])), said
    yield from _overlaps(listed)


def _limit_conflicts(rules: Sequence[Any]) -> Iterator[Problem]:
    yield from repeated([at(rule, str, "id") for rule in rules], ("policy", "limit"), "id")
    first: dict[str, int] = {}
    for index, rule in enumerate(rules):
        if not isinstance(rule, dict):
            continue
        path: KeyPath = ("policy", "limit", index)
        control = rule.get("control")
        if is_one_of(ControlId, control) and control not in LIMITED:
            yield (*path, "control"), f"{control} compares no duration; wanted one of {', '.join(LIMITED)}"
        scope = {name: rule[name] for name in SELECTORS if rule.get(name)}
        if not scope:
            yield path, f"is for every key; set the limit of [policy.{control}] instead, or say whom it is for"
        same = first.setdefault(repr((control, sorted((name, _plain(scope[name])) for name in scope))), index)
        if same != index:
            yield path, f"is for the same keys and the same control as {dotted(('policy', 'limit', same))}"


def _plain(value: object) -> object:
    return sorted(map(str, value)) if isinstance(value, list) else str(value)


# ------------------------------------------------------------------------------------------------- exemptions


def _exemption_conflicts(entry: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with one exemption: the key, empty for the whole of it, and the sentence."""
    given = [name for name in SCOPES if entry.get(name)]
    narrow = [name for name in given if name != "account"]
    if not given:
        yield "", f"says not what it is for; give one of {', '.join(SCOPES)}"
    elif len(narrow) > 1:
        yield "", f"is for {' and '.join(narrow)} at once; give one of them"
    elif narrow == ["user"] and "account" not in given:
        yield "account", "is missing; a user name means somebody else in every account"
    control = entry.get("control")
    if "key" in given and is_one_of(ControlId, control) and control not in OF_KEYS:
        yield "key", f"never matches: {control} does not judge access keys; give the user, or what is wider"
    if control == ControlId.ROOT_ACCESS_KEY and narrow and narrow != ["key"]:
        yield narrow[0], f"never matches: {control} judges the root user, who has no name, path or tag"
    if entry.get("path") == "/":
        yield "path", "means every user; give a path below it, or the account alone"
    widest = at(data, dict, "exemptions").get("widest", "account")
    if given and widest in SCOPES and SCOPES.index(given[0]) > SCOPES.index(widest):
        yield given[0], f'is wider than exemptions.widest = "{widest}" allows'
    owner, approver = (str(entry.get(name, "")).strip().casefold() for name in ("owner", "approver"))
    if owner and owner == approver:
        yield "approver", "is the owner; nobody approves an exemption of his own"
    starts, expires = (day_of(entry.get(name)) for name in ("starts", "expires"))
    if starts and expires:
        yield from _length_conflicts(entry.get("control"), starts, expires, data)


def _length_conflicts(
    control: object, starts: date, expires: date, data: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    if expires <= starts:
        yield "expires", "is not after starts"
        return
    if not is_one_of(ControlId, control):
        return
    default = Policy().severities[ControlId(str(control))]
    severity = at(data, dict, "policy", str(control)).get("severity", default)
    if not is_one_of(Severity, severity):
        return
    most = at(data, dict, "exemptions", "max_days").get(str(severity), LONGEST[Severity(severity)])
    days = (expires - starts).days
    if type(most) is int and days > most:
        allowed = f"no more than {most} days" if most else "no exemption"
        yield "expires", f"is {days} days after starts; exemptions.max_days allows {allowed} for {severity} controls"


def day_of(value: object) -> date | None:
    """A date as TOML has it, or as text in a stored run; None for anything else."""
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return None
    return value if type(value) is date else None


def with_days(data: object, *names: str) -> object:
    """An entry with these of its values as dates, where they are; anything else is left for the check."""
    if not isinstance(data, dict):
        return data
    days = {name: day_of(data.get(name)) for name in names}
    return {**data, **{name: day for name, day in days.items() if day}}


def _overlaps(listed: Sequence[Any]) -> Iterator[Problem]:
    """Exemptions of which one is for all that the other is for, at the same time: one of them says what is not so.

    The wider one gives some of what the narrower one gives and nothing else, so it is looked up by that: there may be
    thousands of exemptions.
    """
    entries = {index: entry for index, entry in enumerate(listed) if isinstance(entry, dict)}
    given = {index: _given(entry) for index, entry in entries.items() if any(entry.get(name) for name in SCOPES)}
    spans = {index: tuple(day_of(entries[index].get(name)) for name in ("starts", "expires")) for index in given}
    alike: dict[tuple[str, ...], list[int]] = {}
    for index, names in given.items():
        alike.setdefault(names, []).append(index)
    pairs = {
        (min(wide, narrow), max(wide, narrow))
        for narrow, (control, *names) in given.items()
        for size in range(len(names) + 1)
        for chosen in combinations(names, size)
        for wide in alike.get((control, *chosen), ())
        if wide != narrow and _together(spans[wide], spans[narrow]) and _is_below(entries[narrow], entries[wide])
    }
    for first, second in sorted(pairs):
        one = quoted(str(entries[first].get("id")))
        said = f"overlaps {one} (exemptions.list[{first}]): the same control, keys and time"
        yield ("exemptions", "list", second), said


def _given(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The control, and what the scope gives beside a path, of whatever type it is; a tag's value beside its key."""
    names = (name for name in SCOPES if name not in {"path", "tag"} and entry.get(name))
    key, _, value = str(entry.get("tag") or "").partition("=")
    tag = (*((f"tag {key}",) if key else ()), *((f"tag {key}={value}",) if value else ()))
    return (repr(entry.get("control")), *(f"{name} {entry[name]!r}" for name in names), *tag)


def _together(one: Sequence[date | None], other: Sequence[date | None]) -> bool:
    (starts, ends), (begins, until) = one, other
    return bool(starts and ends and begins and until) and starts < until and begins < ends  # type: ignore[operator]


def _is_below(narrow: Mapping[str, Any], wide: Mapping[str, Any]) -> bool:
    path = wide.get("path")
    return not path or str(narrow.get("path") or "").startswith(str(path))
