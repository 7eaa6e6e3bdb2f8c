"""TOML ↔ settings; every mistake is named at once, before anything is called."""

import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from auditor.config.conflicts import at, conflicts
from auditor.config.records import Config, OutputConfig
from auditor.config.sentences import problem_of
from auditor.config.words import KeyPath, Problem, dotted
from auditor.errors import UsageError
from auditor.model import Policy

COMMAND_LINE = "command line"

Values = Mapping[str, Mapping[str, Any]]
"""Settings by section and key; None stands for one that is not given."""

NOTHING: Values = {}

_NEXT_STEP = 'Correct it and run "auditor config check"; "auditor config schema" describes every key, for editors too.'


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
    return _complete(_parsed(_read(path), str(path)), str(path), given, entered)


def load_output(path: Path | None, given: Values) -> OutputConfig:
    """As `load_config`, for what reads stored runs: only [output] counts, whatever the file says of accounts."""
    data = {} if path is None else _parsed(_read(path), str(path))
    return _complete({name: data[name] for name in data if name == "output"}, str(path or COMMAND_LINE), given).output


def parse_config(text: str, *, origin: str) -> Config:
    """The settings in a TOML text; UsageError at `origin` has every problem at once, one a line, with its key path."""
    return _validated(_parsed(text, origin), origin)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        what = f"line {line} holds the byte 0x{error.object[error.start]:02x}, which is not UTF-8"
        step = "Save the file in the encoding UTF-8."
    except (OSError, ValueError) as error:
        what = f"the file cannot be read: {getattr(error, 'strerror', None) or error}"
        step = "Check the path, and that you may read it."
    raise UsageError(what, where=str(path), next_step=step)


def _complete(data: dict[str, Any], origin: str, given: Values, entered: Sequence[str] = ()) -> Config:
    places = set(_lay_over(data, given))
    if ("accounts", "role_name") in places:
        _enter_all(data["accounts"], entered)
    return _validated(data, origin, places)


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
    """Whether these settings ask AWS for what those of a stored run asked: policy, owners, key ids, and which accounts.

    How the accounts are entered may differ: that is what was put right where a role was refused.
    """

    def asked(text: str) -> list[Any]:
        data = _parsed(text, "policy.toml")
        accounts = at(data, dict, "accounts")
        listed = sorted(str(entry.get("id")) for entry in accounts.get("list") or ())
        scope = [accounts.get("source"), accounts.get("include"), accounts.get("exclude"), listed]
        return [data.get("policy"), data.get("owners"), at(data, dict, "gather").get("key_ids"), scope]

    return asked(stored) == asked(effective_toml(config))


def policy_from_toml(text: str) -> Policy:
    """The policy of a stored run; UsageError also when a value is missing, for today's default may not be the run's."""
    origin, data = "policy.toml", _parsed(text, "policy.toml")
    stored: dict[str, Any] = {name: data[name] for name in ("policy", "owners") if name in data}
    config = _validated(stored, origin)
    given = set(_leaves(stored))
    wanted = _leaves(config.model_dump(by_alias=True, include={"policy", "owners"}))
    absent = [(path, "is missing; a stored policy has every value") for path in wanted if path not in given]
    if absent:
        raise _refusal(absent, origin)
    return config.to_policy()


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
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"(at line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}, the end)"
        hint = "; an account id stands in quotes" if re.search(r"(?m)^[^#\"'\n]*\b0[0-9]{11}\b", text) else ""
        what = str(error).replace("(at end of document)", end) + hint
    except (RecursionError, ValueError):
        what = "it is nested too deeply, or has a number of thousands of digits"
    raise UsageError(f"not valid TOML: {what}", where=origin, next_step=_NEXT_STEP)


def _validated(data: Mapping[str, Any], origin: str, given: Collection[KeyPath] = ()) -> Config:
    try:
        return Config.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        problems = [problem_of(found) for found in error.errors() if found["type"] != "conflict"]
    raise _refusal([*problems, *conflicts(data)], origin, given)


def _refusal(problems: Iterable[Problem], origin: str, given: Collection[KeyPath] = ()) -> UsageError:
    """Every problem, and where: those of values that the command line gave are not the file's."""
    told = [(f"{dotted(path)}: {said}", any(path[: len(place)] == place for place in given)) for path, said in problems]
    if all(is_given for _, is_given in told):
        return UsageError("\n".join(line for line, _ in told), where=COMMAND_LINE, next_step=_NEXT_STEP)
    what = "\n".join(f"{line} ({COMMAND_LINE})" if is_given else line for line, is_given in told)
    return UsageError(what, where=origin, next_step=_NEXT_STEP)
