"""The settings: config.toml as typed, frozen records; every mistake in it is named at once, before anything is called.

`records` has the settings, `frameworks` the editions of standards, `forms` what their texts must look like,
`conflicts` what no single key is to blame for, `reading` and `text` the way from TOML and back, `sentences` and `words`
what a person is told. External ids are treated as secrets: no message, no `repr` and no stored run shows one.
"""

from auditor.config.frameworks import (
    ClauseConfig,
    FrameworkConfig,
    built_in_framework,
    built_in_frameworks,
    load_framework,
    parse_framework,
)
from auditor.config.policy_records import KeyAgeConfig, PolicyConfig
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
    OutputConfig,
    ReportFormat,
)

__all__ = [
    "AccountEntry",
    "AccountFilter",
    "AccountOverride",
    "AccountSource",
    "AccountsConfig",
    "ClauseConfig",
    "Config",
    "FrameworkConfig",
    "GatherConfig",
    "KeyAgeConfig",
    "OutputConfig",
    "PolicyConfig",
    "ReportFormat",
    "Values",
    "asks_the_same",
    "built_in_framework",
    "built_in_frameworks",
    "config_schema",
    "effective_toml",
    "load_config",
    "load_framework",
    "load_output",
    "parse_config",
    "parse_framework",
    "policy_from_toml",
]
