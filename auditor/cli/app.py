"""The commands, and the one place where a failure is printed and becomes an exit code."""

import logging
import os
import signal
import sys
import traceback
from types import FrameType
from typing import Annotated, NoReturn

import typer

from auditor import __version__
from auditor.cli import (
    audit,
    config,
    controls,
    credential_process,
    demo,
    doctor,
    evidence,
    exemptions,
    iam_policy,
    key,
    remediate,
    report,
    runs,
)
from auditor.cli.output import is_result_lost, open_streams, print_error
from auditor.errors import AuditorError

INTERRUPTED = 130
"""What typer exits with on Ctrl-C; the contract has no such code."""

WRITING_RUNS = frozenset({"audit", "demo"})

app = typer.Typer(
    name="auditor",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer's way
    if wanted:
        typer.echo(f"auditor {__version__}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Proves, every month, that a company's AWS IAM access keys are under control.

    Start with `auditor demo`: the whole job on an embedded organisation, no AWS account needed.
    Then `auditor iam-policy` for the read role, `auditor doctor` to see that all is in place, and `auditor audit` with
    your own credentials. It reads; nothing is changed in AWS but by `auditor remediate`, on a plan that
    others approved, and by `auditor key`, which rotates your own.

    Exit codes: 0 all compliant, 1 violations found, 2 wrong usage or configuration, 3 incomplete: something in scope
    could not be audited, 4 nothing could be audited, 9 evidence that does not hold; 5 to 8 are `remediate`'s.
    """


app.command("demo")(demo.demo)
app.command("audit")(audit.audit)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.command("iam-policy")(iam_policy.iam_policy)
app.command("credential-process")(credential_process.credential_process)
app.add_typer(runs.app, name="runs")
app.add_typer(controls.app, name="controls")
app.add_typer(exemptions.app, name="exemptions")
app.add_typer(remediate.app, name="remediate")
app.add_typer(key.app, name="key")
app.add_typer(evidence.app, name="evidence")
app.add_typer(config.app, name="config")


def _as_ctrl_c(_number: int, frame: FrameType | None) -> None:
    """Who ends a service or a container sends this: the run shall end as well as at Ctrl-C."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)


def _interruption() -> AuditorError:
    """What Ctrl-C ended; of a run that was not written is told by the commands that write one."""
    command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    if command not in WRITING_RUNS:
        return AuditorError("Interrupted.")
    again = "Run it again; where answers had come in, the same command with `--resume latest` asks only for the rest."
    return AuditorError("Interrupted. No run was written.", next_step=again)


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    open_streams()
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        app()
    except AuditorError as error:
        logging.getLogger(__name__).debug("", exc_info=True)
        print_error(error)
        sys.exit(error.exit_code)
    except SystemExit as done:
        if done.code != INTERRUPTED:
            sys.exit(AuditorError.exit_code if not done.code and is_result_lost() else done.code)
        print_error(_interruption())
        sys.stdout.flush()
        os._exit(AuditorError.exit_code)  # a call that hangs in another thread must not be waited for
    except Exception as error:  # noqa: BLE001 - the last resort: a defect is told in a paragraph, not as a traceback
        logging.getLogger(__name__).debug("%s", traceback.format_exc())
        what = f"auditor failed by a defect of its own ({type(error).__name__}: {error})."
        step = "`auditor runs list` tells whether a run was kept. Run it again with -vv and report what it prints."
        print_error(AuditorError(what, next_step=step))
        sys.exit(AuditorError.exit_code)
    sys.exit(0)
