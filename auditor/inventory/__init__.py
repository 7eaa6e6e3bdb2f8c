"""What was read of each account → the tables of facts. Pure: gathering, replay and tests see with the same eyes.

The credential report may be four hours old and names no key ids; ListAccessKeys is the truth about a user it was asked
for. `join` brings the two together for one user, `people` makes rows of such users, and `snapshot` puts them among the
many of whom the report's columns are all that is known.
"""

from auditor.inventory.join import REPORT_GRACE, SAME_SECOND, WHICH_KEY, ResolvedKey, resolve_keys
from auditor.inventory.observed import with_inactive_since
from auditor.inventory.snapshot import build_snapshot

__all__ = [
    "REPORT_GRACE",
    "SAME_SECOND",
    "WHICH_KEY",
    "ResolvedKey",
    "build_snapshot",
    "resolve_keys",
    "with_inactive_since",
]
