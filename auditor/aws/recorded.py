"""AWS's answers as they were kept, given again to whoever asks the same; no call is sent."""

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import botocore.session

from auditor.aws.calls import Asker
from auditor.aws.failures import WIRE_CODES, AwsFailure, Kind
from auditor.aws.wire import Answers
from auditor.model import Request

NOT_KEPT = "NotKept"


@cache
def _answers() -> Answers:
    return Answers(botocore.session.Session().get_service_model("iam"))


class Recorded(Asker):
    """One account's answers. Each is given once, in the order in which they came: who asked twice had two."""

    def __init__(self, requests: Iterable[Request]) -> None:
        """The account's requests in the order of sending; those whose answers were not kept are left out."""
        self._kept: dict[str, deque[Request]] = defaultdict(deque)
        for request in requests:
            if request.params is not None:
                self._kept[_name(request.operation, request.params)].append(request)

    def operation(self, service: str, method: str) -> str:
        """See `Asker`."""
        assert service == "iam", "of others no answers are kept"
        return _answers().operation(method)

    async def call(self, service: str, method: str, **params: Any) -> Mapping[str, Any]:
        """See `Asker`: what was tried until it came is what came, and else how the last try ended."""
        operation = self.operation(service, method)
        kept, last = self._kept[_name(operation, params)], None
        while kept:
            last = kept.popleft()
            if last.answer is not None:
                return _answers().read(method, 200, {}, last.answer)
        if last is None:
            raise AwsFailure(Kind.OTHER, operation, NOT_KEPT, "no such request was kept")
        kind = WIRE_CODES.get(last.outcome, Kind.OTHER)
        raise AwsFailure(kind, operation, last.outcome, last.why or "", last.request_id)


def _name(operation: str, params: Mapping[str, Any]) -> str:
    return f"{operation} {json.dumps(params, sort_keys=True)}"
