"""`auditor exemptions`: what is excused, by whom and until when; and whether that is right as it stands."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.options import AsOf, ConfigPath, Json, Output, config_file, now, parse_instant, runs_folder
from auditor.cli.output import print_json, say
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.model import Exemption, RunManifest

app = typer.Typer(no_args_is_help=True, help="Exemptions: list them, with what they matched, or check them.")


@app.command("list")
def list_(
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="As a run went by them, with the violations that each matched.")
    ] = None,
    as_of: AsOf = None,
    output: Output = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """List the exemptions: who approved what, until when, and whether they are in force.

    **Examples**

    - `auditor exemptions list` - those of the configuration, as of now
    - `auditor exemptions list --run latest` - those of a run, with how many violations each matched
    """
    if run and as_of:
        step = "Leave out --as-of: a run's exemptions are told as of its own instant."
        raise UsageError("--as-of does not go with --run.", next_step=step)
    if run is None:
        manifest, exemptions, at = None, _configured(config), parse_instant(as_of) or now()
    else:
        from auditor.history import find_run, load_manifest

        manifest = load_manifest(find_run(run, runs_folder(config, output)))
        exemptions, at = manifest.policy.exemptions, manifest.as_of
    told = _documents(exemptions, at, manifest)
    if json:
        print_json(told)
        return
    if not exemptions:
        say("There is no exemption.")
    for exemption, said in zip(exemptions, told, strict=True):
        _say(exemption, said)


@app.command("check")
def check(as_of: AsOf = None, config: ConfigPath = None, json: Json = False) -> None:
    """Check the exemptions: every mistake is named with its place (exit code 2); what has expired or soon will is told.

    A missing field, an unknown control, a scope or a length that the policy does not allow, an approver who is the
    owner, and two that overlap are mistakes. One that has expired is none: it excuses nothing any more.
    """
    from auditor.policy import Standing, standing

    exemptions, at = _configured(config), parse_instant(as_of) or now()
    by_standing = {place: [one for one in exemptions if standing(one, at) is place] for place in Standing}
    if json:
        print_json({place.name.lower(): [one.id for one in ones] for place, ones in by_standing.items()})
        return
    in_force = len(by_standing[Standing.ACTIVE]) + len(by_standing[Standing.EXPIRING])
    are = "exemption is right as it stands" if len(exemptions) == 1 else "exemptions are right as they stand"
    say(f"{len(exemptions):,} {are}, {in_force:,} in force.")
    for place in (Standing.EXPIRED, Standing.EXPIRING, Standing.NOT_YET):
        for exemption in by_standing[place]:
            until = exemption.starts_at if place is Standing.NOT_YET else exemption.expires_at
            say(f"{exemption.id}: {place.value} ({until.date().isoformat()}), owner {exemption.owner}", indent=2)


def _configured(config: Path | None) -> "tuple[Exemption, ...]":
    from auditor.config import load_config

    return load_config(config_file(config)).to_policy().exemptions


def _documents(exemptions: "Sequence[Exemption]", at: datetime, manifest: "RunManifest | None") -> list[dict[str, Any]]:
    from auditor.formats.standing import exemption_views

    came_of = {view.id: view for view in exemption_views(manifest)} if manifest else {}
    undecided = manifest.undecided if manifest else {}
    return [
        {
            **_document(exemption, at),
            "matched": view.matched if (view := came_of.get(exemption.id)) else None,
            "undecided": undecided.get(exemption.id, 0) if view else None,
            "result": view.result if view else None,
        }
        for exemption in exemptions
    ]


def _document(exemption: "Exemption", at: datetime) -> dict[str, Any]:
    from auditor.formats.words import instant
    from auditor.policy import scope_words, standing

    return {
        "id": exemption.id,
        "control": exemption.control.value,
        "scope": scope_words(exemption.scope),
        "standing": standing(exemption, at).value,
        "reason": exemption.reason,
        "owner": exemption.owner,
        "approver": exemption.approver,
        "ticket": exemption.ticket,
        "starts_at": instant(exemption.starts_at),
        "expires_at": instant(exemption.expires_at),
    }


def _say(exemption: "Exemption", said: Mapping[str, Any]) -> None:
    say(f"{said['id']}  {said['control']}, {said['scope']}: {said['standing']}", "bold")
    days = f"{exemption.starts_at.date().isoformat()} to {exemption.expires_at.date().isoformat()}"
    say(f"{days}; owner {exemption.owner}, approved by {exemption.approver}, {exemption.ticket}", indent=2)
    say(exemption.reason, indent=2)
    if said["result"]:
        say(f"In this run: {said['result']}.", "dim", indent=2)
