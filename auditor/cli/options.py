"""Options that several commands share."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from auditor.errors import UsageError
from auditor.model import Grouping

YEARS = range(2000, 2200)
"""AWS has no older accounts, and a limit of ten years still fits behind the newest instant."""

DEFAULT_CONFIG = Path("config.toml")

ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file; `config.toml` here, if there is one, else built-in defaults."),
]
Profile = Annotated[str | None, typer.Option(help="Profile of the AWS configuration files.")]
RoleName = Annotated[
    str | None,
    typer.Option(help="Role to assume: in every account of the organisation, or in those given by --account."),
]
Accounts = Annotated[
    list[str] | None, typer.Option("--account", metavar="ID", help="Only this account; may be given several times.")
]
EndpointUrl = Annotated[str | None, typer.Option(help="An AWS endpoint other than AWS's own.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the runs; `reports/` by default.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its folder, or `latest`.")]
Formats = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="LIST",
        help="Reports to write, such as `pdf,html`: html, pdf, csv, json, ics, oscal, ocsf, asff.",
    ),
]
GroupBy = Annotated[Grouping | None, typer.Option("--group-by", help="What the findings in the PDF are grouped by.")]
MaskKeyIds = Annotated[
    bool,
    typer.Option(
        "--mask-key-ids", help="Show key ids as `AKIA…7Q2X` in HTML, PDF and calendar; CSV and JSON have them whole."
    ),
]
Frameworks = Annotated[
    list[str] | None,
    typer.Option(
        "--framework",
        metavar="ID",
        help="Judge by this framework as well, such as cis-aws-5.0 (`auditor controls list` has them), or `all`; may "
        "be given several times.",
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIMESTAMP", help="Judge at this instant (`2026-11-22T19:00:00Z`), not now."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say more; -vv also why things failed.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]


def runs_folder(config: Path | None, output: Path | None) -> Path:
    """The folder of the runs: --output, or what the configuration says.

    Raises:
        UsageError: the configuration cannot be read, or [output] is wrong.
    """
    from auditor.config import load_output

    return Path(load_output(config_file(config), {"output": {"folder": str(output) if output else None}}).folder)


def config_file(given: Path | None) -> Path | None:
    """The configuration file that is meant; None where there is none, and the defaults hold."""
    return given or (DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None)


def split_formats(given: list[str] | None) -> list[str] | None:
    """`--format pdf,html -f csv` as one list; None where nothing was given.

    Raises:
        UsageError: a format that there is not, with those there are.
    """
    if not given:
        return None
    from auditor.formats.registry import FORMATS

    names = [name.strip().lower() for text in given for name in text.split(",") if name.strip()]
    unknown = sorted(set(names) - set(FORMATS))
    if unknown or not names:
        what = f"There is no format {', '.join(unknown) or 'without a name'}."
        raise UsageError(what, where="--format", next_step=f"Choose from: {', '.join(FORMATS)}.")
    return names


def parse_instant(text: str | None) -> datetime | None:
    """An RFC 3339 time or a date (midnight), UTC where no zone is given.

    Raises:
        UsageError: it is not a time.
    """
    if text is None:
        return None
    step = "Write it like 2026-11-22T19:00:00Z."
    try:
        at = datetime.fromisoformat(text)
        instant = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).replace(microsecond=0)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{text!r} is not a time.", where="--as-of", next_step=step) from error
    if instant.year not in YEARS:
        raise UsageError(f"The year {instant.year} cannot be judged at.", where="--as-of", next_step=step)
    return instant


def now() -> datetime:
    """This second, UTC."""
    return datetime.now(UTC).replace(microsecond=0)
