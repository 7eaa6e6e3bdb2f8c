"""A failed call → why the account was not audited, and what to do about it."""

from auditor.aws.failures import AwsFailure, Kind
from auditor.model import Account, NotAudited, NotAuditedCode

TRY_AGAIN = "Run the audit again; if it stays so, lower gather.account_calls_per_second or raise gather.call_attempts."


def not_audited(account: Account, failure: AwsFailure) -> NotAudited:
    """The failure that ended an account's audit, in words for its line in the report."""
    who = f"role {account.role_name}" if account.role_name else "the caller"
    if failure.operation == "sts:AssumeRole" and failure.kind in {Kind.DENIED, Kind.OTHER}:
        wrong = failure.code == "WrongAccount"
        code = NotAuditedCode.WRONG_ACCOUNT if wrong else NotAuditedCode.ROLE_REFUSED
        step = (
            f"Check that {account.role_arn} exists, trusts the caller, asks for this external id (or none) and allows "
            "sessions this long. AWS gives the same answer for each of these."
        )
        return NotAudited(code, f"The role could not be assumed. {failure}", step)
    match failure.kind:
        case Kind.DENIED:
            step = f"Allow {failure.operation} to {who} in {account.id}; the README has the whole policy."
            return NotAudited(NotAuditedCode.ACCESS_DENIED, f"A permission is missing. {failure}", step)
        case Kind.THROTTLED | Kind.LIMIT:
            return NotAudited(NotAuditedCode.THROTTLED, f"AWS throttled the calls to the end. {failure}", TRY_AGAIN)
        case Kind.UNREACHABLE | Kind.TIMED_OUT:
            step = "Check the network and --endpoint-url, then run the audit again."
            return NotAudited(NotAuditedCode.UNREACHABLE, f"AWS did not answer. {failure}", step)
        case Kind.CREDENTIALS_EXPIRED | Kind.CREDENTIALS_INVALID | Kind.NO_CREDENTIALS:
            step = "Renew the credentials (for example `aws sso login`) and run the audit again."
            return NotAudited(NotAuditedCode.ACCESS_DENIED, f"The credentials no longer work. {failure}", step)
        case _:
            return NotAudited(NotAuditedCode.FAILED, f"AWS refused the call. {failure}", TRY_AGAIN)
