"""TOML ↔ settings; every mistake is named at once, before anything is called."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from auditor.config.conflicts import conflicts
from auditor.config.frameworks import (
    FrameworkConfig,
    built_in_framework,
    built_in_frameworks,
    framework_conflicts,
    load_framework,
)
from auditor.config.records import Config, OutputConfig
from auditor.config.sentences import problem_of
from auditor.config.text import read_text, table_of
from auditor.config.words import KeyPath, Problem, at, dotted, quoted
from auditor.errors import UsageError
from auditor.model import Policy

COMMAND_LINE = "command line"

EVERY = "all"
"""Stands for every framework that there is."""

Values = Mapping[str, Mapping[str, Any]]
"""Settings by section and key; None stands for one that is not given."""

NOTHING: Values = {}

_NEXT_STEP = 'Correct it and run "auditor config check"; "auditor config schema" describes every key, for editors too.'


_AN_EXEMPTION = re.compile(r"\bexemptions\.list\[(\d{1,9})\]")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Exemptions from this position on stand in a file of their own, and are told as they stand there."""

    origin: str
    first: int

    def told(self, path: KeyPath) -> str | None:
        """A key path in that file; None for what stands in the configuration itself."""
        match path:
            case ("exemptions", "list", int() as position, *rest) if position >= self.first:
                return f"{self.origin}: {dotted(('exemption', position - self.first, *rest))}"
        return None

    def pointed(self, said: str) -> str:
        """A sentence in which exemptions of that file are pointed at as they stand there."""

        def place(found: re.Match[str]) -> str:
            position = int(found[1])
            return found[0] if position < self.first else dotted(("exemption", position - self.first))

        return _AN_EXEMPTION.sub(place, said)


def load_config(path: Path | None, given: Values = NOTHING, *, entered: Sequence[str] = ()) -> Config:
    """The settings in a TOML file with the command line's values laid over them, checked as a whole.

    Args:
        path: the file; None for the defaults.
        given: the command line's values by section and key; None where an option was not given.
        entered: account ids that the command line gives. With a role they are the scope, and a role without them
            means the whole organisation, unless the file says which accounts are audited.

    Raises:
        UsageError: the file cannot be read, or every mistake at once, one a line, with its key path.
    """
    if path is None:
        return _complete({}, COMMAND_LINE, given, entered)
    return _complete(_parsed(read_text(path), str(path)), str(path), given, entered, path.parent)


def load_output(path: Path | None, given: Values) -> OutputConfig:
    """As `load_config`, for what reads stored runs: only [output] counts, whatever the file says of accounts."""
    data = {} if path is None else _parsed(read_text(path), str(path))
    return _complete({name: data[name] for name in data if name == "output"}, str(path or COMMAND_LINE), given).output


def parse_config(text: str, *, origin: str) -> Config:
    """The settings in a TOML text that needs no other file, as a stored run's.

    Raises:
        UsageError: at `origin`, every problem at once, one a line, with its key path.
    """
    return _validated(_parsed(text, origin), origin)


def _complete(
    data: dict[str, Any],
    origin: str,
    given: Values,
    entered: Sequence[str] = (),
    folder: Path = Path(),
) -> Config:
    places = set(_lay_over(data, given))
    if ("accounts", "role_name") in places:
        _enter_all(data["accounts"], entered)
    elsewhere = _take_in_exemptions(data, folder)
    _take_in_frameworks(data, folder)
    return _validated(data, origin, places, elsewhere)


def _take_in_exemptions(data: dict[str, Any], folder: Path) -> Elsewhere | None:
    """Put the exemptions of the file that the settings name behind those that they hold themselves.

    Raises:
        UsageError: the file cannot be read; without it, it is not known what is excused.
    """
    exemptions = at(data, dict, "exemptions")
    name, own = exemptions.get("file"), exemptions.get("list", [])
    if not name or not isinstance(name, str) or not isinstance(own, list):
        return None
    path = folder / name
    table = _parsed(read_text(path), str(path))
    unknown = [key for key in table if key != "exemption"]
    if unknown or not isinstance(table.get("exemption", []), list):
        place = dotted(((unknown or ["exemption"])[0],))
        what = f"{place}: a file of exemptions has [[exemption]] tables and nothing else"
        raise UsageError(what, where=str(path), next_step=_NEXT_STEP)
    exemptions["list"] = [*own, *table.get("exemption", [])]
    exemptions["file"] = ""
    return Elsewhere(str(path), len(own))


def _take_in_frameworks(data: dict[str, Any], folder: Path) -> None:
    """Put the editions that are used into the settings in full: of their files, or as they are shipped.

    An id of which there is no edition is left for the check of the whole.

    Raises:
        UsageError: the file of an edition cannot be read.
    """
    frameworks = at(data, dict, "frameworks")
    wanted, files, own = (frameworks.get(name, []) for name in ("use", "files", "definition"))
    if not (all(isinstance(entries, list) for entries in (wanted, files, own)) and (wanted or files)):
        return
    editions = _own_editions([folder / str(name) for name in files if name])
    known = {name: None for entry in own if (name := at(entry, str, "id"))}
    if EVERY in wanted:
        named = [name for name in wanted if name != EVERY]
        wanted = [*named, *(name for name in (*known, *editions, *built_in_frameworks()) if name not in named)]
    shipped = {name: built_in_framework(name) for name in built_in_frameworks() if name in wanted}
    there_are = {*known, *editions, *built_in_frameworks()}
    slipped = any(isinstance(name, str) and name not in there_are for name in wanted)  # and any of them may be meant
    found = [
        edition
        for name, edition in {**shipped, **editions}.items()
        if (name in wanted or slipped) and name not in known
    ]
    used = [entry for entry in own if slipped or at(entry, str, "id") in wanted]
    definitions = [*used, *(edition.model_dump(mode="json", by_alias=True) for edition in found)]
    frameworks |= {"use": wanted, "files": [], "definition": definitions}


def _own_editions(paths: Iterable[Path]) -> dict[str, FrameworkConfig]:
    """The editions of these files by their ids; UsageError where two have the same, for one would not be judged."""
    origins: dict[str, Path] = {}
    editions: dict[str, FrameworkConfig] = {}
    for path in paths:
        edition = load_framework(path)
        if edition.id in editions:
            what = f"id: {quoted(edition.id)} is given twice, first in {origins[edition.id]}"
            raise UsageError(what, where=str(path), next_step=_NEXT_STEP)
        origins[edition.id], editions[edition.id] = path, edition
    return editions


def _enter_all(accounts: dict[str, Any], entered: Sequence[str]) -> None:
    """What a role on the command line means: listed accounts are entered by it, and it is not the caller's alone."""
    for entry in at(accounts, list, "list"):
        if isinstance(entry, dict):
            entry.pop("role_name", None)
    if accounts.get("source", "caller") == "caller":
        listed = [{"id": account_id} for account_id in dict.fromkeys(entered)]
        accounts |= {"source": "list", "list": listed} if listed else {"source": "organisation"}


def _lay_over(table: dict[str, Any], values: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    """Put the values into the table, where they are not None and it has room for them; the paths of those."""
    for key, value in values.items():
        path = (*above, key)
        if isinstance(value, Mapping):
            inner = table.setdefault(key, {})
            if isinstance(inner, dict):
                yield from _lay_over(inner, value, path)
        elif value is not None:
            table[key] = list(value) if isinstance(value, tuple) else value
            yield path


def effective_toml(config: Config) -> str:
    """Every effective value as TOML, always in the same order; an external id is written as "(set)"."""
    effective = config.model_dump(mode="json", by_alias=True)
    for table in (effective["accounts"], *effective["accounts"]["list"], *effective["accounts"]["override"]):
        table["external_id"] = table["external_id"] and "(set)"
    return "# What this run went by; external ids are left out.\n\n" + tomli_w.dumps(_null_free(effective))


def asks_the_same(stored: str, config: Config) -> bool:
    """Whether these settings ask AWS for what those of a stored run asked: policy, owners, keys, and which accounts.

    How the accounts are entered may differ: that is what was put right where a role was refused.
    """

    def asked(text: str) -> list[Any]:
        data = _parsed(text, "policy.toml")
        accounts = at(data, dict, "accounts")
        listed = sorted(str(entry.get("id")) for entry in accounts.get("list") or ())
        scope = [accounts.get("source"), accounts.get("include"), accounts.get("exclude"), listed]
        asked = [at(data, dict, "gather").get("key_ids"), accounts.get("root_sessions", False)]
        return [data.get("policy"), data.get("owners"), data.get("frameworks"), asked, scope]

    return asked(stored) == asked(effective_toml(config))


_JUDGED = ("policy", "frameworks", "exemptions", "owners")
"""The sections that say what is judged."""


def policy_from_toml(text: str, given: Values = NOTHING) -> Policy:
    """The policy of a stored run, or with other values laid over it.

    Raises:
        UsageError: a value is missing, for today's default may not be the run's; or another is wrong.
    """
    origin, data = "policy.toml", _parsed(text, "policy.toml")
    stored: dict[str, Any] = {name: data[name] for name in _JUDGED if name in data}
    _fill_in_what_was_not_judged(stored)
    config = _validated(stored, origin)
    present = set(_leaves(stored))
    wanted = _leaves(config.model_dump(by_alias=True, include=set(_JUDGED)))
    absent = [(path, "is missing; a stored policy has every value") for path in wanted if path not in present]
    if absent:
        raise _refusal(absent, origin)
    return (_complete(stored, COMMAND_LINE, given) if given else config).to_policy()


def _fill_in_what_was_not_judged(stored: dict[str, Any]) -> None:
    """What runs went by that were made before there were frameworks, exemptions, and these controls."""
    if "frameworks" in stored or "exemptions" in stored:
        return
    today = Config().model_dump(mode="json", by_alias=True)
    stored |= {name: _null_free(today[name]) for name in ("frameworks", "exemptions")}
    policy, owners = at(stored, dict, "policy"), at(stored, dict, "owners")
    for name, table in today["policy"].items():
        if isinstance(table, dict) and "enabled" in table:
            policy.setdefault(name, {**table, "enabled": False})
    policy |= {"rotation_overlap_days": 0, "limit": []}
    owners["rule"] = []
    at(policy, dict, "one-active-key")["overlap_passes"] = False


def _leaves(table: Mapping[str, Any], path: KeyPath = ()) -> Iterator[KeyPath]:
    for name, value in table.items():
        yield from _leaves(value, (*path, name)) if isinstance(value, dict) else [(*path, name)]


def config_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of config.toml, with descriptions and defaults."""
    schema = _null_free(Config.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _null_free(node: Any) -> Any:
    """TOML knows no null: what is not set is an empty text, in values as in the schema."""
    if isinstance(node, dict):
        return {name: _null_free(value) for name, value in node.items()} if node != {"type": "null"} else {"const": ""}
    if isinstance(node, list):
        return [_null_free(value) for value in node]
    return "" if node is None else node


def _parsed(text: str, origin: str) -> dict[str, Any]:
    return table_of(text, origin, _NEXT_STEP)


def _validated(
    data: Mapping[str, Any], origin: str, given: Collection[KeyPath] = (), elsewhere: Elsewhere | None = None
) -> Config:
    try:
        return Config.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [problem_of(found, Config) for found in error.errors() if found["type"] != "conflict"]
    raise _refusal([*problems, *conflicts(data), *_in_definitions(data)], origin, given, elsewhere)


def _in_definitions(data: Mapping[str, Any]) -> Iterator[Problem]:
    for index, entry in enumerate(at(data, list, "frameworks", "definition")):
        for path, said in framework_conflicts(entry) if isinstance(entry, dict) else ():
            yield ("frameworks", "definition", index, *path), said


def _refusal(
    problems: Iterable[Problem], origin: str, given: Collection[KeyPath] = (), elsewhere: Elsewhere | None = None
) -> UsageError:
    """Every problem, and where: those of values that the command line gave are not the file's."""

    def place(path: KeyPath) -> str:
        return (elsewhere and elsewhere.told(path)) or dotted(path)

    if elsewhere:
        problems = [(path, elsewhere.pointed(said)) for path, said in problems]
    told = [(f"{place(path)}: {said}", any(path[: len(key)] == key for key in given)) for path, said in problems]
    if all(is_given for _, is_given in told):
        return UsageError("\n".join(line for line, _ in told), where=COMMAND_LINE, next_step=_NEXT_STEP)
    what = "\n".join(f"{line} ({COMMAND_LINE})" if is_given else line for line, is_given in told)
    return UsageError(what, where=origin, next_step=_NEXT_STEP)
