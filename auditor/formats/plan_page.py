"""A plan of remediation as one HTML page, for those who approve it: no script, no network, nothing to load."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditor.formats.environment import asset_text, environment


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the diff: `sign` is + for what is made, ~ for what is changed, - for what is gone for good."""

    sign: str
    what: str
    undo: str = ""


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """A key, what is done to it, why, and how."""

    id: str
    what: str
    where: str
    key: str
    because: Sequence[tuple[str, str]]
    """Control and reason."""
    facts: Sequence[tuple[str, str]]
    """Label and value, such as the last use."""
    goes_to: str
    """Where the secret of the new key goes; empty where there is none."""
    readers: Sequence[str]
    """Public keys that can read it there."""
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class NotPlanned:
    """A key that nothing is done to, why, and what somebody can do."""

    where: str
    key: str
    code: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True)
class PlanPage:
    """All that the page says, in words."""

    id: str
    code: str
    sha256: str
    headline: str
    facts: Sequence[tuple[str, str]]
    items: Sequence[PlannedItem]
    left_out: str
    """How many keys nothing is planned for, or not all that was asked; empty for none."""
    not_planned: Sequence[NotPlanned]


def render_plan(page: PlanPage) -> bytes:
    """The page in UTF-8; the same plan always gives the same bytes."""
    style = asset_text("plan.css")
    style_of = Markup(style)  # noqa: S704 - our own file
    text = environment().get_template("plan.html.j2").render(page=page, style=style_of)
    return text.encode("utf-8", "replace")
