"""The settings, for any text and for any valid values."""

import tomllib
from typing import Any

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from auditor.config import Config, config_schema, effective_toml, parse_config, policy_from_toml
from auditor.errors import UsageError
from auditor.model import Operator, Severity

SCHEMA = config_schema()
NAMES = sorted({name for table in (SCHEMA, *SCHEMA["$defs"].values()) for name in table.get("properties", {})})

WORDS = st.sampled_from(["", "list", "organisation", ">", "high", "pdf", "111111111111", "a/b", "http://h"]) | st.text()
SCALARS = st.one_of(WORDS, st.integers(), st.floats(), st.booleans(), st.datetimes(), st.dates(), st.times())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES) | st.text(), inner, max_size=5)
    ),
    max_leaves=20,
)
SECTIONS = st.dictionaries(
    st.sampled_from(sorted(Config.model_fields)),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6) | VALUES,
    max_size=6,
)


def tried(text: str) -> Config | UsageError:
    """The settings in a text, or the refusal, which has a line for each problem and nothing unprintable."""
    try:
        return parse_config(text, origin="any")
    except UsageError as error:
        refusal = error
    assert all(line and line.isprintable() for line in refusal.what.split("\n"))
    assert "not valid here" not in refusal.what
    return refusal


@given(st.text())
def test_any_text_gives_settings_or_a_usage_error(text: str) -> None:
    """No text at all makes anything but a Config or a UsageError."""
    tried(text)


@given(
    st.lists(st.sampled_from(["[", "]", "[[", "]]", "=", ".", '"', "'", "\n", "accounts", "list", "id", "1", "{", "}"]))
)
def test_any_pieces_of_toml_give_settings_or_a_usage_error(pieces: list[str]) -> None:
    """No heap of TOML's own signs makes anything but a Config or a UsageError."""
    tried("".join(pieces))


@given(SECTIONS)
def test_any_values_give_settings_or_a_usage_error(data: dict[str, Any]) -> None:
    """Values of any type at any key are accepted or refused; accepted ones stay the same when written and read."""
    config = tried(tomli_w.dumps(data))
    if isinstance(config, Config) and "(set)" not in effective_toml(config):
        assert parse_config(effective_toml(config), origin="again") == config


OPERATORS = st.sampled_from([str(operator) for operator in Operator])
SEVERITIES = st.sampled_from([str(severity) for severity in Severity])
TAGS = st.text(st.characters(categories=["L", "N"], include_characters=" _.:/=+-@"), min_size=1, max_size=128)
EXTERNAL_IDS = st.from_regex(r"secret-[A-Za-z0-9_+=,.@:/-]{8,40}", fullmatch=True)


def switched() -> st.SearchStrategy[dict[str, Any]]:
    """The table of a control that can be switched off."""
    return st.fixed_dictionaries({"enabled": st.booleans(), "severity": SEVERITIES})


def limited(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """The same of one with a limit."""
    table = {"enabled": st.booleans(), name: st.integers(1, 3650), "operator": OPERATORS, "severity": SEVERITIES}
    return st.fixed_dictionaries(table)


@st.composite
def valid_settings(draw: st.DrawFn) -> dict[str, Any]:
    """Raw settings within every limit."""
    days = draw(st.integers(1, 3650))
    return {
        "accounts": {
            "source": "organisation",
            "external_id": draw(EXTERNAL_IDS),
            "role_name": draw(st.from_regex(r"[A-Za-z0-9_]{1,64}", fullmatch=True)),
        },
        "policy": {
            "warning_days": draw(st.integers(0, 365)),
            "rotation_overlap_days": draw(st.integers(0, 365)),
            "limit": [],
            "key-age": {
                "max_age_days": draw(st.integers(1, 3650)),
                "operator": draw(OPERATORS),
                "severity": draw(SEVERITIES),
            },
            "key-unused": {
                "max_unused_days": days,
                "operator": draw(OPERATORS),
                "severity": draw(SEVERITIES),
                "grace_days": draw(st.integers(0, days)),
            },
            "root-access-key": {"inactive_fails": draw(st.booleans()), "severity": draw(SEVERITIES)},
            "one-active-key": {
                "max_active_keys": draw(st.integers(1, 2)),
                "overlap_passes": draw(st.booleans()),
                "severity": draw(SEVERITIES),
            },
            "key-at-user-creation": draw(switched()),
            "inactive-key-retained": draw(limited("max_inactive_days")),
            "quarantined-key": draw(switched()),
            "service-credential-age": draw(limited("max_age_days")),
            "console-password-unused": draw(limited("max_unused_days")),
            "console-mfa": draw(switched()),
            "extra-keys": {"severity": draw(SEVERITIES)},
        },
        "owners": {"tags": draw(st.lists(TAGS, unique=True, max_size=6)), "rule": []},
    }


@given(valid_settings())
def test_a_stored_policy_is_the_policy_that_was_used(data: dict[str, Any]) -> None:
    """Any valid policy is the same after it was stored with a run and read back, and no external id is stored."""
    config = parse_config(tomli_w.dumps(data), origin="any")
    stored = effective_toml(config)
    assert policy_from_toml(stored) == config.to_policy()
    assert data["accounts"]["external_id"] not in stored
    assert {name: tomllib.loads(stored)[name] for name in ("policy", "owners")} == {
        name: data[name] for name in ("policy", "owners")
    }
