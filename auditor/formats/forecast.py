"""The days ahead: how many verdicts that pass now, or are exempt, will fail within 30, 60 and 90 days. Pure."""

from dataclasses import dataclass

import pandas as pd

from auditor.policy import CONTROLS
from auditor.tables import HORIZONS, Run

NO_OWNER = "no owner"
"""What stands where nobody is known to own a key."""

SHIFTING = (
    "A due date by age stands until the key is replaced; one by use moves with every use, so those keys fall due only "
    "if nobody uses them."
)

MOST_OWNERS = 50


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """How many verdicts fall due within each horizon, those of the shorter ones included."""

    label: str
    within: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ForecastView:
    """What falls due, by control in the controls' order, and by owner, the most first."""

    horizons: tuple[int, ...] = HORIZONS
    by_control: tuple[ForecastRow, ...] = ()
    by_owner: tuple[ForecastRow, ...] = ()
    total: int = 0
    shown: int = 0
    """How many of them are told one by one."""
    note: str = SHIFTING


def forecast_view(run: Run) -> ForecastView:
    """The forecast of a finished run."""
    counts = run.forecast.assign(owner=run.forecast["owner"].fillna(NO_OWNER))
    by_control = {row.label: row for row in _rows(counts, "control")}
    controls = [by_control[control.value] for control in CONTROLS if control.value in by_control]
    titled = tuple(
        ForecastRow(CONTROLS[c].title, by_control[c.value].within) for c in CONTROLS if c.value in by_control
    )
    owners = sorted(_rows(counts, "owner"), key=lambda row: (-row.within[-1], row.label))
    total = sum(row.within[-1] for row in controls)
    return ForecastView(HORIZONS, titled, tuple(owners[:MOST_OWNERS]), total, len(run.upcoming))


def _rows(counts: pd.DataFrame, by: str) -> list[ForecastRow]:
    totals: dict[str, dict[int, int]] = {}
    for label, within, verdicts in zip(counts[by], counts["within"], counts["verdicts"], strict=True):
        of = totals.setdefault(str(label), {})
        of[int(within)] = of.get(int(within), 0) + int(verdicts)
    return [
        ForecastRow(label, tuple(sum(n for days, n in of.items() if days <= horizon) for horizon in HORIZONS))
        for label, of in totals.items()
    ]
