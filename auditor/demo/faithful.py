"""AWS in front of moto: a WSGI application that answers as AWS does where moto does not, and lets moto do the rest."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Event
from types import MappingProxyType
from uuid import NAMESPACE_URL, UUID, uuid5
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from auditor.demo import cloudtrail, iam, organizations, secretsmanager, sts
from auditor.demo.answers import Question, Reply
from auditor.demo.cloud import Clock, Cloud
from auditor.demo.credentials import identify
from auditor.demo.report_table import render_report
from auditor.demo.reports import Report, ReportDesk
from auditor.demo.wire import Answer, AwsError, RefusedError, Request, parse_request, render_answer, render_error
from auditor.model import UsedAt

REPLIES: Mapping[str, Mapping[str, Reply]] = {
    "iam": iam.REPLIES,
    "sts": sts.REPLIES,
    "organizations": organizations.REPLIES,
    "cloudtrail": cloudtrail.REPLIES,
    "secretsmanager": secretsmanager.REPLIES,
}
"""What is answered here, by service and action."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request, as a fault decides on it: the n-th call of this action with this account's credentials, from 1.

    `account_id` is empty where the credentials are refused. An AssumeRole counts for the account that calls it; the
    account that it enters is in `params["RoleArn"]`.
    """

    action: str
    service: str
    account_id: str
    params: Mapping[str, str]
    number: int
    is_root: bool = False
    """Whether a session of the root user signed it."""
    region: str = ""
    """That it was signed for."""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class ErrorFault:
    """Answer with this AWS error, such as `ErrorFault(400, "Throttling", "Rate exceeded")`."""

    status: int
    code: str
    message: str = "Injected."


@dataclass(frozen=True, slots=True)
class DelayFault:
    """Wait so many seconds, or until the organisation is stopped, and then answer properly."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DropFault:
    """Close the connection without an answer."""


@dataclass(frozen=True, slots=True)
class RawFault:
    """Answer with these bytes."""

    body: bytes
    status: int = 200
    content_type: str = "text/xml"


@dataclass(frozen=True, slots=True)
class LostFault:
    """Do what is asked, and close the connection without the answer."""


Fault = ErrorFault | DelayFault | DropFault | RawFault | LostFault


class FaithfulAws:
    """The WSGI application. Every request is authenticated, counted, perhaps made to fail, and answered.

    Args:
        cloud: the planted organisation.
        moto: moto's own application, which gets what is not answered here.
        clock: the organisation's time.
        fault: asked about every call, from many threads; None, or what to do instead of answering.
        page_size: makes lists answer in shorter pages than AWS's.
        report_seconds: how long making a credential report takes at least, in real time.
    """

    def __init__(  # noqa: PLR0913 - all but two are settings with a default
        self,
        cloud: Cloud,
        moto: WSGIApplication,
        clock: Clock,
        fault: Callable[[Call], Fault | None] | None = None,
        *,
        page_size: int | None = None,
        report_seconds: float = 0.0,
    ) -> None:
        """See the class."""
        self._cloud = cloud
        self._moto = moto
        self._clock = clock
        self._fault = fault
        self._page_size = page_size
        self._report_seconds = report_seconds
        self._stopped = Event()
        self._desks: dict[str, ReportDesk] = {}
        self._log: list[Call] = []
        self._counts: Counter[tuple[str, str]] = Counter()
        self._repetitions: Counter[str] = Counter()

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        """A copy of how often each (account id, action) was called so far."""
        with self._cloud.lock:
            return Counter(self._counts)

    @property
    def call_log(self) -> tuple[Call, ...]:
        """Every call so far, in the order of arrival."""
        with self._cloud.lock:
            return tuple(self._log)

    def stop(self) -> None:
        """Wake up what a DelayFault keeps waiting; from now on every connection is dropped."""
        self._stopped.set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request; raises ConnectionAbortedError to make the server drop the connection."""
        request = parse_request(environ)
        refusal = question = None
        try:
            question = self._question(request)
        except RefusedError as error:
            refusal = error
        account_id = question.caller.account_id if question is not None else ""
        call = self._count(request, account_id, is_root=question is not None and question.caller.is_root)
        request_id = self._request_id(call)
        fault = self._fault_of(call)
        answer = self._faulty_answer(fault, request, request_id)
        if answer is not None:
            return answer.send(start_response)
        if question is None:
            assert refusal is not None
            return render_error(request, refusal.error, request_id).send(start_response)
        self._record_use(question)
        done = self._answer(question, request_id, environ, start_response)
        if isinstance(fault, LostFault):
            raise ConnectionAbortedError
        return done

    def _record_use(self, question: Question) -> None:
        """Only of keys that were made here by a call: what was planted is used as its seed says."""
        request, cloud = question.request, self._cloud
        with cloud.lock:
            if request.access_key_id in cloud.created_keys:
                used = UsedAt(self._clock(), request.service, request.region)
                cloud.extras_of(question.caller.account_id).uses[str(request.access_key_id)] = used

    def _question(self, request: Request) -> Question:
        caller = identify(request, self._cloud, self._clock)
        desk = self._desk(caller.account_id)
        return Question(request, caller, self._cloud, self._clock, self._page_size, desk)

    def _desk(self, account_id: str) -> ReportDesk:
        with self._cloud.lock:
            if account_id not in self._desks:
                extras = self._cloud.extras_of(account_id)
                self._desks[account_id] = ReportDesk(
                    lambda: render_report(self._cloud, account_id),
                    self._clock,
                    polls=extras.report.polls,
                    seconds=self._report_seconds,
                    existing=Report(*extras.earlier_report) if extras.earlier_report else None,
                )
            return self._desks[account_id]

    def _count(self, request: Request, account_id: str, *, is_root: bool) -> Call:
        with self._cloud.lock:
            self._counts[account_id, request.action] += 1
            number = self._counts[account_id, request.action]
            params = MappingProxyType(dict(request.params))
            agent = request.user_agent
            call = Call(request.action, request.service, account_id, params, number, is_root, request.region, agent)
            self._log.append(call)
        return call

    def _request_id(self, call: Call) -> UUID:
        """The same for the n-th time that an account asks the same, whatever else is under way meanwhile."""
        asked = f"{call.account_id}/{call.service}/{call.action}/{sorted(call.params.items())}"
        with self._cloud.lock:
            self._repetitions[asked] += 1
            return uuid5(NAMESPACE_URL, f"{asked}/{self._repetitions[asked]}")

    def _fault_of(self, call: Call) -> Fault | None:
        try:
            return self._fault(call) if self._fault is not None else None
        except Exception as error:  # noqa: BLE001 - whoever wrote the fault learns of it from the answer
            return ErrorFault(500, "InternalFailure", f"the fault raised {type(error).__name__}: {error}")

    def _faulty_answer(self, fault: Fault | None, request: Request, request_id: UUID) -> Answer | None:
        if isinstance(fault, DelayFault):
            self._stopped.wait(fault.seconds)
        if isinstance(fault, DropFault) or self._stopped.is_set():
            raise ConnectionAbortedError
        if isinstance(fault, ErrorFault):
            return render_error(request, AwsError(fault.status, fault.code, fault.message), request_id)
        if isinstance(fault, RawFault):
            return Answer(fault.status, fault.body, fault.content_type, str(request_id))
        return None

    def _answer(
        self, question: Question, request_id: UUID, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        request = question.request
        reply = REPLIES.get(request.service, {}).get(request.action)
        try:
            sts.require_task(question)
            if request.service == "organizations" and request.action not in organizations.OPEN_ACTIONS:
                organizations.require_permission(question)
            payload = reply(question) if reply is not None else None
            if payload is None:
                return self._ask_moto(question, environ, start_response)
        except RefusedError as refusal:
            return render_error(request, refusal.error, request_id).send(start_response)
        except NotImplementedError:
            message = f"Could not find operation {request.action}."
            return render_error(request, AwsError(400, "InvalidAction", message), request_id).send(start_response)
        except Exception as error:  # noqa: BLE001 - a server answers, whatever happens inside it
            failure = AwsError(500, "InternalFailure", f"{type(error).__name__}: {error}")
            return render_error(request, failure, request_id).send(start_response)
        return render_answer(request, payload, request_id).send(start_response)

    def _ask_moto(self, question: Question, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Moto's answer, in the caller's account; a few are put right on the way out."""
        # Without the header moto looks for the access key in all accounts, and takes an unknown one for its default.
        environ["HTTP_X_MOTO_ACCOUNT_ID"] = question.caller.account_id
        amend = iam.AFTERWARDS.get(question.request.action) if question.request.service == "iam" else None
        if amend is None:
            return self._moto(environ, start_response)
        heads: list[tuple[str, list[tuple[str, str]]]] = []

        def keep(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> Callable[[bytes], object]:
            del exc_info
            heads.append((status, headers))
            return bytes

        body = b"".join(self._moto(environ, keep))
        status, headers = heads[-1]
        if status.startswith("200"):
            body = amend(question, body)
        start_response(status, [(name, value) for name, value in headers if name.lower() != "content-length"])
        return [body]
