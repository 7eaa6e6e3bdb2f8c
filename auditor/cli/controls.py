"""`auditor controls`: what is judged, by which numbers, why a key got its limit, what other numbers would change."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.cli.options import (
    ConfigPath,
    Frameworks,
    Json,
    Output,
    Quiet,
    RunName,
    config_file,
    parse_instant,
    runs_folder,
)
from auditor.cli.output import print_json, say
from auditor.cli.progress import progress_for
from auditor.errors import UsageError

if TYPE_CHECKING:
    from auditor.config import Config, Values
    from auditor.inquiry import Inquiry
    from auditor.model import Clause, ControlId, Framework, Policy
    from auditor.policy import Tally
    from auditor.simulation import Simulation

app = typer.Typer(no_args_is_help=True, help="The controls and frameworks: list them, explain one, try other numbers.")

DAYS = re.compile(r"([0-9]{1,4})d?", re.ASCII)


def _settings(config: Path | None, given: "Values") -> "Config":
    from auditor.config import load_config

    return load_config(config_file(config), given)


@app.command("list")
def list_(framework: Frameworks = None, config: ConfigPath = None, json: Json = False) -> None:
    """List the controls with the policy's numbers, and the frameworks that there are.

    **Examples**

    - `auditor controls list`
    - `auditor controls list --framework cis-aws-5.0 --framework pci-dss-4.0.1` - with their clauses
    """
    from auditor.config import built_in_framework, built_in_frameworks
    from auditor.policy import CONTROLS, describe_rule

    policy = _settings(config, {"frameworks": {"use": framework}}).to_policy()
    used = {one.id: one for one in policy.frameworks}
    shipped = [built_in_framework(name).to_framework() for name in built_in_frameworks() if name not in used]
    if json:
        print_json(
            {
                "controls": [_control_document(control.id.value, policy) for control in CONTROLS.values()],
                "frameworks": [_framework_document(one) for one in policy.frameworks],
                "available": [one.id for one in shipped],
            }
        )
        return
    for control in CONTROLS.values():
        off = "" if control.id not in policy.switched_off else ", switched off"
        say(f"{control.id}  ({policy.severities[control.id]}{off})", "bold")
        say(describe_rule(control.id, policy), indent=2)
    for one in policy.frameworks:
        _say_framework(one)
    say("")
    say("Frameworks", "bold")
    for one in shipped:
        say(f"{one.id:<18}{one.title} {one.edition}", indent=2)
    say("`--framework ID`, or frameworks.use in the configuration, judges by one; `auditor controls show ID` shows it.")


@app.command("show")
def show(
    name: Annotated[str | None, typer.Argument(metavar="ID", help="A control, or a framework.")] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY_ID", help="Explain the verdicts on this key of a run.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="The same of a user, with --account.")] = None,
    account: Annotated[str | None, typer.Option(metavar="ID", help="The user's account.")] = None,
    run: Annotated[str, typer.Option(metavar="RUN", help="The run; `latest` by default.")] = "latest",
    output: Output = None,
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Show a control or a framework in full, or why a key of a run got its limits and verdicts.

    **Examples**

    - `auditor controls show key-age`
    - `auditor controls show cis-aws-5.0`
    - `auditor controls show --key AKIAIOSFODNN7EXAMPLE`
    - `auditor controls show --user ci-deploy --account 111122223333 --run latest`
    """
    if bool(name) + bool(key) + bool(user) != 1:
        raise UsageError("Wanted one of a control's or framework's id, --key and --user.", next_step="See --help.")
    if name:
        _show_definition(name, _settings(config, {}), json=json)
        return
    if user and not account:
        raise UsageError("A user name means somebody else in every account.", next_step="Add --account ID.")
    from auditor.inquiry import inquire

    found = inquire(run, runs_folder(config, output), key_id=key, user=user, account_id=account)
    if json:
        print_json(found.document())
    else:
        _say_inquiry(found)


@app.command("simulate")
def simulate(
    run: RunName = "latest",
    max_age: Annotated[str | None, typer.Option(metavar="DAYS", help="Another limit on age, such as 60d.")] = None,
    max_unused: Annotated[
        str | None, typer.Option(metavar="DAYS", help="Another limit without use, such as 30d.")
    ] = None,
    framework: Frameworks = None,
    as_of: Annotated[str | None, typer.Option(metavar="TIMESTAMP", help="Judge at another instant.")] = None,
    config: ConfigPath = None,
    output: Output = None,
    with_config: Annotated[bool, typer.Option("--with-config", help="By the policy of the configuration now.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge a stored run under another policy and show what would change, without AWS. Nothing is written.

    **Examples**

    - `auditor controls simulate --max-age 60d` - the latest run under a limit of 60 days
    - `auditor controls simulate latest --framework cis-aws-3.0 --framework pci-dss-4.0.1`
    - `auditor controls simulate latest --as-of 2027-01-31` - what will have broken a limit by then
    - `auditor controls simulate latest --with-config` - under the configuration as it is now
    """
    from auditor.inquiry import load_judged, other_policy
    from auditor.model import ASKED_OF_AWS
    from auditor.simulation import simulate as run_simulation

    given = limits_given(max_age, max_unused, framework)
    judged = load_judged(run, runs_folder(config, output))
    after = _settings(config, given) if with_config else None
    if after and judged.policy.switched_off >= ASKED_OF_AWS:  # the run has no such facts
        after = after.without_aws()
    policy = after.to_policy() if after else other_policy(judged, given)
    at = parse_instant(as_of) or judged.as_of
    progress = progress_for(quiet=quiet)
    try:
        found = run_simulation(judged.folder, judged.policy, judged.as_of, policy, at, progress)
    finally:
        progress.close()
    if json:
        print_json(simulation_document(found, judged.folder.name, policy))
    else:
        say_simulation(found, judged.folder.name, policy)


# ------------------------------------------------------------------------------------------------- definitions


def limits_given(max_age: str | None, max_unused: str | None, framework: list[str] | None) -> "Values":
    """Other limits and standards, as the command line gives them; UsageError where they are none."""
    return {
        "policy": {
            "key-age": {"max_age_days": _days(max_age, "--max-age")},
            "key-unused": {"max_unused_days": _days(max_unused, "--max-unused")},
        },
        "frameworks": {"use": framework},
    }


def _days(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    found = DAYS.fullmatch(text)
    if not found:
        raise UsageError(f"{text!r} is not a number of days.", where=where, next_step="Write it like 60d.")
    return int(found[1])


def _show_definition(name: str, settings: "Config", *, json: bool) -> None:
    from auditor.config import built_in_framework, built_in_frameworks
    from auditor.policy import CONTROLS, describe_rule

    policy = settings.to_policy()
    editions = {one.id: one for one in policy.frameworks}
    control = next((one for one in CONTROLS.values() if one.id == name), None)
    if control is None and name not in {*editions, *built_in_frameworks()}:
        what = f"There is no control and no framework {name}."
        raise UsageError(what, next_step="`auditor controls list` shows them.")
    if control is None:
        framework = editions.get(name) or built_in_framework(name).to_framework()
        if json:
            print_json(_framework_document(framework))
        else:
            _say_framework(framework, in_full=True)
        return
    if json:
        print_json(_control_document(name, policy))
        return
    say(f"{control.title}  ({control.id})", "bold")
    said = {
        "Test": describe_rule(control.id, policy),
        "Judged": f"{control.subject}.",
        "Why": control.rationale,
        "Severity": f"{policy.severities[control.id]}. By default: {control.gravity}",
        "What to do": control.remedy,
        "Source": control.source,
        "More": control.documentation,
    }
    for label, text in said.items():
        say(f"{label}: {text}", indent=2)


def _control_document(name: str, policy: "Policy") -> dict[str, Any]:
    from dataclasses import asdict

    from auditor.model import ControlId
    from auditor.policy import CONTROLS, describe_rule

    control = CONTROLS[ControlId(name)]
    return {
        **asdict(control),
        "severity": policy.severities[control.id].value,
        "test": describe_rule(control.id, policy),
        "switched_off": control.id in policy.switched_off,
    }


def _framework_document(framework: "Framework") -> dict[str, Any]:
    from auditor.policy import describe

    return {
        "id": framework.id,
        "title": framework.title,
        "edition": framework.edition,
        "source": framework.source,
        "clauses": [
            {
                "id": clause.id,
                "title": clause.title,
                "support": clause.support.value,
                "control": clause.criterion.control.value if clause.criterion else None,
                "test": describe(clause.criterion) if clause.criterion else None,
                "reason": clause.reason,
                "source": clause.source,
            }
            for clause in framework.clauses
        ],
    }


def _say_framework(framework: "Framework", *, in_full: bool = False) -> None:
    from auditor.policy import describe

    say("")
    say(f"{framework.title} {framework.edition}  ({framework.id})", "bold")
    for clause in framework.clauses:
        test = describe(clause.criterion) if clause.criterion else "Nothing here tests it."
        support = clause.support.value.replace("_", " ")
        say(f"{clause.id}  {clause.title}  ({support})", indent=2)
        say(test, "dim", indent=4)
        if in_full:
            say(clause.reason, indent=4)
            say(clause.source, "dim", indent=4)
    if in_full:
        say(framework.source, "dim", indent=2)


# ------------------------------------------------------------------------------------------------- one key, or user


def _say_inquiry(found: "Inquiry") -> None:
    say(f"{found.user} in {found.account}, run {found.run}, judged as of {found.as_of}", "bold")
    say(f"Owner: {found.owner}{f' ({found.owner_source})' if found.owner_source else ''}")
    for verdict in found.verdicts:
        say("")
        whose = f", {verdict.key}" if verdict.key else ""
        say(f"{verdict.control}{whose}: {verdict.outcome.replace('_', ' ')}", "bold")
        say(verdict.reason, indent=2)
        asked = (["the policy"] if verdict.by_policy else []) + list(verdict.clauses)
        say(f"Asked by: {', '.join(asked)}", "dim", indent=2)
        for considered in verdict.considered:
            mark = "->" if considered.holds else "  "
            rule = f'rule "{considered.rule.id}"' if considered.rule else "the control's own limit"
            say(f"{mark} {considered.limit}: {rule}, for {considered.scope}: {considered.applies}", indent=2)


# ------------------------------------------------------------------------------------------------- simulation


def _rows(found: "Simulation") -> Iterable[tuple[str, tuple[int, int, int, int]]]:
    """What fails and what is unknown by control, under the run's policy and under the other one."""
    from auditor.model import Outcome
    from auditor.policy import CONTROLS
    from auditor.simulation import verdicts

    def counts(tallied: "Tally", control: "ControlId") -> tuple[int, int]:
        fails, unknown = (
            verdicts(tallied.verdicts, control, outcome) for outcome in (Outcome.NON_COMPLIANT, Outcome.UNKNOWN)
        )
        return fails, unknown

    for control in CONTROLS:
        yield control.value, (*counts(found.before, control), *counts(found.after, control))


def say_simulation(found: "Simulation", run: str, after: "Policy") -> None:
    """What another policy would say of a run, for people."""
    from auditor.formats.words import bounds, counted, rate

    told = []
    for summary in (found.before.summary(), found.after.summary()):
        between = bounds(summary)
        told.append(f"{rate(summary.compliance_rate)}{f' ({between})' if between else ''}")
    say(f"Run {run}. Keys that comply: {told[0]}; they would be: {told[1]}.", "bold")
    say("")
    say(f"{'Control':<28}{'fails':>9}{'unknown':>9}{'would fail':>13}{'be unknown':>12}{'change':>9}", "dim")
    for control, (fails, unknown, would_fail, be_unknown) in _rows(found):
        change = f"{would_fail - fails:+,}" if would_fail != fails else ""
        line = f"{control:<28}{fails:>9,}{unknown:>9,}{would_fail:>13,}{be_unknown:>12,}{change:>9}"
        say(line, "bold" if change or be_unknown != unknown else "")
    for framework in after.frameworks:
        say("")
        say(f"{framework.title} {framework.edition}", "bold")
        for clause in framework.clauses:
            result = _clause_result(found, framework, clause) if clause.criterion else "not covered"
            say(f"{clause.id:<20}{result:<40}{clause.title}", indent=2)
    if found.changes:
        say("")
        say("What would change", "bold")
    for one in found.changes[:20]:
        what = f"{one.before or 'not judged'} -> {one.after or 'not judged'}".replace("_", " ")
        say(f"{one.account_id} {one.user} {one.key}  {one.control}: {what}", indent=2)
        say(one.reason, "dim", indent=4)
    total = sum(found.steps.values())
    if total > 20:  # noqa: PLR2004 - as above
        say(f"and {total - 20:,} more; --json has the first {len(found.changes):,}.", indent=2)
    if not total:
        say("No verdict of the policy would change.")
    if found.unconfirmed:
        said = (
            "would newly fail by what the credential report said; they were not looked up live when the run was made."
        )
        say(f"{counted(found.unconfirmed, 'verdict')} on keys {said}")


def _clause_result(found: "Simulation", framework: "Framework", clause: "Clause") -> str:
    counts, before = (_verdicts(tallied, framework, clause) for tallied in (found.after, found.before))

    def said(outcome: str, word: str) -> str:
        number, was = counts.get(outcome, 0), before.get(outcome, 0)
        return f"{number:,} {word}{f' (now {was:,})' if before and was != number else ''}"

    return f"{said('non_compliant', 'fail')}, {said('unknown', 'unknown')}"


def _verdicts(tallied: "Tally", framework: "Framework", clause: "Clause") -> Mapping[str, int]:
    """What verdicts say of a clause; nothing where it is not judged."""
    from auditor.policy import clause_key, label

    if clause.criterion is None:
        return {}
    return tallied.clauses.get(clause_key(label(framework, clause), clause.criterion.control), {})


def simulation_document(found: "Simulation", run: str, after: "Policy") -> dict[str, Any]:
    """The same for programs."""
    from dataclasses import asdict

    from auditor.policy import clause_key

    return {
        "run": run,
        "before": asdict(found.before.summary()),
        "after": asdict(found.after.summary()),
        "frameworks": {
            framework.id: {
                clause_key(clause.id, clause.criterion.control): dict(_verdicts(found.after, framework, clause))
                for clause in framework.clauses
                if clause.criterion
            }
            for framework in after.frameworks
        },
        "steps": [
            {"control": control, "before": was, "after": would_be, "verdicts": number}
            for (control, was, would_be), number in sorted(found.steps.items(), key=str)
        ],
        "changes": [asdict(change) for change in found.changes],
        "unconfirmed": found.unconfirmed,
    }
