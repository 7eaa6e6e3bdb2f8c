"""What every answer is worked out from: the request, who signed it, and the organisation."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from auditor.demo.cloud import Caller, Clock, Cloud
from auditor.demo.reports import ReportDesk
from auditor.demo.wire import Payload, RefusedError, Request

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Question:
    """One authenticated request; `page_size` makes the pages of lists shorter than AWS allows them to be."""

    request: Request
    caller: Caller
    cloud: Cloud
    clock: Clock
    page_size: int | None
    desk: ReportDesk
    """Where the caller's account asks for its credential report."""

    @property
    def params(self) -> Mapping[str, str]:
        """The request's parameters by name."""
        return self.request.params


Reply = Callable[[Question], Payload | None]
"""Answers one action: its members, or None to let moto answer; raises RefusedError."""


def encode_token(*parts: int) -> str:
    """A pagination token as opaque as AWS's, holding whole numbers."""
    return base64.urlsafe_b64encode("/".join(map(str, parts)).encode()).decode()


def decode_token(token: str, refusal: RefusedError) -> tuple[int, ...]:
    """The numbers of a pagination token; raises `refusal` for one that was not made here."""
    try:
        return tuple(int(part) for part in base64.urlsafe_b64decode(token).decode().split("/"))
    except (ValueError, binascii.Error) as error:
        raise refusal from error


def page_of(question: Question, items: Sequence[Item], name: str) -> dict[str, object]:
    """IAM's pagination: up to MaxItems (100 unless asked otherwise) of `items` from the Marker on.

    Returns the members `IsTruncated`, `Marker` where there is more, and the items under `name`.
    Raises RefusedError for a MaxItems outside 1…1000 or a strange Marker.
    """
    wanted = question.params.get("MaxItems", "100")
    if not wanted.isdigit() or not 1 <= int(wanted) <= 1000:  # noqa: PLR2004 - IAM's limit
        raise RefusedError(400, "ValidationError", f"Value '{wanted}' at 'maxItems' must be between 1 and 1000")
    size = min(int(wanted), question.page_size or int(wanted))
    start = 0
    if "Marker" in question.params:
        (start, *_) = decode_token(question.params["Marker"], RefusedError(400, "ValidationError", "Invalid Marker."))
    end = start + size
    is_truncated = end < len(items)
    return {
        "IsTruncated": is_truncated,
        "Marker": encode_token(end) if is_truncated else None,
        name: items[start:end],
    }
