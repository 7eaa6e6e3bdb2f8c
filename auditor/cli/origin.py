"""Who runs this, from where and how: what a run says of where it came from. The only place that asks the machine."""

import os
import platform
import pwd
import re
import sys
from collections.abc import Sequence

from auditor.model import Origin

USER_OF_URL = re.compile(r"(?<=//)[^/@\s]*@")
"""Name and password of a URL. No option takes a secret; this is where somebody may put one all the same."""


def origin_of(arguments: Sequence[str]) -> Origin:
    """This machine, the user that owns the process, and the arguments of the command, without the program's name."""
    return Origin(
        host=platform.node(),
        os_user=_user(),
        platform=platform.platform(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        command=tuple(_shown(argument) for argument in arguments),
    )


def this_origin() -> Origin:
    """Of the command that this process was started with."""
    return origin_of(sys.argv[1:])


def _user() -> str:
    """By the process's owner, and not by the environment, which says what it is told; a container may know no name."""
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _shown(argument: str) -> str:
    """As typed; bytes of a path that are not UTF-8 as escapes."""
    readable = argument.encode("utf-8", "backslashreplace").decode()
    return USER_OF_URL.sub("…@", readable)
