"""What the texts of a configuration must look like: for a person, for pydantic and for the JSON Schema."""

import re
from dataclasses import dataclass
from typing import Any

from pydantic.annotated_handlers import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from auditor.config.words import found, quoted


@dataclass(frozen=True, slots=True)
class Form:
    """What a text must look like: for a person (`kind`, `rule`), for pydantic and for the JSON Schema."""

    kind: str
    rule: str
    pattern: str
    is_shown: bool = True
    """Whether a refused text may be repeated in the message."""

    def check(self, value: object) -> object:
        """The value as it is; PydanticCustomError with a sentence where it does not look like this."""
        if not isinstance(value, str):
            shown = found(value) if self.is_shown else "something that is not a text"
            sentence = f"found {shown}; wanted {self.kind}: {self.rule}"
        elif not re.fullmatch(self.pattern, value):
            sentence = f"{quoted(value) if self.is_shown else 'this text'} is not {self.kind}: {self.rule}"
        else:
            return value
        raise PydanticCustomError("form", "{sentence}", {"sentence": sentence})

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Checks before pydantic does, so that a wrong type is told in the words of the form."""
        return core_schema.no_info_before_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The pattern, for editors."""
        return {**handler(schema), "pattern": f"^(?:{self.pattern})$"}


_NAME = "[A-Za-z0-9_+=,.@-]"
_HOST = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PORT = "[0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]"
_URL = rf"https?://(?:{_HOST}(?:\.{_HOST})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::(?:{_PORT}))?(?:/[A-Za-z0-9._~/-]*)?"

# AWS's limits: AssumeRole (STS API reference) for session names and external ids; Role and Tag (IAM API reference).
ACCOUNT_ID = Form("an account id", "exactly 12 digits, in quotes because leading zeros matter", "[0-9]{12}")
_ROLE_RULE = "up to 64 letters, digits and _+=,.@- after an optional path such as audit/, and never an ARN"
ROLE_NAME = Form("a role name", _ROLE_RULE, rf"(?!arn:)(?:[!-.0-~]{{1,510}}/){{0,16}}{_NAME}{{1,64}}")
_ROLE_ARN_RULE = "such as arn:aws:iam::111122223333:role/audit/hub"
_ROLE_ARN_PATTERN = rf"arn:aws(?:-cn|-us-gov)?:iam::[0-9]{{12}}:role/{ROLE_NAME.pattern}"
ROLE_ARN = Form("a role's ARN", _ROLE_ARN_RULE, _ROLE_ARN_PATTERN)
_EXTERNAL_RULE = "2 to 1224 letters, digits and _+=,.@:/-"
EXTERNAL_ID = Form("an external id", _EXTERNAL_RULE, "[A-Za-z0-9_+=,.@:/-]{2,1224}", is_shown=False)
SESSION_NAME = Form("a session name", "2 to 64 letters, digits and _+=,.@-", f"{_NAME}{{2,64}}")
_TAG_PATTERN = r"""[^\x00-\x1f\x7f!"#$%&'()*,;<>?\[\\\]^`{|}~]{1,128}"""
TAG_KEY = Form("a tag key", "1 to 128 letters, digits, spaces and _.:/=+-@", _TAG_PATTERN)
_ENDPOINT_RULE = "http:// or https:// and a host, without user, password, query or fragment"
ENDPOINT = Form("an endpoint", _ENDPOINT_RULE, _URL, is_shown=False)
REGION = Form("a Region", "such as eu-central-1", "[a-z]{2,8}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
LINE = Form(
    "a line of text",
    "1 to 200 characters, not all blank, and no control characters",
    r"(?=.*\S)[^\x00-\x1f\x7f]{1,200}",
)
GLOB = Form("a pattern of names", "1 to 200 characters, where * and ? stand for others", LINE.pattern)
_OU_RULE = "an id such as ou-ab12-cd34ef56 or r-ab12, or a path of names such as /Workloads/Production"
_OU_ID = "(?:ou-[0-9a-z]{4,32}-[0-9a-z]{8,32}|r-[0-9a-z]{4,32})"
OU = Form("an organisational unit", _OU_RULE, rf"{_OU_ID}|(?:/[^/\x00-\x1f\x7f]{{1,128}}){{1,16}}")
_TAG_RULE = "a key, or key=value, of letters, digits, spaces and _.:/=+-@"
TAG = Form("a tag", _TAG_RULE, _TAG_PATTERN.replace("{1,128}", "{1,385}"))
FOLDER = Form("a folder", "a path that is not empty", r"[^\x00-\x1f\x7f]{1,4000}")
RECIPIENT = Form(
    "a public key",
    "of age (age1...) or SSH (ssh-ed25519 or ssh-rsa)",
    r"age1[0-9a-z]{58}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/]{40,1400}={0,2}(?: [^\x00-\x1f\x7f]{0,200})?",
)
TIME_OF_DAY = Form("a time of the day", "such as 09:00", "(?:[01][0-9]|2[0-3]):[0-5][0-9]")
SECRET_NAME = Form(
    "a secret's name", "letters, digits and /_+=.@-, with {user} in it", "(?=.*[{]user[}])[A-Za-z0-9/_+=.@{}-]{1,400}"
)
FILE = Form("a file", "a path that is not empty", FOLDER.pattern)
KEY_ID = Form("an access key id", "such as AKIAIOSFODNN7EXAMPLE", "[A-Z0-9]{16,128}")
SLACK_PERSON = Form(
    "a person of Slack",
    "a user's id, = and a name, such as U0123ABCD=ann@example.com",
    r"[UW][A-Z0-9]{2,30}=[^\x00-\x20\x7f=]{1,200}",
)
SLACK_OWNER = Form(
    "an owner and a place in Slack",
    "an owner as findings name it, = and a channel's or a user's id, such as payments=C0123456789",
    r"[^\x00-\x1f\x7f]{1,200}=[CGDUW][A-Z0-9]{2,30}",
)
TOPIC_ARN = Form(
    "a topic's ARN",
    "such as arn:aws:sns:eu-west-1:111122223333:key-notices",
    r"arn:aws(?:-cn|-us-gov)?:sns:[a-z0-9-]{1,40}:[0-9]{12}:[A-Za-z0-9_-]{1,256}(?:\.fifo)?",
)
USER_NAME = Form("a user name", "1 to 64 letters, digits and _+=,.@-", f"{_NAME}{{1,64}}")
_USERS_RULE = "1 to 64 letters, digits and _+=,.@-, where * and ? stand for others"
USERS = Form("a user name or a pattern", _USERS_RULE, "[A-Za-z0-9_+=,.@*?-]{1,64}")
IAM_PATH = Form("an IAM path", "such as /ci/, with a slash at both ends", "/(?:[!-~]{1,510}/)?")
RULE_ID = Form("an id", "up to 64 letters, digits and _.-, a letter or digit first", "[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FRAMEWORK_RULE = "up to 64 small letters, digits, dots and dashes, a letter or digit first"
FRAMEWORK_ID = Form("a framework's id", _FRAMEWORK_RULE, "[a-z0-9][a-z0-9.-]{0,63}")
