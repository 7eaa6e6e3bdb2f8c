"""Accounts → facts: one account is one unit of work, and what could not be read is a value, never a gap."""

from auditor.gather.account import audit_account
from auditor.gather.entering import connection_for
from auditor.gather.fan_out import expect_accounts, gather_accounts
from auditor.gather.files import read_reports
from auditor.gather.scope import Scope, resolve_scope
from auditor.gather.settings import GatherSettings, Progress, RawStore

__all__ = [
    "GatherSettings",
    "Progress",
    "RawStore",
    "Scope",
    "audit_account",
    "connection_for",
    "expect_accounts",
    "gather_accounts",
    "read_reports",
    "resolve_scope",
]
