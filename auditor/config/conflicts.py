"""What no single key of a configuration is to blame for."""

from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from auditor.config.policy_conflicts import day_of, policy_conflicts
from auditor.config.words import KeyPath, Problem, at, repeated

PARTITIONS = ("aws", "aws-cn", "aws-us-gov")

CHAINED_MINUTES = 60
"""The longest session of a role that is assumed from a role (AWS IAM: role chaining)."""


def conflicts(data: Mapping[str, Any]) -> Iterator[Problem]:
    """What no single key is to blame for, in data that may be wrong in any other way as well."""
    accounts, unused = at(data, dict, "accounts"), at(data, dict, "policy", "key-unused")
    listed = at(accounts, list, "list")
    source = accounts.get("source", "caller")
    if source == "list" and not accounts.get("list"):
        yield ("accounts", "list"), 'source = "list" needs at least one account under [[accounts.list]]'
    if source == "caller" and listed:
        yield ("accounts", "source"), '"caller" does not read [[accounts.list]]; set it to "list" or remove the list'
    if source == "caller" and accounts.get("role_name"):
        said = 'source = "caller" assumes no role; set source to "organisation" or "list", or remove this key'
        yield ("accounts", "role_name"), said
    if source == "organisation" and not accounts.get("role_name"):
        yield (
            ("accounts", "role_name"),
            'source = "organisation" needs the role to assume in every account; --role-name gives it, too',
        )
    yield from repeated([at(entry, str, "id") for entry in listed], ("accounts", "list"), "id")
    yield from _secret_conflicts(at(data, dict, "remediation", "secrets"))
    yield from _entry_conflicts(accounts, source)
    filters: list[KeyPath] = [
        ("accounts", side, name) for side in ("include", "exclude") for name in ("ids", "names", "ous", "tags")
    ]
    for path in filters:
        if source in ("caller", "list") and at(data, list, *map(str, path)):
            yield path, f'source = "{source}" has no organisation to choose from; set it to "organisation"'
    for path in (*filters, ("owners", "tags"), ("output", "formats")):
        yield from repeated(at(data, list, *map(str, path)), path)
    if at(data, dict, "output").get("formats") == []:
        yield ("output", "formats"), "is an empty list; wanted one format at least"
    grace, limit = unused.get("grace_days", 1), unused.get("max_unused_days", 45)
    if {type(grace), type(limit)} == {int} and grace > limit >= 1:
        yield ("policy", "key-unused", "grace_days"), "is longer than max_unused_days"
    yield from _remediation_conflicts(data)
    yield from policy_conflicts(data)


def _remediation_conflicts(data: Mapping[str, Any]) -> Iterator[Problem]:
    source = at(data, dict, "accounts").get("source", "caller")
    if source in ("caller", "list") and at(data, list, "remediation", "protected", "ous"):
        said = f'source = "{source}" has no organisation to ask; name accounts, or set it to "organisation"'
        yield ("remediation", "protected", "ous"), said
    window = at(data, dict, "remediation", "window")
    starts, ends, zone = window.get("starts", "09:00"), window.get("ends", "15:00"), window.get("time_zone", "UTC")
    if isinstance(starts, str) and isinstance(ends, str) and starts >= ends:
        yield ("remediation", "window", "ends"), "is not after starts"
    if isinstance(zone, str) and not _is_time_zone(zone):
        yield ("remediation", "window", "time_zone"), "is not the name of a time zone, such as Europe/London"
    if window.get("days") == []:
        yield ("remediation", "window", "days"), "is an empty list; wanted one day at least"
    for index, freeze in enumerate(at(window, list, "freeze")):
        first, last = (day_of(at(freeze, object, name)) for name in ("starts", "ends"))
        if first and last and last < first:
            yield ("remediation", "window", "freeze", index, "ends"), "is before starts"


def _is_time_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _secret_conflicts(secrets: Mapping[str, Any]) -> Iterator[Problem]:
    if secrets.get("owner") and not secrets.get("recovery_keys"):
        said = "files that nobody but their owner can read need a second reader, for when the owner cannot"
        yield ("remediation", "secrets", "recovery_keys"), said


def _entry_conflicts(accounts: Mapping[str, Any], source: object) -> Iterator[Problem]:
    """What is wrong with how accounts are entered, beyond single keys."""
    if source in ("caller", "list") and accounts.get("root_sessions") is True:
        said = f'source = "{source}" has no member accounts to enter as root; set it to "organisation"'
        yield ("accounts", "root_sessions"), said
    overrides = at(accounts, list, "override")
    if overrides and source in ("caller", "list"):
        said = f'source = "{source}" does not read [[accounts.override]]; set it to "organisation"'
        yield ("accounts", "override"), said
    yield from repeated([at(entry, str, "id") for entry in overrides], ("accounts", "override"), "id")
    for index, entry in enumerate(overrides):
        if isinstance(entry, dict) and not any(entry.get(key) for key in ("name", "role_name", "external_id")):
            yield ("accounts", "override", index), "changes nothing; give name, role_name or external_id"
    chains: dict[KeyPath, list[Any]] = {("accounts", "via"): at(accounts, list, "via")}
    for partition in PARTITIONS:
        table, path = at(accounts, dict, "partition", partition), ("accounts", "partition", partition)
        chains[*path, "via"] = at(table, list, "via")
        if source == "caller" and table.get("profile"):
            yield (*path, "profile"), 'source = "caller" enters no other account; set it to "organisation" or "list"'
        if chains[*path, "via"] and not table.get("profile"):
            yield (*path, "profile"), "is missing; the first of these roles is assumed with its credentials"
    for place, chain in chains.items():
        yield from _chain_conflicts(place, chain, source)
    minutes = accounts.get("session_minutes")
    if any(chains.values()) and type(minutes) is int and minutes > CHAINED_MINUTES:
        said = f"is more than the {CHAINED_MINUTES} that AWS gives a role assumed from another (via)"
        yield ("accounts", "session_minutes"), said


def _chain_conflicts(path: KeyPath, chain: list[Any], source: object) -> Iterator[Problem]:
    if chain and source == "caller":
        yield path, 'source = "caller" assumes no role; set source to "organisation" or "list"'
    yield from repeated(chain, path)
    home = str(path[2]) if path[1] == "partition" else ""
    for index, arn in enumerate(chain):
        partition = arn.split(":")[1] if isinstance(arn, str) and arn.count(":") > 1 else ""
        home = home or partition
        if partition in PARTITIONS and partition != home:
            yield (*path, index), f"is a role in {partition}, which cannot be assumed from {home}"
