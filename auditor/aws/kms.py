"""Signing with a key that AWS KMS keeps: whoever may use it signs, and nobody has it."""

from dataclasses import replace

from auditor.aws.calls import Caller
from auditor.aws.failures import AwsFailure, Kind


def _with_region(caller: Caller, key_id: str) -> Caller:
    """A key's ARN says in which Region it is; of other names, that of the caller."""
    match key_id.split(":"):
        case ["arn", _, _, region, *_]:
            return replace(caller, region=region)
        case _:
            return caller


async def public_key(caller: Caller, key_id: str) -> bytes:
    """The public half of an asymmetric key, as DER of its SubjectPublicKeyInfo (KMS GetPublicKey).

    Args:
        caller: who may read it.
        key_id: id, ARN or alias of the key.

    Raises:
        AwsFailure: it cannot be read, or is no key for signatures.
    """
    told = await _with_region(caller, key_id).call("kms", "get_public_key", KeyId=key_id)
    if told.get("KeyUsage") != "SIGN_VERIFY" or not isinstance(told.get("PublicKey"), bytes):
        what = "it is no key for signatures (KeyUsage SIGN_VERIFY)"
        raise AwsFailure(Kind.OTHER, "kms:GetPublicKey", "InvalidKeyUsage", what)
    return bytes(told["PublicKey"])


async def sign(caller: Caller, key_id: str, message: bytes, algorithm: str) -> bytes:
    """The signature over a message of at most 4,096 bytes (KMS Sign, MessageType RAW).

    Args:
        caller: who may sign.
        key_id: id, ARN or alias of the key.
        message: what is signed; KMS hashes it as the algorithm says.
        algorithm: as KMS names it, such as RSASSA_PKCS1_V1_5_SHA_512.

    Raises:
        AwsFailure: it was not signed.
    """
    options = {"Message": message, "MessageType": "RAW", "SigningAlgorithm": algorithm}
    told = await _with_region(caller, key_id).call("kms", "sign", KeyId=key_id, **options)
    if not isinstance(told.get("Signature"), bytes):
        raise AwsFailure(Kind.UNREADABLE, "kms:Sign", "UnreadableAnswer", "the answer holds no signature")
    return bytes(told["Signature"])
