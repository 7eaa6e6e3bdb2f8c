"""Numbers and times as words: the sentences of the reports, made by rule from a run's manifest. Pure."""

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from auditor.formats.standing import may_be_elsewhere
from auditor.model import ASKED_OF_AWS, ControlId, Outcome, Policy, RunManifest, Source, Summary
from auditor.policy import Standing, standing

SOURCES: Mapping[Source, str] = {
    Source.CREDENTIAL_REPORT: "credential report",
    Source.LISTING: "listing of users and keys",
    Source.FILE: "downloaded report",
}

COUNTING_KEYS = (ControlId.ONE_ACTIVE_KEY, ControlId.EXTRA_KEYS)
"""Controls that are unknown where it is not certain how many keys a user has."""

USER_CONTROLS = (*COUNTING_KEYS, ControlId.CONSOLE_PASSWORD_UNUSED, ControlId.CONSOLE_MFA)
"""Controls that judge users, whose verdicts the rate of keys does not hold."""

BESIDE_KEYS = (
    ControlId.CONSOLE_PASSWORD_UNUSED,
    ControlId.CONSOLE_MFA,
    ControlId.SERVICE_CREDENTIAL_AGE,
    ControlId.QUARANTINED_KEY,
)
"""Controls whose unknown verdicts count no key as unknown."""


def plural(count: int, noun: str) -> str:
    """The noun alone, in the number that goes with `count`."""
    return noun if count == 1 else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """Count and noun: "1 key", "3,214 keys"."""
    return f"{count:,} {plural(count, noun)}"


def instant(at: datetime) -> str:
    """RFC 3339 in UTC with `Z`, to the second; the form of every machine-readable output."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def minute(at: datetime) -> str:
    """A time for people, to the minute, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def days(duration: timedelta) -> str:
    """A duration in days: "90 days"."""
    number = duration / timedelta(days=1)
    return f"{number:g} {'day' if number == 1 else 'days'}"


def rate(fraction: float | None) -> str:
    """A rate as a percentage to one place, rounded to the nearest, but never up to all nor down to none."""
    if fraction is None:
        return "not known"
    nearest = round(fraction * 100, 1)
    if 0 < fraction < 1:
        nearest = min(max(nearest, 0.1), 99.9)
    return f"{nearest:.1f} %"


def bounds(summary: Summary) -> str:
    """Such as "between 94 % and 98 %" where something is unknown or was not audited, else empty."""
    lower, upper = summary.rate_lower, summary.rate_upper
    if lower is None or upper is None or lower == upper:
        return ""
    return f"between {math.floor(round(lower * 100, 4))} % and {math.ceil(round(upper * 100, 4))} %"


def violations(summary: Summary, controls: Iterable[str] = tuple(ControlId)) -> int:
    """Non-compliant verdicts of these controls: by default all, those on keys and those on users."""
    return sum(_verdicts(summary, control, Outcome.NON_COMPLIANT) for control in controls)


def _verdicts(summary: Summary, control: str, outcome: Outcome) -> int:
    return summary.verdicts.get(control, {}).get(outcome, 0)


def _unlisted_users(summary: Summary) -> int:
    """Users of whom it is not certain how many keys they have."""
    return max(_verdicts(summary, control, Outcome.UNKNOWN) for control in COUNTING_KEYS)


def broken_frameworks(manifest: RunManifest) -> tuple[str, ...]:
    """Title and edition of each framework of which a clause fails."""
    return tuple(
        f"{framework.title} {framework.edition}"
        for framework in manifest.policy.frameworks
        if any(counts.get(Outcome.NON_COMPLIANT, 0) for counts in manifest.frameworks.get(framework.id, {}).values())
    )


def unsure_frameworks(manifest: RunManifest) -> tuple[str, ...]:
    """Title and edition of each framework of which no clause fails and one is unknown."""
    broken = broken_frameworks(manifest)
    unsure = (
        f"{framework.title} {framework.edition}"
        for framework in manifest.policy.frameworks
        if any(counts.get(Outcome.UNKNOWN, 0) for counts in manifest.frameworks.get(framework.id, {}).values())
    )
    return tuple(name for name in unsure if name not in broken)


def verdict(manifest: RunManifest) -> tuple[str, str]:
    """One word for the run, and its tone."""
    broken = violations(manifest.summary) or len(broken_frameworks(manifest))
    if not manifest.is_complete:
        return ("Incomplete, and not compliant" if broken else "Incomplete", "bad" if broken else "warn")
    return ("Not compliant", "bad") if broken else ("Compliant", "good")


def headline(manifest: RunManifest) -> str:
    """The one sentence: rate, number of keys, what was not audited, and the bounds."""
    summary, coverage = manifest.summary, manifest.coverage
    judged = summary.compliant + summary.non_compliant
    verb = "complies" if judged == 1 else "comply"
    rated = f"{rate(summary.compliance_rate)} of {counted(judged, 'judged access key')} {verb}"
    missing = len(coverage.not_audited)
    not_asked = () if manifest.caller_arn else ASKED_OF_AWS & manifest.policy.switched_off
    said = [
        (violations(summary, USER_CONTROLS), "{} {}", "user-level violation"),
        (_failing(summary, ControlId.ROOT_ACCESS_KEY), "{} {} that must not be there", "root access key"),
        (_failing(summary, ControlId.SERVICE_CREDENTIAL_AGE), "{} {} too old", "service-specific credential"),
        (
            len(broken_frameworks(manifest)),
            f"{{}} of {counted(len(manifest.policy.frameworks), 'framework')} not met",
            "",
        ),
        (manifest.excused, "{} {} exempt", "violation"),
        (missing, f"{{}} of {counted(coverage.accounts_in_scope, 'account')} not audited", ""),
        (len(not_asked), "{} {} not judged, for AWS was not asked", "control"),
        (summary.unknown, "{} {} of unknown outcome", "key"),
        (_unlisted_users(summary), "{} {} whose keys are not known for certain", "user"),
        (
            _verdicts(summary, ControlId.ROOT_ACCESS_KEY, Outcome.UNKNOWN),
            "{} {} whose root keys are not known",
            "account",
        ),
        (
            sum(_verdicts(summary, control, Outcome.UNKNOWN) for control in BESIDE_KEYS),
            "{} unknown {} on passwords, quarantine or credentials",
            "verdict",
        ),
        (
            len(unsure_frameworks(manifest)),
            f"{{}} of {counted(len(manifest.policy.frameworks), 'framework')} not known for certain",
            "",
        ),
    ]
    parts = [text.format(f"{count:,}", plural(count, noun)) for count, text, noun in said if count]
    text = "; ".join([rated if judged else "No access key could be judged", *parts])
    between = bounds(summary)
    return f"{text}: {between}." if between else f"{text}."


def _failing(summary: Summary, control: ControlId) -> int:
    return _verdicts(summary, control, Outcome.NON_COMPLIANT)


def population(manifest: RunManifest) -> str:
    """How the scope came out of the organisation, where accounts of it were left out; else an empty text."""
    coverage = manifest.coverage
    if not coverage.left_out:
        return ""
    of = coverage.organisation_accounts or 0
    kept = of - coverage.left_out
    be = "is" if kept == 1 else "are"
    beside = coverage.accounts_in_scope - kept
    more = f" {counted(beside, 'more account')} in scope by the configuration's list." if beside else ""
    return (
        f"Of the organisation's {counted(of, 'account')}, {kept:,} {be} in scope and {coverage.left_out:,} left out "
        f"by the configuration or the command line; population.json names each, with the filter.{more}"
    )


def sentences(manifest: RunManifest) -> tuple[str, ...]:
    """What a manager should know after the headline, gravest first, each one sentence."""
    summary, coverage = manifest.summary, manifest.coverage

    def failing(control: str) -> int:
        return _verdicts(summary, control, Outcome.NON_COMPLIANT)

    policy = manifest.policy
    rootless = _verdicts(summary, ControlId.ROOT_ACCESS_KEY, Outcome.UNKNOWN)
    said = [
        (
            failing("quarantined-key"),
            "{} of users whose keys AWS found exposed: deactivate them and treat it as an incident",
            "key",
        ),
        (failing("root-access-key"), "root access {} that must not be there: the gravest finding there is", "key"),
        (failing("key-age"), f"active {{}} older than policy allows ({policy.key_age} fails)", "key"),
        (failing("key-unused"), f"active {{}} not used for {policy.key_unused}", "key"),
        (failing("one-active-key"), "{} with more active keys than allowed", "user"),
        (failing("extra-keys"), "{} with more than two access keys", "user"),
        (failing("console-mfa"), "{} with a console password and no MFA device", "user"),
        (
            failing("console-password-unused"),
            f"{{}} whose console password was not used for {policy.password_unused}",
            "user",
        ),
        (failing("service-credential-age"), f"service-specific {{}} of {policy.service_credential_age}", "credential"),
        (failing("inactive-key-retained"), f"inactive {{}} kept for {policy.inactive_retained}", "key"),
        (failing("key-at-user-creation"), "{} that came with a console user and was never used", "key"),
        (summary.unknown, "{} of unknown outcome: what could not be read is never taken as a pass", "key"),
        (_unlisted_users(summary), "{} whose number of keys is not known for certain", "user"),
        (rootless, "{} of which it is not known whether the root user has a key", "account"),
        (
            summary.not_applicable,
            "{} not judged by age and use: inactive, or created after the instant of judgement",
            "key",
        ),
    ]
    lines = [f"{count:,} {text.format(plural(count, noun))}." for count, text, noun in said if count]
    unmet = broken_frameworks(manifest)
    if unmet:
        lines.append(f"Not met: {', '.join(unmet)}. Each clause stands below with its own numbers.")
    lines += rule_sentences(manifest)
    missing = len(coverage.not_audited)
    if missing:
        be = "was" if missing == 1 else "were"
        lines.insert(0, f"{counted(missing, 'account')} in scope {be} not audited: nothing is known of the keys there.")
    if manifest.is_complete and not violations(summary):
        nothing = "Every violation is exempt." if summary.exempt else "There was no active access key to judge."
        lines.insert(0, "Every key that was judged complies." if summary.compliant else nothing)
    return tuple(lines)


def rule_sentences(manifest: RunManifest) -> Iterator[str]:
    """What somebody has to do about the policy's exemptions and limit rules."""
    elsewhere = {rule.id for rule in manifest.policy.limits if may_be_elsewhere(rule.scope, manifest)}
    idle_rules = [name for name, number in manifest.rules.items() if not number and name not in elsewhere]
    if idle_rules:
        them = counted(len(idle_rules), "limit rule")
        yield f"{them} matched nothing: {', '.join(idle_rules)}."
    standings = {one.id: standing(one, manifest.as_of) for one in manifest.policy.exemptions}
    matched = manifest.exemptions
    expired = [name for name, where in standings.items() if where is Standing.EXPIRED and manifest.failing.get(name)]
    soon = [name for name, where in standings.items() if where is Standing.EXPIRING]
    idle = [
        one.id
        for one in manifest.policy.exemptions
        if standings[one.id] in {Standing.ACTIVE, Standing.EXPIRING}
        and not (matched.get(one.id) or manifest.undecided.get(one.id) or may_be_elsewhere(one.scope, manifest))
    ]
    open_ = [name for name, number in manifest.undecided.items() if number]
    if expired:
        yield f"{counted(len(expired), 'exemption')} expired and what it excused now fails: {', '.join(expired)}."
    if soon:
        yield f"{counted(len(soon), 'exemption')} will expire within 30 days: {', '.join(soon)}."
    if idle:
        yield f"{counted(len(idle), 'exemption')} matched nothing: {', '.join(idle)}."
    if open_:
        be = "is" if len(open_) == 1 else "are"
        yield f"{counted(len(open_), 'exemption')} {be} perhaps for what is not known: {', '.join(open_)}."


def report_age(generated_at: datetime | None, as_of: datetime, source: Source) -> str:
    """How old the credential report was at `as_of`, in words."""
    if source is Source.LISTING:
        return "live"
    if generated_at is None:
        return "not known"
    return duration(as_of - generated_at)


def duration(elapsed: timedelta) -> str:
    """A length of time in its two largest units: "3 h 20 min", "12 days"."""
    minutes = max(0, int(elapsed.total_seconds() // 60))
    if minutes < 60:  # noqa: PLR2004 - minutes in an hour
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004 - beyond two days, days say more
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{hours // 24} days"


def root_keys(active: int | None, present: int | None) -> str:
    """Both readings of the root user's keys: active, and present (which counts inactive ones)."""
    if present is None:
        return "not known"
    if present == 0:
        return "none"
    if active is None:
        return "present"
    return f"{active} active, {present} present"


def method(manifest: RunManifest) -> tuple[str, ...]:
    """How the figures come about, and what the method cannot see; a paragraph each."""
    policy: Policy = manifest.policy
    grace = days(policy.unused_grace)
    looked_up = {
        "all": "Every user with a key was looked up live (ListAccessKeys, GetAccessKeyLastUsed, ListUserTags) and is "
        "judged on that.",
        "flagged": f"Users whose keys fail, or will within {days(policy.warning_window)}, were looked up live "
        "(ListAccessKeys, GetAccessKeyLastUsed, ListUserTags) and are judged on that. A key that was changed, created "
        "or made active again after the report and was not looked up is seen next time.",
        "none": "Nothing was looked up live: key ids, owners and descriptions are not known, nor is what changed or "
        "was used after each report.",
    }[manifest.key_ids]
    judged_at = (
        f"Everything is judged at one instant, {instant(manifest.as_of)}. Age is that instant minus the key's "
        "creation, compared as a duration in UTC and never as whole days."
    )
    sources = (
        "Facts come from each account's IAM credential report. AWS makes one at most every four hours; the time of "
        f"each stands in the coverage. {looked_up}"
    )
    use = (
        f"Last use is AWS's own record, with a grain of 15 minutes and some delay; a key younger than {grace} without "
        "a use is not judged unused. Never used is measured from creation. AWS began to record use on 22 April 2015."
    )
    scope = "Inactive keys are listed but not judged by age and use. Root keys are judged by their own control only."
    unknown = "Unknown is never a pass: where a fact could not be read or two sources disagree, the outcome is unknown."
    compliance = (
        "The compliance rate is compliant keys / (compliant + non-compliant keys), each key counted once with its "
        "worst outcome. The bounds take every unknown key as failing and as passing, and every account that was not "
        "audited as holding as many judged keys as the average audited account (at least one), all failing and all "
        "passing."
    )
    unwritten = "This run has no journal of remediation: it does not tell what auditor changed, if anything."
    changes = () if manifest.journal else (unwritten,)
    return (judged_at, sources, use, scope, unknown, compliance, *changes, *manifest.notes)


def facts(manifest: RunManifest) -> tuple[tuple[str, str], ...]:
    """Who ran what, when, on which scope: label and value."""
    calls = sum(manifest.calls.values())
    return (
        ("Run", manifest.id),
        ("Judged as of", instant(manifest.as_of)),
        ("Scope", manifest.scope),
        ("Caller", manifest.caller_arn or "none: no AWS access"),
        ("AWS calls made", str(calls)),
        ("Tool", f"auditor {manifest.tool_version}"),
    )
