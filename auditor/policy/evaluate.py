"""Facts → verdicts: every criterion on every key or user, by whole columns. The same inputs always give the same table.

What is judged is put into cases first: keys of the same age in days, due on the same day, with nothing else to tell
them apart, get the same verdict in the same words, so each case is judged and worded once (`auditor.policy.verdicts`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from auditor.model import ControlId, Policy, Severity
from auditor.policy.cases import instants, is_within, whole_days
from auditor.policy.criteria import criteria
from auditor.policy.exemptions import exempted
from auditor.policy.facts import Facts
from auditor.policy.judges import JUDGES, Judged
from auditor.policy.limits import Positions, instant
from auditor.report_columns import Texts
from auditor.tables import FINDINGS, Snapshot, texts


def evaluate(snapshot: Snapshot, policy: Policy, as_of: datetime) -> pd.DataFrame:
    """Judge every key, credential and user of the snapshot under the policy and its frameworks at the instant `as_of`.

    Returns:
        A table of `auditor.tables.FINDINGS`, one row per verdict, compliant ones too; by account, then the gravest
        first, then by user and slot. So the tables of batches of accounts, one after the other, are the table of all.
    """
    facts = Facts(snapshot, policy, instant(as_of))
    asked = sorted(criteria(policy), key=lambda one: _gravity(policy, one.control))
    parts = [part for one in asked for part in JUDGES[one.control](facts, one)]
    return exempted(_findings(facts, parts), snapshot, policy, as_of)


def gravest_first(findings: pd.DataFrame) -> pd.DataFrame:
    """Findings in the order of `evaluate`, or some of them, with the gravest of all accounts first, by control."""
    ranks = {severity.value: -severity.rank for severity in Severity}
    controls = {control.value: position for position, control in enumerate(ControlId)}
    severity, control = findings["severity"].map(ranks), findings["control"].map(controls)
    order = np.lexsort((control.to_numpy(np.int64), severity.to_numpy(np.int64)))
    return findings.take(order).reset_index(drop=True)


def _gravity(policy: Policy, control: ControlId) -> tuple[int, int]:
    return -policy.severities[control].rank, list(ControlId).index(control)


def _findings(facts: Facts, parts: Sequence[Judged]) -> pd.DataFrame:
    told_of, policy = facts.told, facts.policy
    subject = np.concatenate([part.subject for part in parts])
    order = np.argsort(told_of.account[subject], kind="stable")
    subject = subject[order]
    sizes = [len(part.subject) for part in parts]

    def gathered(tables: Sequence[Texts | Sequence[str | None]], places: Sequence[Positions]) -> ExtensionArray:
        """For each row a text out of its part's table."""
        first = np.cumsum([0, *map(len, tables)])[:-1]
        place = np.repeat(first, sizes) + np.concatenate(places)
        return texts(np.concatenate([np.array(table, np.object_) for table in tables])).take(place[order])

    same = [np.zeros(size, np.intp) for size in sizes]
    by_part = np.repeat(np.arange(len(parts)), sizes)[order]
    cases = [part.case for part in parts]
    created = instants(pd.Series(told_of.columns["created_at"]))
    days = pd.arrays.IntegerArray(whole_days(facts.instant - created).clip(min=0), np.isnat(created))
    rotation = instants(pd.Series(told_of.columns["rotation_since"]))
    rotation = np.where(is_within(rotation, policy.rotation_overlap, facts.instant), rotation, np.datetime64("NaT"))
    due_at = np.concatenate([part.due_at for part in parts])[order]
    clauses = ["\n".join(part.asked.clauses) or None for part in parts]
    told: dict[str, Any] = {name: column.take(subject) for name, column in told_of.columns.items()}
    told |= {
        "age_days": days.take(subject),
        "control": texts([part.asked.control.value for part in parts]).take(by_part),
        "severity": texts([policy.severities[part.asked.control].value for part in parts]).take(by_part),
        "outcome": gathered([part.cases.outcome for part in parts], cases),
        "reason": gathered([part.cases.reason for part in parts], cases),
        "due_at": pd.Series(due_at).dt.tz_localize("UTC").array,
        "by_policy": pd.array([part.asked.by_policy for part in parts], "boolean").take(by_part),
        "limit": gathered(
            [[text or None for text in part.limits] for part in parts],
            [zeros if part.choice is None else part.choice for zeros, part in zip(same, parts, strict=True)],
        ),
        "frameworks": texts(clauses).take(by_part),
        "exemption": pd.array([None], "string").take(np.zeros(len(subject), np.intp)),
        "rotation_since": pd.Series(rotation).dt.tz_localize("UTC").array.take(subject),
    }
    return pd.DataFrame({name: told[name] for name in FINDINGS}, copy=False)
