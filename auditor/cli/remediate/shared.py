"""What the commands of remediation share: their options, what they work with, and who the person is."""

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import config_file
from auditor.cli.output import WIDTH, filled
from auditor.errors import NothingAuditedError, UsageError

if TYPE_CHECKING:
    from auditor.aws.failures import AwsFailure
    from auditor.remediation.plan import Kind
    from auditor.remedy.means import Means

EXIT_UNREAD, EXIT_WAITS, EXIT_UNAPPROVED, EXIT_PERSON = 3, 5, 6, 8

NAMELESS = frozenset({"NoSuchEntity", "ValidationError"})
"""What IAM says to a name or a key id that is none, or is none any more."""

PlanFile = Annotated[Path, typer.Argument(metavar="PLAN", help="A plan's file.")]
ItemId = Annotated[str, typer.Argument(metavar="ITEM", help="An item's id; `auditor remediate status` lists them.")]


def readable(text: str | None) -> str | None:
    """A text that can be written down, which what a terminal sends in another encoding than its own cannot be."""
    if text is not None and not text.isprintable():
        raise typer.BadParameter("it has characters that cannot be written down")
    return text


def said(text: str) -> str:
    """A reason that says something: it is all that anybody later knows of why."""
    if not text.strip():
        raise UsageError("The reason is empty.", where="--reason", next_step="Say why; it is kept in the journal.")
    readable(text)
    return text


Reason = Annotated[str, typer.Option("--reason", help="Why; it is kept in the journal.", callback=said)]
Who = Annotated[
    str | None,
    typer.Option(
        "--as",
        metavar="NAME",
        help="Who you are, as approvers are named; your login, where they know it.",
        callback=readable,
    ),
]


def means_of(config: Path | None, profile: str | None, endpoint_url: str | None, output: Path | None) -> "Means":
    """What remediation works with, by these options; UsageError where the configuration is wrong."""
    from auditor.config import load_config
    from auditor.gather import connection_for
    from auditor.remedy.means import Means

    path = config_file(config)
    folder = {"folder": str(output) if output else None}
    settings = load_config(path, {"aws": {"profile": profile, "endpoint_url": endpoint_url}, "output": folder})
    return Means(settings, connection_for(settings), path.parent if path else Path())


def say_meanwhile(text: str) -> None:
    """How it stands, on stderr, before there is a result."""
    sys.stderr.write(filled(text, WIDTH) + "\n")
    sys.stderr.flush()


@contextmanager
def telling_aws() -> Iterator[None]:
    """What AWS refuses outside any item is told as the end of the command."""
    from auditor.aws.failures import AwsFailure

    try:
        yield
    except AwsFailure as failure:
        error = NothingAuditedError(str(failure), next_step=_step(failure))
        for note in getattr(failure, "__notes__", ()):
            error.add_note(note)
        raise error from failure


def _step(failure: "AwsFailure") -> str:
    """What can be done about it."""
    from auditor.aws.failures import Kind

    if failure.operation == "iam:UpdateAccessKey" and failure.code in NAMELESS:
        step = "Look whether the account is right and the user has another name now; name it as it is called now"
        return f"{step}: KEY --account ID --user NAME."
    if failure.code == "NoSuchBucket":
        return "Name a bucket that is there: s3://BUCKET/PREFIX."
    if failure.kind is Kind.DENIED:
        return f"Allow {failure.operation} to who calls, and run the command again."
    if failure.operation.startswith("kms:") and not failure.may_pass:
        return (
            "Name a key of KMS that is for signatures, by its ARN, its id or alias/NAME, in the Region that is called."
        )
    return "Check the credentials and the network; `auditor doctor` tells more."


def kind_of(name: str) -> "Kind":
    """The kind of this name; UsageError where there is none."""
    from auditor.remediation.plan import Kind

    try:
        return Kind(name)
    except ValueError:
        step = f"Choose from {', '.join(Kind)}."
        raise UsageError(f"There is no kind {name!r}.", next_step=step) from None


def whose_turn(who: str) -> str:
    """Who must act, at the end of a line; nothing where nobody has to."""
    return "" if who in {"", "nobody"} else f" ({who})"


def author_of(means: "Means", who: str | None) -> str:
    """Who plans, as approvers are named, so that nobody approves his own plan by having two names.

    Raises:
        UsageError: nobody said so, and approvers do not know the login.
    """
    if who is not None:
        return who
    name, approvers = login(), means.approvers()
    if not any(approvers.named(name)):
        what = f"Who plans is not known: {name} is no name in {approvers.where}."
        step = "Say who you are with --as NAME: as that file names you, or as you like where you may not approve."
        raise UsageError(what, where="--as", next_step=step)
    return name


def login() -> str:
    """The name of who runs this on this machine; UsageError where it is not known."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise UsageError("Who you are is not known.", next_step="Say so with --as NAME.") from None
