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
            f"Check that {account.role_arn or 'the first role'} exists, trusts the caller, asks for this external id "
            "(or none) and allows sessions this long. AWS gives the same answer for each of these."
        )
        return NotAudited(code, f"The role could not be assumed. {failure}", step)
    code, what, step = NotAuditedCode.FAILED, "AWS refused the call", TRY_AGAIN
    match failure.kind:
        case Kind.DENIED:
            code, what = NotAuditedCode.ACCESS_DENIED, "A permission is missing"
            step = f"Allow {failure.operation} to {who} in {account.id}; `auditor iam-policy` prints the whole policy."
        case Kind.THROTTLED | Kind.LIMIT:
            code, what = NotAuditedCode.THROTTLED, "AWS throttled the calls to the end"
        case Kind.UNREACHABLE | Kind.TIMED_OUT:
            code, what = NotAuditedCode.UNREACHABLE, "AWS did not answer"
            step = "Check the network and --endpoint-url, then run the audit again."
        case Kind.UNREADABLE:
            what = "What came back is no answer of AWS's"
            step = "Check --endpoint-url and what stands between here and AWS, such as a proxy; then run it again."
        case Kind.CREDENTIALS_EXPIRED | Kind.CREDENTIALS_INVALID | Kind.NO_CREDENTIALS:
            code, what = NotAuditedCode.ACCESS_DENIED, "The credentials no longer work"
            step = "Renew the credentials (for example `aws sso login`) and run the audit again."
        case _:
            pass
    return NotAudited(code, f"{what}. {failure}", step)
