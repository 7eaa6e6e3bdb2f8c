"""AWS's answers as they were kept, given again to whoever asks the same; no call is sent.

What is kept may have been made to deceive: an answer has to be what AWS sends, under the id of its request, about whom
was asked; and whoever asks has to ask for all that there is.
"""

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Any

import botocore.exceptions
import botocore.session

from auditor.aws.calls import Asker, is_look_up, request_id
from auditor.aws.clients import CREDENTIALS
from auditor.aws.failures import WIRE_CODES, AwsFailure, Kind
from auditor.aws.wire import Answers
from auditor.model import ANSWERED, UNANSWERED, Request

LONGEST = 4 << 20
"""Bytes of an answer; AWS's largest page, of 1,000 entries, has less than one million."""

PROLOGUE = re.compile(rb"""<\?xml version=["']1\.0["'](?: encoding=["'][Uu][Tt][Ff]-8["'])?\?>""")


ENTERING = frozenset({"sts:AssumeRole", "sts:AssumeRoot"})
"""What may fail in the place of a request that needs a session."""


OURS = frozenset({"WrongAccount", "UnreadableAnswer"})
"""How a session fails though AWS gave one."""


class NotAnsweredError(Exception):
    """What is kept is not what was asked and answered: which line, and why."""


@cache
def _answers() -> Answers:
    return Answers(botocore.session.Session().get_service_model("iam"))


@cache
def _look_ups() -> frozenset[str]:
    """The operations whose answers are kept, as requests name them."""
    methods = _answers().operations
    return frozenset(_answers().operation(method) for method in methods if is_look_up("iam", method))


Ended = tuple[str, str]
"""An operation, and the code that a request ended with."""


class Recorded(Asker):
    """One account's answers. Each is given once, in the order in which they came: who asked twice had two."""

    def __init__(self, requests: Iterable[Request], elsewhere: Callable[[], Collection[Ended]] = tuple) -> None:
        """The account's requests in the order of sending.

        Args:
            requests: the requests.
            elsewhere: how other requests of the run ended. Accounts that are entered by way of the same first role
                share its requests, and one of them has them.

        Raises:
            NotAnsweredError: one has no answer though it was answered, or one that it cannot have.
        """
        requests = list(requests)
        self._kept: dict[str, deque[Request]] = defaultdict(deque)
        sent = {(one.operation, one.outcome) for one in requests if one.failed_in is None}
        for request in requests:
            if request.failed_in is not None:
                is_so = is_unsent(request, sent, elsewhere)
                _confirm(request, f"{request.failed_in} did not fail in its place", is_so=is_so)
            if request.operation not in _look_ups():
                _confirm(request, "it is no look-up", is_so=request.params is None and request.answer is None)
                continue
            _confirm(request, "what was asked is not kept", is_so=request.params is not None)
            is_named = request.operation != "iam:ListAccessKeys" or "UserName" in (request.params or {})
            is_root = ("sts:AssumeRoot", ANSWERED) in sent
            _confirm(request, "whose keys these are is not known", is_so=is_named or is_root)
            is_answered = request.outcome == ANSWERED and request.failed_in is None
            _confirm(request, "it has no answer, or one in vain", is_so=is_answered is (request.answer is not None))
            _confirm(request, "it has no id", is_so=request.request_id is not None or not is_answered)
            self._kept[_name(request.operation, request.params or {})].append(request)

    def confirm_all_given(self) -> None:
        """Raises NotAnsweredError where something was answered that nobody asked for now."""
        for kept in self._kept.values():
            for request in kept:
                _confirm(request, "it was asked, and nothing is made of it", is_so=False)

    def has(self, operation: str, **params: Any) -> bool:
        """Whether this was asked, and was not given yet."""
        return bool(self._kept[_name(operation, params)])

    def operation(self, service: str, method: str) -> str:
        """See `Asker`."""
        assert service == "iam", "of others no answers are kept"
        return _answers().operation(method)

    async def call(self, service: str, method: str, **params: Any) -> Mapping[str, Any]:
        """See `Asker`: what was tried until it came is what came, and else how the last try ended.

        Raises:
            NotAnsweredError: it was never asked, or the answer cannot be AWS's to that.
        """
        operation = self.operation(service, method)
        kept = self._kept[_name(operation, params)]
        if not kept:
            raise NotAnsweredError(f"{operation} {json.dumps(params)}: nobody asked for it")
        last = kept.popleft()
        while last.answer is None and kept and kept[0].attempt > last.attempt:
            last = kept.popleft()
        if last.answer is not None:
            return self._read(last, method, last.answer)
        kind = WIRE_CODES.get(last.outcome, Kind.OTHER)
        raise AwsFailure(kind, last.failed_in or operation, last.outcome, last.why or "", last.request_id)

    def _read(self, request: Request, method: str, body: bytes) -> Mapping[str, Any]:
        """The answer; it has no document type, which would let it grow, and says whom it is about."""
        content = PROLOGUE.sub(b"", body, count=1)
        is_plain = len(body) <= LONGEST and b"<!" not in content and b"<?" not in content
        _confirm(request, "its answer is none of AWS's", is_so=is_plain)
        try:
            answer = _answers().read(method, 200, {}, body)
        except AwsFailure as failure:  # it would have been kept as that, and no answer
            raise _wrong(request, "its answer is none of AWS's") from failure
        _confirm(request, "its answer is another's", is_so=request_id(answer) == request.request_id)
        asked = request.params or {}
        for entry in answer.get("AccessKeyMetadata", ()):
            user = str(entry.get("UserName"))
            is_theirs = "UserName" not in asked or user.casefold() == str(asked["UserName"]).casefold()
            _confirm(request, f"its answer is about {user}", is_so=is_theirs)
        return answer


def is_unsent(request: Request, sent: Collection[Ended], elsewhere: Callable[[], Collection[Ended]]) -> bool:
    """Whether something failed in the place of a request that was not sent, as it says.

    Where a role, a login or a program gives the caller's own credentials, botocore asks, and no request is kept.
    """
    failed_in, code = str(request.failed_in), request.outcome
    is_botocores = hasattr(botocore.exceptions, code)
    if failed_in == CREDENTIALS:
        return True
    if failed_in in ENTERING:
        ends = {(failed_in, code), (failed_in, UNANSWERED)}  # whoever took it over may have ended before it did
        return is_botocores or code in OURS or not ends.isdisjoint(sent) or not ends.isdisjoint(elsewhere())
    return failed_in == request.operation and is_botocores


def _confirm(request: Request, what: str, *, is_so: bool) -> None:
    if not is_so:
        raise _wrong(request, what)


def _wrong(request: Request, what: str) -> NotAnsweredError:
    where = f"{request.operation:.64} of {request.at.isoformat()} ({request.request_id!s:.64})"
    return NotAnsweredError(f"{where}: {what:.300}")  # a bundle's own texts may be as long as they like


def _name(operation: str, params: Mapping[str, Any]) -> str:
    return f"{operation} {json.dumps(params, sort_keys=True)}"
