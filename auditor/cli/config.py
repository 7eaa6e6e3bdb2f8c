"""`auditor config`: check a configuration, describe what it may hold."""

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.options import DEFAULT_CONFIG
from auditor.cli.output import print_json
from auditor.errors import UsageError

app = typer.Typer(no_args_is_help=True, help="The configuration: check it, or print its JSON Schema.")


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The file to check.")] = DEFAULT_CONFIG,
) -> None:
    """Check a configuration and name every mistake in it, with its place and the nearest valid name."""
    if not path.exists():
        step = "Name the file, or copy the commented example that comes with auditor."
        raise UsageError("There is no such file.", where=str(path), next_step=step)
    from auditor.config import load_config

    config = load_config(path)
    listed = f", {len(config.accounts.list)} listed" if config.accounts.list else ""
    typer.echo(f"{path} is valid: accounts from {config.accounts.source.value}{listed}.")


@app.command("schema")
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors that complete and check TOML."""
    from auditor.config import config_schema

    print_json(config_schema())
