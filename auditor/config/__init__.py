"""The settings: config.toml as typed, frozen records; every mistake in it is named at once, before anything is called.

`records` has the settings, `forms` what their texts must look like, `conflicts` what no single key is to blame for,
`reading` the way from TOML and back, `sentences` and `words` what a person is told. External ids are treated as
secrets: no message, no `repr` and no stored run shows one.
"""

from auditor.config.reading import (
    Values,
    asks_the_same,
    config_schema,
    effective_toml,
    load_config,
    load_output,
    parse_config,
    policy_from_toml,
)
from auditor.config.records import (
    AccountEntry,
    AccountFilter,
    AccountOverride,
    AccountsConfig,
    AccountSource,
    Config,
    GatherConfig,
    KeyAgeConfig,
    PolicyConfig,
    ReportFormat,
)

__all__ = [
    "AccountEntry",
    "AccountFilter",
    "AccountOverride",
    "AccountSource",
    "AccountsConfig",
    "Config",
    "GatherConfig",
    "KeyAgeConfig",
    "PolicyConfig",
    "ReportFormat",
    "Values",
    "asks_the_same",
    "config_schema",
    "effective_toml",
    "load_config",
    "load_output",
    "parse_config",
    "policy_from_toml",
]
