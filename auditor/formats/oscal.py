"""findings.oscal.json: the run as assessment results of NIST's OSCAL 1.2.1.

One result holds it all: what was reviewed (the policy's own controls and each framework's clauses, as objectives that
are defined in the document), an observation for each finding of findings.json and each account that was not audited,
and a finding for each objective. UUIDs are made from the run's id and what they name, so the same run gives the same
bytes. Texts are Markdown to OSCAL, so whatever a name holds is escaped; properties hold names as they are. Pure.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

from auditor.formats import words
from auditor.formats.findings_csv import cell_text
from auditor.formats.json_text import json_lines
from auditor.formats.listed import COVERAGE, COVERAGE_TITLE, Listed, is_root, listed, shown
from auditor.formats.plain_text import visible
from auditor.formats.standing import ClauseView, FrameworkView
from auditor.formats.view import ReportView
from auditor.model import Outcome

OSCAL_VERSION = "1.2.1"

NAMESPACE = uuid.UUID("6f0a3f0e-6d0c-5c39-9f2b-7a3a4f6f9c11")
"""Of the UUIDs that are made here; any will do that never changes."""

NS = "urn:auditor:findings:1"
"""The namespace of properties that OSCAL does not know: the fields of findings.json."""

_MARKUP = re.compile(r"[\\`*_{}\[\]<>~^&]|^[#+=-]|(?<=^\d)[.)]")
_NO_TOKEN = re.compile(r"[^A-Za-z0-9._-]+")
_READABLE = re.compile(r"[A-Za-z0-9._() -]+")
_NIST = re.compile(r"([A-Z]{2})-(\d+)(?:\((\d+)\))?(?: [a-z])?")
_NIST_FRAMEWORKS = ("nist-800-53", "fedramp-")
_BLANKS_AROUND = re.compile(r"^\s+|\s+$")

_LEVELS = 5
"""The document, the assessment results, their results, a result, and its lists: what these hold stands on a line."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Objective:
    """What one finding speaks of: a control of the policy, a clause's test, or the coverage."""

    source: str
    """Who asks: "policy", or a framework's id."""
    control_id: str
    id: str
    title: str
    test: str
    props: tuple[Json, ...]
    counts: Mapping[str, int]
    observed: tuple[Listed, ...]


@dataclass(frozen=True)
class _Document:
    """One run on its way to OSCAL."""

    view: ReportView

    @cached_property
    def listed(self) -> tuple[Listed, ...]:
        return listed(self.view)

    @cached_property
    def gaps(self) -> tuple[Listed, ...]:
        return tuple(one for one in self.listed if one.finding is None)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        return tuple(_objectives(self.view, self.listed))

    def id(self, *what: str) -> str:
        """The UUID of something in this run."""
        return str(uuid.uuid5(NAMESPACE, json.dumps([self.view.manifest.id, *what])))

    @property
    def at(self) -> str:
        return words.instant(self.view.manifest.as_of)

    @property
    def origins(self) -> list[Json]:
        return [{"actors": [{"type": "tool", "actor-uuid": self.id("tool")}]}]


def render_oscal(view: ReportView) -> bytes:
    """The assessment results as JSON in UTF-8, in stable order, an observation or finding a line."""
    of = _Document(view)
    content = {
        "assessment-results": {
            "uuid": of.id("assessment-results"),
            "metadata": _metadata(of),
            "import-ap": {"href": f"#{of.id('resource', 'policy.toml')}"},
            "local-definitions": {"objectives-and-methods": [_definition(one) for one in of.objectives]},
            "results": [_result(of)],
            "back-matter": {"resources": list(_resources(of))},
        }
    }
    return json_lines(content, _LEVELS)


# ------------------------------------------------------------------------------------------------- texts


def markup(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line."""
    return _MARKUP.sub(r"\\\g<0>", visible(text).strip()) or "(empty)"


def prop(name: str, value: str, ns: str | None = NS) -> Iterator[Json]:
    """A property, if there is a value; blanks at its ends, which OSCAL does not allow, are shown as escapes."""
    shown_value = _BLANKS_AROUND.sub(lambda match: "".join(f"\\u{{{ord(one):X}}}" for one in match[0]), visible(value))
    if shown_value:
        yield {"name": name, **({"ns": ns} if ns else {}), "value": shown_value}


def clause_token(framework: str, clause: str) -> str:
    """A clause as a token, which begins with a letter and holds few signs: hipaa_164.312.a.1 for 164.312(a)(1).

    Where more than brackets and blanks had to go, a digest keeps different clauses apart.
    """
    short = _NO_TOKEN.sub(".", clause).strip(".")
    digest = hashlib.sha256(clause.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    apart = "" if _READABLE.fullmatch(clause) else f".{digest}"
    return f"{'_' if framework[:1].isdigit() else ''}{framework}_{short}{apart}"


def control_id(framework: str, clause: str) -> str:
    """A control's id: NIST's own where NIST has the catalogue in OSCAL (ac-2.3), else the clause as a token."""
    nist = _NIST.fullmatch(clause) if framework.startswith(_NIST_FRAMEWORKS) else None
    if nist is None:
        return clause_token(framework, clause)
    family, number, enhancement = nist.groups()
    return f"{family.lower()}-{number}" + (f".{enhancement}" if enhancement else "")


# ------------------------------------------------------------------------------------------------- head and tail


def _metadata(of: _Document) -> Json:
    run = of.view.manifest
    head: Json = {
        "title": "AWS access keys: assessment results",
        "last-modified": of.at,
        "version": run.id,
        "oscal-version": OSCAL_VERSION,
        "props": [*prop("run-id", run.id), *prop("tool-version", run.tool_version), *prop("scope", run.scope)],
    }
    if run.organisation.strip():
        party = {"uuid": of.id("organisation"), "type": "organization", "name": visible(run.organisation).strip()}
        head["parties"] = [party]
    return head


def _resources(of: _Document) -> Iterator[Json]:
    about = {
        "policy.toml": "What was judged by, as the run keeps it: limits, exemptions and frameworks. It stands for the "
        "assessment plan.",
        "run.json": "The run: who ran what, when, on which scope; coverage, counts and calls.",
    }
    for name, description in about.items():
        yield {
            "uuid": of.id("resource", name),
            "title": name,
            "description": description,
            "rlinks": [{"href": name}],
        }


def _definition(one: Objective) -> Json:
    return {
        "control-id": one.control_id,
        "description": markup(one.title),
        "props": list(one.props),
        "parts": [{"id": one.id, "name": "assessment-objective", "ns": NS, "prose": markup(one.test)}],
    }


# ------------------------------------------------------------------------------------------------- the result


def _result(of: _Document) -> Json:
    items, observed = list(_inventory(of)), (_observation(of, one) for one in of.listed)
    result: Json = {
        "uuid": of.id("result"),
        "title": "AWS access keys under control",
        "description": markup(of.view.headline),
        "start": of.at,
        "end": of.at,
        "local-definitions": {
            **({"inventory-items": items} if items else {}),  # OSCAL knows no empty lists
            "assessment-assets": _assets(of),
        },
        "reviewed-controls": _reviewed(of),
        "observations": chain([_coverage(of)], observed),
        "risks": list(_risks(of)),
        "findings": [_finding(of, one) for one in of.objectives if _is_told(one, of.gaps)],
    }
    silent = [one.id for one in of.objectives if not _is_told(one, of.gaps)]
    if silent:
        result["remarks"] = markup(f"Nothing was there to judge, so neither passed nor failed: {', '.join(silent)}.")
    if not result["risks"]:
        del result["risks"]
    return result


def _assets(of: _Document) -> Json:
    version = of.view.manifest.tool_version
    tool = {
        "uuid": of.id("tool"),
        "type": "software",
        "title": "auditor",
        "description": "Judges the access keys of AWS accounts by credential reports and live look-ups.",
        "props": list(prop("version", version, None)),
        "status": {"state": "operational"},
    }
    uses = [{"component-uuid": of.id("tool")}]
    return {"components": [tool], "assessment-platforms": [{"uuid": of.id("platform"), "uses-components": uses}]}


def _reviewed(of: _Document) -> Json:
    """A selection for each source; clauses that nothing tests are named as left out."""
    selections = []
    frameworks = {framework.id: framework for framework in of.view.frameworks}
    for source in dict.fromkeys(one.source for one in of.objectives):
        tested = dict.fromkeys(one.control_id for one in of.objectives if one.source == source)
        framework = frameworks.get(source)
        selection: Json = {
            "description": markup(framework.name if framework else "The company's own policy"),
            "include-controls": [{"control-id": one} for one in tested],
        }
        left_out = dict.fromkeys(_untested(framework)) if framework else {}
        if others := [one for one in left_out if one not in tested]:
            selection["exclude-controls"] = [{"control-id": one} for one in others]
            selection["remarks"] = "What is excluded bears on access keys, and nothing here tests it."
        selections.append(selection)
    chosen = [{"objective-id": one.id} for one in of.objectives]
    return {"control-selections": selections, "control-objective-selections": [{"include-objectives": chosen}]}


def _untested(framework: FrameworkView) -> Iterator[str]:
    yield from (control_id(framework.id, clause.id) for clause in framework.clauses if not clause.control)


# ------------------------------------------------------------------------------------------------- subjects


def _subject(one: Listed) -> str:
    """What is judged, by name."""
    if one.finding is None:
        return one.account_arn
    return one.key_uid or one.finding.user_arn


def _inventory(of: _Document) -> Iterator[Json]:
    """Every key, credential, user and account that an observation is about."""
    for name, one in {_subject(one): one for one in of.listed}.items():
        if one.finding is None:
            kind = "account"
        elif one.finding.key:
            kind = "service-specific-credential" if one.finding.credential_id else "access-key"
        else:
            kind = "account" if is_root(one.finding) else "user"
        told = ("account_id", "account_name", "user", "user_arn", "slot", "access_key_id", "key_status", "created_at")
        fields = {key: one.fields[key] for key in (*told, "owner") if key in one.fields}
        yield {
            "uuid": of.id("subject", name),
            "description": markup(f"{kind.replace('-', ' ')} {name}"),
            "props": [
                *prop("asset-id", name, None),
                *prop("kind", kind),
                *(one for key, value in fields.items() for one in prop(key, cell_text(value))),
                *prop("is-scanned", "no" if one.finding is None else "yes", None),
            ],
        }


# ------------------------------------------------------------------------------------------------- observations, risks


def _coverage(of: _Document) -> Json:
    coverage = of.view.manifest.coverage
    said = (
        f"{coverage.accounts_audited:,} of {words.counted(coverage.accounts_in_scope, 'account')} in scope audited; "
        f"{words.counted(coverage.users, 'user')} and {words.counted(coverage.keys, 'access key')} read."
    )
    return {
        "uuid": of.id("coverage"),
        "title": "Coverage",
        "description": markup(said),
        "methods": ["EXAMINE"],
        "types": ["control-objective"],
        "origins": of.origins,
        "relevant-evidence": [
            {"href": f"#{of.id('resource', 'run.json')}", "description": "The run's own record of its coverage."}
        ],
        "collected": of.at,
    }


def _observation(of: _Document, one: Listed) -> Json:
    fields = {"outcome": one.outcome.value, "severity": one.severity.value, "control": one.control, **one.fields}
    props = (part for name, value in fields.items() for part in prop(name, cell_text(value)))
    return {
        "uuid": of.id("observation", one.uid),
        "title": markup(one.title),
        "description": markup(one.reason),
        "props": [*prop("uid", one.uid), *props],
        "methods": ["TEST"],
        "types": ["finding"],
        "origins": of.origins,
        "subjects": [{"subject-uuid": of.id("subject", _subject(one)), "type": "inventory-item"}],
        "collected": of.at,
        "remarks": markup(one.remedy),
    }


def _risks(of: _Document) -> Iterator[Json]:
    """An approved deviation for each exemption that excuses something."""
    excused: dict[str, list[Listed]] = {}
    for one in of.listed:
        if one.outcome is Outcome.EXEMPT and one.exemption:
            excused.setdefault(one.exemption.id, []).append(one)
    for exemption in of.view.exemptions:
        if exemption.id not in excused:
            continue
        told = shown(exemption)
        yield {
            "uuid": of.id("risk", exemption.id),
            "title": markup(f"Exemption {told.id}"),
            "description": markup(told.reason),
            "statement": markup(f"{told.control}: {told.scope}; {told.result}."),
            "props": [
                *prop("exemption", told.id),
                *prop("owner", told.owner),
                *prop("approver", told.approver),
                *prop("ticket", told.ticket),
                *prop("starts_at", words.instant(told.starts_at)),
                *prop("expires_at", words.instant(told.expires_at)),
            ],
            "status": "deviation-approved",
            "origins": of.origins,
            "deadline": words.instant(told.expires_at),
            "related-observations": _related(of, excused[exemption.id]),
        }


def _related(of: _Document, observed: Iterable[Listed]) -> list[Json]:
    return [{"observation-uuid": of.id("observation", one.uid)} for one in observed]


# ------------------------------------------------------------------------------------------------- findings


def _objectives(view: ReportView, everything: Sequence[Listed]) -> Iterator[Objective]:
    """The coverage, the policy's own controls, and the tested clauses of each framework."""
    gaps = tuple(one for one in everything if one.finding is None)
    read = {Outcome.COMPLIANT.value: view.manifest.coverage.accounts_audited}
    yield _own(COVERAGE, COVERAGE_TITLE, "Each account in scope was entered, and its keys were read.", read, gaps)
    for control in view.controls:
        observed = tuple(one for one in everything if one.finding and one.by_policy and one.control == control.id)
        yield _own(control.id, control.title, control.rule, dict(control.counts), observed)
    by_clause: dict[tuple[str, ...], list[Listed]] = {}
    for one in everything:
        for named in one.finding.clauses if one.finding else ():
            by_clause.setdefault((*named, one.control), []).append(one)
    for framework, seen in zip(view.manifest.policy.frameworks, view.frameworks, strict=True):
        for clause, told in zip(framework.clauses, seen.clauses, strict=True):
            if clause.criterion:
                tested = clause.criterion.control.value
                yield _of_clause(seen, told, tested, tuple(by_clause.get((framework.id, clause.id, tested), ())))


def _own(control: str, title: str, test: str, counts: Mapping[str, int], observed: tuple[Listed, ...]) -> Objective:
    """An objective of the company's own policy."""
    name = f"auditor_{control}"
    return Objective(
        "policy", name, f"{name}_objective", title, test, tuple(prop("control", control)), counts, observed
    )


def _of_clause(framework: FrameworkView, clause: ClauseView, control: str, observed: tuple[Listed, ...]) -> Objective:
    """The test of a clause; a clause may have several, each by another control."""
    said = {"framework": framework.id, "clause": clause.id, "control": control, "support": clause.support}
    return Objective(
        source=framework.id,
        control_id=control_id(framework.id, clause.id),
        id=f"{clause_token(framework.id, clause.id)}_{control}",
        title=f"{framework.name} {clause.id}: {clause.title}",
        test=f"{clause.test} {clause.reason}",
        props=tuple(part for name, value in said.items() for part in prop(name, value)),
        counts=dict(clause.counts),
        observed=observed,
    )


def _is_told(one: Objective, gaps: Sequence[Listed]) -> bool:
    """Whether there was anything to judge, or may have been where nobody could look."""
    judged = (Outcome.COMPLIANT, Outcome.NON_COMPLIANT, Outcome.UNKNOWN, Outcome.EXEMPT)
    return bool(gaps) or any(one.counts.get(outcome.value, 0) for outcome in judged)


def _finding(of: _Document, one: Objective) -> Json:
    counts = ", ".join(f"{number:,} {outcome.replace('_', ' ')}" for outcome, number in one.counts.items() if number)
    excused = (seen.exemption.id for seen in one.observed if seen.outcome is Outcome.EXEMPT and seen.exemption)
    risks = [{"risk-uuid": of.id("risk", name)} for name in dict.fromkeys(excused)]
    observed = dict.fromkeys(seen.uid for seen in (*of.gaps, *one.observed))
    return {
        "uuid": of.id("finding", one.id),
        "title": markup(one.title),
        "description": markup(f"{one.test} Verdicts: {counts or 'none'}."),
        "props": list(one.props),
        "origins": of.origins,
        "target": {
            "type": "objective-id",
            "target-id": one.id,
            "title": markup(one.title),
            "status": _status(one, of.gaps),
        },
        "related-observations": [
            {"observation-uuid": of.id("coverage")},
            *({"observation-uuid": of.id("observation", uid)} for uid in observed),
        ],
        **({"related-risks": risks} if risks else {}),
    }


def _status(one: Objective, gaps: Sequence[Listed]) -> Json:
    """Satisfied is only what was judged everywhere in scope, with nothing failing, unknown or excused."""
    if one.counts.get(Outcome.NON_COMPLIANT.value, 0):
        return {"state": "not-satisfied", "reason": "fail"}
    unknown, exempt = (one.counts.get(outcome.value, 0) for outcome in (Outcome.UNKNOWN, Outcome.EXEMPT))
    said = (
        (len(gaps), f"Not audited: {words.counted(len(gaps), 'account')}; nothing is known of the keys there."),
        (unknown, f"Not known: {words.counted(unknown, 'verdict')}."),
        (exempt, f"Exempt: {words.counted(exempt, 'verdict')}, an approved deviation and not a pass."),
    )
    why = " ".join(text for number, text in said if number)
    if why:
        return {"state": "not-satisfied", "reason": "other", "remarks": markup(why)}
    return {"state": "satisfied", "reason": "pass"}
