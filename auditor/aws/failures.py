"""AWS's errors as ours, told apart by wire code: `e.response["Error"]["Code"]`, never the exception class's name."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

from botocore import exceptions
from botocore.exceptions import (
    BotoCoreError,
    ConnectionError,  # noqa: A004 - botocore's own
    CredentialRetrievalError,
    HTTPClientError,
    InvalidConfigError,
    NoCredentialsError,
    PartialCredentialsError,
    ReadTimeoutError,
    SSOTokenLoadError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)


class Kind(StrEnum):
    """What a failed call means to us, whatever the service calls it."""

    DENIED = "access denied"
    CREDENTIALS_EXPIRED = "credentials expired"
    CREDENTIALS_INVALID = "credentials refused"
    NO_CREDENTIALS = "no credentials"
    THROTTLED = "throttled"
    LIMIT = "limit exceeded"
    SERVICE = "service failure"
    NOT_FOUND = "not found"
    REPORT_NOT_PRESENT = "report not present"
    REPORT_IN_PROGRESS = "report in progress"
    REPORT_EXPIRED = "report expired"
    NO_ORGANISATION = "no organisation"
    UNREACHABLE = "endpoint unreachable"
    TIMED_OUT = "no answer in time"
    UNREADABLE = "unreadable answer"
    OTHER = "refused"


WIRE_CODES: Mapping[str, Kind] = {
    "AccessDenied": Kind.DENIED,
    "AccessDeniedException": Kind.DENIED,
    "UnauthorizedOperation": Kind.DENIED,
    "ExpiredToken": Kind.CREDENTIALS_EXPIRED,
    "ExpiredTokenException": Kind.CREDENTIALS_EXPIRED,
    "RequestExpired": Kind.CREDENTIALS_EXPIRED,
    "InvalidClientTokenId": Kind.CREDENTIALS_INVALID,
    "UnrecognizedClientException": Kind.CREDENTIALS_INVALID,
    "InvalidAccessKeyId": Kind.CREDENTIALS_INVALID,
    "SignatureDoesNotMatch": Kind.CREDENTIALS_INVALID,
    "AuthFailure": Kind.CREDENTIALS_INVALID,
    "MissingAuthenticationToken": Kind.CREDENTIALS_INVALID,
    "Throttling": Kind.THROTTLED,
    "ThrottlingException": Kind.THROTTLED,
    "ThrottledException": Kind.THROTTLED,
    "RequestLimitExceeded": Kind.THROTTLED,
    "ProvisionedThroughputExceededException": Kind.THROTTLED,
    "TransactionInProgressException": Kind.THROTTLED,
    "TooManyRequestsException": Kind.THROTTLED,
    "LimitExceeded": Kind.LIMIT,
    "LimitExceededException": Kind.LIMIT,
    "ServiceFailure": Kind.SERVICE,
    "ServiceException": Kind.SERVICE,
    "InternalFailure": Kind.SERVICE,
    "InternalError": Kind.SERVICE,
    "ServiceUnavailable": Kind.SERVICE,
    "NoSuchEntity": Kind.NOT_FOUND,
    "ResourceNotFoundException": Kind.NOT_FOUND,
    "ParameterNotFound": Kind.NOT_FOUND,
    "InternalServiceError": Kind.SERVICE,
    "InternalServerError": Kind.SERVICE,
    "ReportNotPresent": Kind.REPORT_NOT_PRESENT,
    "ReportInProgress": Kind.REPORT_IN_PROGRESS,
    "ReportExpired": Kind.REPORT_EXPIRED,
    "AWSOrganizationsNotInUseException": Kind.NO_ORGANISATION,
}
"""Wire codes that are seen or documented for the calls made here (IAM, STS and Organizations API references)."""

UNLOADABLE = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    InvalidConfigError,
    SSOTokenLoadError,
)
"""What botocore raises where a profile, a process or a login gives no credentials; nothing was called."""

OUTDATED = (UnauthorizedSSOTokenError, TokenRetrievalError)
"""What it raises where a login is over."""

FIRST_SERVER_ERROR = 500

PASSING = frozenset({Kind.THROTTLED, Kind.SERVICE, Kind.UNREACHABLE, Kind.TIMED_OUT, Kind.UNREADABLE})
"""Failures that another try may cure."""


UNANSWERED = frozenset({Kind.SERVICE, Kind.UNREACHABLE, Kind.TIMED_OUT, Kind.UNREADABLE})
"""Time-outs, lost connections and AWS's own failures may come after the deed."""


class AwsFailure(Exception):  # noqa: N818 - a value as often as an exception
    """A call that AWS refused or never answered; `str()` is one line for people, without secrets."""

    def __init__(  # noqa: PLR0913, PLR0917
        self,
        kind: Kind,
        operation: str,
        code: str,
        message: str,
        request_id: str | None = None,
        answered_at: datetime | None = None,
    ) -> None:
        """Where `operation` reads like `iam:ListAccessKeys` and `code` is the wire code or the exception's name.

        `answered_at` is when AWS refused, by AWS's clock; None where nothing came back.
        """
        super().__init__(kind, operation, code, message, request_id, answered_at)
        self.kind = kind
        self.operation = operation
        self.code = code
        self.message = message
        self.request_id = request_id
        self.answered_at = answered_at
        self.may_be_done = kind in UNANSWERED
        """Whether this attempt or one before it may have done what was asked, though this is how it ended."""

    def __str__(self) -> str:
        """Operation, code and AWS's own words."""
        said = self.message.strip().rstrip(".")
        return (
            f"{self.operation}: {self.code} ({said})"
            if said and said != self.code
            else f"{self.operation}: {self.code}"
        )

    @property
    def may_pass(self) -> bool:
        """Whether another try may succeed."""
        return self.kind in PASSING


OVER = frozenset({Kind.CREDENTIALS_EXPIRED, Kind.CREDENTIALS_INVALID, Kind.NO_CREDENTIALS})
"""Failures that would hit every further call with the same credentials, too."""


def raise_if_over(failure: AwsFailure) -> None:
    """Raise a failure that would hit every further call with the same credentials, too; let any other one be."""
    if failure.kind in OVER:
        raise failure


def is_over(code: str) -> bool:
    """Whether this code is of such a failure: AWS's, or the name of what botocore raised."""
    raised = getattr(exceptions, code, None)
    return WIRE_CODES.get(code) in OVER or (isinstance(raised, type) and issubclass(raised, (*UNLOADABLE, *OUTDATED)))


def failure_of(error: BotoCoreError, operation: str) -> AwsFailure:
    """Botocore's exception as ours: what went wrong before anything was sent."""
    kind = Kind.OTHER
    if isinstance(error, OUTDATED):
        kind = Kind.CREDENTIALS_EXPIRED
    elif isinstance(error, UNLOADABLE):
        kind = Kind.NO_CREDENTIALS
    elif isinstance(error, ReadTimeoutError):
        kind = Kind.TIMED_OUT
    elif isinstance(error, ConnectionError | HTTPClientError):
        kind = Kind.UNREACHABLE
    return AwsFailure(kind, operation, type(error).__name__, str(error))


def answered_at(answer: Mapping[str, Any]) -> datetime | None:
    """When AWS gave an answer, by its own clock, to the second: the HTTP header Date; None where there is none."""
    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


CANONICAL = "The Canonical String for this request"
"""How what AWS says of a wrong signature goes on: with the headers that were signed, a session's token among them."""


def refusal_of(answer: Mapping[str, Any], operation: str) -> AwsFailure:
    """The failure that a parsed answer tells of."""
    said = answer.get("Error", {})
    about = answer.get("ResponseMetadata", {})
    code = str(said.get("Code", "Unknown"))
    kind = WIRE_CODES.get(code)
    if kind is None:
        kind = Kind.SERVICE if int(about.get("HTTPStatusCode", 0)) >= FIRST_SERVER_ERROR else Kind.OTHER
    message = str(said.get("Message", "")).partition(CANONICAL)[0].strip()
    return AwsFailure(kind, operation, code, message, about.get("RequestId"), answered_at(answer))
