"""JSON with a record a line: quick to write, small, and compared line by line from run to run. Pure."""

import json
from typing import Any


def json_text(content: Any, levels: int, indent: str = "") -> str:
    """The content with its outer levels spread over lines, and what is within them on one line each."""
    if not levels or not content or not isinstance(content, (dict, list)):
        return json.dumps(content, ensure_ascii=False, allow_nan=False)
    inner = f"\n{indent}  "
    if isinstance(content, dict):
        parts = [f"{json.dumps(name)}: {json_text(value, levels - 1, inner[1:])}" for name, value in content.items()]
        return f"{{{inner}{f',{inner}'.join(parts)}\n{indent}}}"
    parts = [json_text(value, levels - 1, inner[1:]) for value in content]
    return f"[{inner}{f',{inner}'.join(parts)}\n{indent}]"
