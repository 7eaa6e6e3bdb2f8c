"""`auditor runs`: what has been run so far."""

from typing import Any

import typer

from auditor.cli.options import ConfigPath, Json, Output, RunName, runs_folder
from auditor.cli.output import print_json, printable
from auditor.cli.summary import print_outcome

app = typer.Typer(no_args_is_help=True, help="The archive of runs: list them, show one.")


@app.command("list")
def list_(output: Output = None, config: ConfigPath = None, json: Json = False) -> None:
    """List the runs, the one made last first; a run that never finished is listed as interrupted."""
    from auditor.history import list_runs

    folder = runs_folder(config, output)
    entries = list_runs(folder)
    if json:
        print_json([{"folder": str(entry.folder), "run": entry.document} for entry in entries])
    elif not entries:
        typer.echo(f"No run in {folder}. Make one with `auditor audit` or `auditor demo`.")
    else:
        typer.echo("\n".join(printable(_line(entry.folder.name, entry.document)) for entry in entries))


def _line(name: str, document: dict[str, Any] | None) -> str:
    from auditor.formats.words import rate

    if document is None:
        cut_off = "interrupted: `auditor audit --resume` goes on with it"
        return f"{name}  {cut_off if name.endswith('.incomplete') else 'not a run that this version reads'}"
    coverage, verdicts = document["coverage"], document["summary"]["verdicts"]
    audited = f"{coverage['accounts_audited']}/{coverage['accounts_in_scope']} accounts"
    violations = sum(counts.get("non_compliant", 0) for counts in verdicts.values())
    complies = rate(document["summary"]["compliance_rate"])
    return f"{name}  {complies:>9}  {audited:>16}  {coverage['keys']:>7} keys  {violations:>6} violations"


@app.command("show")
def show(
    run: RunName = "latest",
    output: Output = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Show one run: verdict, controls, what was not audited, and the files that there are."""
    from auditor.pipeline import show_stored

    outcome = show_stored(run, runs_folder(config, output))
    print_outcome(outcome, json=json)
