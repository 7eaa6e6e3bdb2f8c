"""The controls and how they are judged. Pure: no file, clock, environment or network."""

from auditor.policy.controls import CONTROLS, Control, describe, describe_rule
from auditor.policy.criteria import Asked, asks, clause_key, criteria, label
from auditor.policy.evaluate import evaluate, gravest_first
from auditor.policy.exemptions import Standing, is_in_force, standing
from auditor.policy.explain import Applies, Considered, explain_limit, scope_words
from auditor.policy.owners import NOT_LOOKED_UP, with_owners
from auditor.policy.scopes import is_like, of_table, places_of
from auditor.policy.selection import users_to_look_up
from auditor.policy.summary import Tally, tally

__all__ = [
    "CONTROLS",
    "NOT_LOOKED_UP",
    "Applies",
    "Asked",
    "Considered",
    "Control",
    "Standing",
    "Tally",
    "asks",
    "clause_key",
    "criteria",
    "describe",
    "describe_rule",
    "evaluate",
    "explain_limit",
    "gravest_first",
    "is_in_force",
    "is_like",
    "label",
    "of_table",
    "places_of",
    "scope_words",
    "standing",
    "tally",
    "users_to_look_up",
    "with_owners",
]
