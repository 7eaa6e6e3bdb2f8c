"""Who signed a request. Moto accepts every access key, or none checks it: unknown, inactive, deleted, expired."""

from auditor.demo.cloud import Caller, Clock, Cloud
from auditor.demo.wire import Protocol, RefusedError, Request

_JSON_CODES = {
    "MissingAuthenticationToken": "MissingAuthenticationTokenException",
    "InvalidClientTokenId": "UnrecognizedClientException",
    "ExpiredToken": "ExpiredTokenException",
}
_S3_CODES = {
    "MissingAuthenticationToken": "AccessDenied",
    "InvalidClientTokenId": "InvalidAccessKeyId",
    "ExpiredToken": "ExpiredToken",
}


def identify(request: Request, cloud: Cloud, clock: Clock) -> Caller:
    """Whose credentials signed the request; the signature itself is not checked.

    Raises RefusedError for an unsigned request, a key that is unknown, deleted or inactive, a session token that is
    missing, wrong or expired: with the code that AWS uses in the request's protocol.
    """
    key_id = request.access_key_id
    if key_id is None:
        raise _refusal(request, "MissingAuthenticationToken", "Request is missing Authentication Token")
    session = cloud.sessions.get(key_id)
    if session is not None:
        if session.token != request.session_token:
            raise _unknown_token(request)
        if clock() >= session.expires_at:
            raise _refusal(request, "ExpiredToken", "The security token included in the request is expired")
        return session.caller
    account_id, key = cloud.key(key_id) or (None, None)
    if account_id is None or key is None or key.status != "Active" or not key.user_name or request.session_token:
        raise _unknown_token(request)
    user = cloud.user(account_id, key.user_name)
    if user is not None:
        return Caller(account_id, cloud.user_arn(user), user.id, user.name)
    if key.user_name != cloud.seed.caller:
        raise _unknown_token(request)
    return Caller(account_id, cloud.arn(account_id, f"user/{key.user_name}"), f"AIDAX{key_id[4:]}", key.user_name)


def _unknown_token(request: Request) -> RefusedError:
    return _refusal(request, "InvalidClientTokenId", "The security token included in the request is invalid.")


def _refusal(request: Request, code: str, message: str) -> RefusedError:
    """AWS's JSON services and S3 have words of their own for what IAM and STS say."""
    if request.protocol is Protocol.QUERY:
        return RefusedError(403, code, message)
    if request.protocol is Protocol.JSON:
        return RefusedError(400, _JSON_CODES[code], message)
    return RefusedError(403, _S3_CODES[code], message)
