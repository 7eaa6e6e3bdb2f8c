"""The templates: where they are, and the one jinja2 environment that every laid-out format uses."""

from functools import cache
from pathlib import Path

import jinja2

from auditor.errors import OutputError
from auditor.formats import words

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
"""In an installed package, and in a checkout."""


@cache
def templates_folder() -> Path:
    """The folder that holds the templates; raises OutputError where the installation lacks it."""
    for place in _PLACES:
        if place.is_dir():
            return place
    raise OutputError(
        "the report templates are missing", where=str(_PLACES[0]), next_step="Install auditor again: it is incomplete."
    )


def asset(name: str) -> bytes:
    """The bytes of a file beside the templates, such as a style sheet or font; `name` may hold folders.

    Raises:
        OutputError: when it is not there.
    """
    path = templates_folder() / name
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(
            "a part of the reports cannot be read", where=str(path), next_step="Install auditor again."
        ) from error


def asset_text(name: str) -> str:
    """Like `asset`, decoded from UTF-8."""
    return asset(name).decode()


@cache
def environment() -> jinja2.Environment:
    """The environment of all templates: everything is escaped, and a name that does not exist is an error.

    Filters: `instant`, `minute`, `days`, `duration`, `rate` and `counted` of `auditor.formats.words`, each as there.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates_folder()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update(
        instant=words.instant,
        minute=words.minute,
        days=words.days,
        duration=words.duration,
        rate=words.rate,
        counted=words.counted,
    )
    return made
