"""`auditor audit`: gather, evaluate, archive the run, write the reports."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.options import (
    Accounts,
    AsOf,
    ConfigPath,
    EndpointUrl,
    Formats,
    Frameworks,
    Json,
    MaskKeyIds,
    Output,
    Profile,
    Quiet,
    RoleName,
    Verbose,
    config_file,
    now,
    parse_instant,
    split_formats,
)
from auditor.cli.origin import this_origin
from auditor.cli.output import result_stands_in_the_run, set_up_logging
from auditor.cli.progress import progress_for
from auditor.cli.summary import print_outcome, print_resumption
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.config import Config, Values
    from auditor.pipeline import AuditRequest

FromReports = Annotated[
    list[Path] | None,
    typer.Option(metavar="PATH", help="Judge downloaded credential reports (files or folders); no AWS access."),
]
Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Gather on a Dask cluster (`auditor[dask]`), such as tcp://10.0.0.5:8786."),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="RUN", help="Ask only for what a run that is incomplete is missing (its id, folder, or `latest`)."
    ),
]
FailOn = Annotated[
    str | None, typer.Option(metavar="SEVERITY", help="Lowest severity that makes the exit code 1: low … critical.")
]

ACCOUNT_ID = re.compile(r"[0-9]{12}", re.ASCII)

Units = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="Only the organisational unit of this id or path, such as /Workloads/Production, with all below it; may "
        "be given several times.",
    ),
]


def audit(
    config: ConfigPath = None,
    profile: Profile = None,
    role_name: RoleName = None,
    account: Accounts = None,
    ou: Units = None,
    endpoint_url: EndpointUrl = None,
    from_reports: FromReports = None,
    scheduler: Scheduler = None,
    resume: Resume = None,
    more_reports: Annotated[list[Path] | None, typer.Argument(metavar="PATH", hidden=True)] = None,
    as_of: AsOf = None,
    framework: Frameworks = None,
    formats: Formats = None,
    output: Output = None,
    fail_on: FailOn = None,
    mask_key_ids: MaskKeyIds = False,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Audit the access keys: gather, judge, archive the run, write the reports. Reads only.

    Without a configuration it audits the account of the ambient credentials.

    **Examples**

    - `auditor audit` - the account of your credentials
    - `auditor audit --role-name auditor-read` - every account of the organisation
    - `auditor audit --role-name auditor-read --account 111122223333`
    - `auditor audit --role-name auditor-read --ou /Workloads/Production --ou /Security`
    - `auditor audit --role-name auditor-read --resume latest` - what the last run is missing
    - `auditor audit --framework cis-aws-5.0 --framework pci-dss-4.0.1` - beside the policy, each by its own numbers
    - `auditor audit --from-reports downloads/` - credential reports downloaded earlier, no AWS access
    """
    set_up_logging(verbose)
    paths = _report_paths(from_reports or (), more_reports or ())
    if paths:
        _confirm_no_aws(account, ou, role_name, endpoint_url, profile, scheduler, resume)
    confirm_ids(account or (), where="--account")
    given: Values = {
        "frameworks": {"use": framework},
        "aws": {"profile": profile, "endpoint_url": endpoint_url},
        "accounts": {"role_name": role_name, "include": {"ous": tuple(ou) if ou else None}},
        "output": {
            "folder": str(output) if output else None,
            "formats": split_formats(formats),
            "fail_on": fail_on,
            "mask_key_ids": mask_key_ids or None,
        },
    }
    if resume and as_of:
        step = "Leave out --as-of: a run is gone on with as of its own instant."
        raise UsageError("--as-of does not go with --resume.", next_step=step)
    from auditor.config import load_config

    settings = load_config(config_file(config), given, entered=() if ou else account or ())
    request = replace(_request(settings, as_of, account or [], paths), scheduler=scheduler or "")
    run_audit(_resuming(request, resume) if resume else request, json=json, quiet=quiet)


def _report_paths(given: Sequence[Path], more: Sequence[Path]) -> list[Path]:
    """What follows --from-reports; UsageError for what follows nothing."""
    if more and not given:
        step = "Options start with --; report files follow --from-reports."
        raise UsageError(f"What is {more[0]}?", next_step=step)
    return [*given, *more]


def _confirm_no_aws(*options: object) -> None:
    if any(options):
        step = (
            "Leave out --account, --ou, --role-name, --endpoint-url, --profile, --scheduler and --resume: "
            "AWS is not asked."
        )
        raise UsageError("Options for AWS do not go with --from-reports.", next_step=step)


def _resuming(request: "AuditRequest", run: str) -> "AuditRequest":
    from auditor.history import find_resumable

    folder, instant = find_resumable(run, Path(request.config.output.folder))
    return replace(request, as_of=instant, resumed=folder)


def confirm_ids(accounts: Iterable[str], *, where: str) -> None:
    """UsageError at an option that was given something else than account ids."""
    wrong = [account for account in accounts if not ACCOUNT_ID.fullmatch(account)]
    if wrong:
        what = f"{wrong[0]!r} is not an account id."
        raise UsageError(what, where=where, next_step="An account id has exactly 12 digits.")


def _request(config: "Config", as_of: str | None, accounts: list[str], paths: list[Path]) -> "AuditRequest":
    instant = parse_instant(as_of) or now()
    from auditor.gather import connection_for
    from auditor.pipeline import AuditRequest
    from auditor.remedy.means import Means

    connection = connection_for(config)
    request = AuditRequest(config, connection, instant, tuple(accounts), tuple(paths), origin=this_origin())
    return request if paths else replace(request, record=Means(config, connection, Path()).record)


def run_audit(request: "AuditRequest", *, json: bool, quiet: bool, demonstration: bool = False) -> None:
    """Run it, print the outcome, exit with its code; a demonstration exits with 0 and tells the code.

    Raises:
        AuditorError: as `auditor.pipeline.audit`.
    """
    from auditor.pipeline import audit as run

    progress = progress_for(quiet=quiet)
    try:
        outcome = run(request, progress)
    finally:
        progress.close()
    print_outcome(outcome, json=json)
    if demonstration and not json:
        typer.echo(f"\n`auditor audit` would have exited with {outcome.exit_code}.")
    elif not json:
        print_resumption(outcome.view.manifest)
    result_stands_in_the_run()
    broken = outcome.reports.failed
    if broken:
        raise next(iter(broken.values()))
    worked = demonstration and not any(account.code == "interrupted" for account in outcome.view.not_audited)
    raise typer.Exit(0 if worked else outcome.exit_code)
