"""`auditor report`: render a stored run again."""

from auditor.cli.options import (
    ConfigPath,
    Formats,
    GroupBy,
    Json,
    MaskKeyIds,
    Output,
    Quiet,
    RunName,
    Verbose,
    config_file,
    split_formats,
)
from auditor.cli.output import result_stands_in_the_run, set_up_logging
from auditor.cli.progress import progress_for
from auditor.cli.summary import print_outcome


def report(
    run: RunName = "latest",
    formats: Formats = None,
    group_by: GroupBy = None,
    mask_key_ids: MaskKeyIds = False,
    output: Output = None,
    config: ConfigPath = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Render a stored run again, without AWS; the reports are written into the run's folder.

    **Examples**

    - `auditor report latest --format pdf,html`
    - `auditor report latest --format pdf --group-by owner` - what each owner has to do
    - `auditor report latest --format pdf --mask-key-ids` - for people who need not know whole key ids
    - `auditor report latest --format ics` - a calendar of what falls due within 90 days
    - `auditor report latest --format oscal,ocsf,asff` - for GRC tools, SIEMs and AWS Security Hub
    - `auditor report 20261122T190000Z-5a1e0c2b`
    """
    set_up_logging(verbose)
    chosen = split_formats(formats)
    from auditor.config import load_output
    from auditor.pipeline import render_stored

    given = {
        "output": {
            "folder": str(output) if output else None,
            "formats": chosen,
            "group_by": group_by.value if group_by else None,
            "mask_key_ids": mask_key_ids or None,
        }
    }
    settings = load_output(config_file(config), given)
    progress = progress_for(quiet=quiet)
    try:
        outcome = render_stored(run, settings, progress)
    finally:
        progress.close()
    print_outcome(outcome, json=json)
    result_stands_in_the_run()
    for error in outcome.reports.failed.values():
        raise error
