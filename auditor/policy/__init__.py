"""The controls and how they are judged. Pure: no file, clock, environment or network."""

from auditor.policy.controls import CONTROLS, Control, describe_rule
from auditor.policy.evaluate import evaluate, gravest_first
from auditor.policy.selection import users_to_look_up
from auditor.policy.summary import Tally, tally

__all__ = [
    "CONTROLS",
    "Control",
    "Tally",
    "describe_rule",
    "evaluate",
    "gravest_first",
    "tally",
    "users_to_look_up",
]
