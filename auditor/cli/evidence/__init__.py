"""`auditor evidence`: a run as a bundle that an external auditor verifies alone."""

import typer

from auditor.cli.evidence import checking, making

app = typer.Typer(
    no_args_is_help=True,
    help="Bundle a run so that an external auditor can verify it alone, and verify, replay and sample such bundles.",
)
app.command("export")(making.export)
app.command("keygen")(making.keygen)
app.command("verify")(checking.verify)
app.command("replay")(checking.replay)
app.command("sample")(checking.sample)
