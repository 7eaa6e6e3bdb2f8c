"""What Secrets Manager refuses and moto does not: another value under a used token, and a secret that is to go."""

from collections.abc import Mapping

from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from auditor.demo.answers import Question, Reply
from auditor.demo.wire import RefusedError


def put_secret_value(question: Question) -> None:
    """Moto overwrites the version of a token, and takes values for a secret that is scheduled for deletion."""
    backend = secretsmanager_backends[question.caller.account_id][question.request.region]
    secret = backend.secrets.get(question.params.get("SecretId", ""))
    if not isinstance(secret, FakeSecret):
        return
    if secret.deleted_date is not None:
        message = "You can't perform this operation on the secret because it was marked for deletion."
        raise RefusedError(400, "InvalidRequestException", message)
    version = secret.versions.get(question.params.get("ClientRequestToken", ""))
    if version is not None and version.get("secret_string") != question.params.get("SecretString"):
        message = "You can't use ClientRequestToken for a version that has another value."
        raise RefusedError(400, "ResourceExistsException", message)


REPLIES: Mapping[str, Reply] = {"PutSecretValue": put_secret_value}
