"""`auditor doctor`: whether an audit with these settings can run completely, and what to fix if not."""

from typing import TYPE_CHECKING, Any

import typer

from auditor.cli.audit import confirm_ids
from auditor.cli.options import (
    Accounts,
    ConfigPath,
    EndpointUrl,
    Json,
    Output,
    Profile,
    Quiet,
    RoleName,
    Verbose,
    config_file,
)
from auditor.cli.output import print_diagnosis, print_json, set_up_logging
from auditor.cli.progress import progress_for
from auditor.errors import NothingAuditedError

if TYPE_CHECKING:
    from auditor.config import Values
    from auditor.doctor import Diagnosis


def doctor(
    config: ConfigPath = None,
    profile: Profile = None,
    role_name: RoleName = None,
    account: Accounts = None,
    endpoint_url: EndpointUrl = None,
    output: Output = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Check, before the first run, every account and every permission that `auditor audit` needs with these options.

    Says what to fix. It changes nothing, and takes some eleven calls in each account.

    Exit codes: 0 an audit can run completely, 2 wrong usage or configuration, 3 something is missing,
    4 nothing could be checked.
    """
    set_up_logging(verbose)
    confirm_ids(account or (), where="--account")
    given: Values = {
        "aws": {"profile": profile, "endpoint_url": endpoint_url},
        "accounts": {"role_name": role_name},
        "output": {"folder": str(output) if output else None},
    }
    from auditor.config import load_config
    from auditor.gather import connection_for

    settings = load_config(config_file(config), given, entered=account or ())
    try:
        import auditor.pipeline  # noqa: F401 - loads every library that an audit loads
        from auditor.doctor import examine
    except ImportError as error:
        step = "Install auditor again with its dependencies (`pip install auditor`)."
        raise NothingAuditedError(
            f"A library that auditor needs cannot be loaded ({error}).", next_step=step
        ) from error
    progress = progress_for(quiet=quiet)
    try:
        diagnosis = examine(settings, connection_for(settings), tuple(account or ()), progress)
    finally:
        progress.close()
    if json:
        print_json(_document(diagnosis))
    else:
        print_diagnosis(diagnosis)
    raise typer.Exit(diagnosis.exit_code)


def _document(diagnosis: "Diagnosis") -> dict[str, Any]:
    """What `--json` prints: the checks in order, and the exit code."""
    return {
        "exit_code": diagnosis.exit_code,
        "verdict": diagnosis.verdict,
        "checks": [
            {
                "subject": check.subject,
                "health": check.health.value,
                "found": check.found,
                "next_step": check.next_step,
                "account": check.account_id,
                "refused": list(check.refused),
            }
            for check in diagnosis.checks
        ],
    }
