"""Text for strict readers: no character that breaks a line or a parser, and no more than fits. Pure."""

import hashlib
import re

_INVISIBLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DIGITS = 12


def visible(text: str) -> str:
    r"""The text with line breaks, control characters and lone surrogates as escapes such as `\u{A}`."""
    return _INVISIBLE.sub(lambda match: f"\\u{{{ord(match[0]):X}}}", text)


def cut(text: str, most: int) -> str:
    """At most so many characters, as UTF-16 counts them, which no reader counts higher; an ellipsis tells of a cut."""
    units = text.encode("utf-16-le")
    return text if len(units) <= most * 2 else f"{units[: (most - 1) * 2].decode('utf-16-le', 'ignore')}…"


def cut_name(text: str, most: int) -> str:
    """As `cut`, with a digest of the whole, so that different names stay different."""
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
    short = cut(text, most)
    return text if short == text else f"{cut(text, most - _DIGITS)}{digest}"
