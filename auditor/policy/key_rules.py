"""What each control on access keys, and on what is like them, says of a case, and why, in words."""

from collections.abc import Sequence

import numpy as np

from auditor.model import ControlId, Criterion, KeyStatus, Outcome
from auditor.policy.verdicts import Cases, Verdicts, counted, dates, known
from auditor.report_columns import Texts

WHICH_LIMIT = (
    "which limit applies, because a tag, a password or an organisational unit that a rule asks for is not known"
)

UNCONFIRMED = ("unknown", "alike")
"""What the `identity` of a key is that could not be found in its user's listing, or not for certain."""


def _limit(cases: Cases, limits: Sequence[str]) -> Texts:
    """The limit that is told of each case, by `choice`."""
    texts: Texts = np.array(limits, np.object_)[cases["choice"]]
    return texts


def key_age(cases: Cases, limits: Sequence[str]) -> Verdicts:
    """By `days`, `due` (a date), `broken`, `unsure`, `choice` (of `limits`), `missing` and what `_settle` needs."""
    verdict = Verdicts.on(cases)
    age, due, old = counted(cases["days"], "day"), dates(cases["due"]), cases["broken"]
    fails = " old: " + _limit(cases, limits) + " fails; it was due on "
    verdict.say(~old, Outcome.COMPLIANT, age + " old; due on " + due + ".")
    verdict.say(old, Outcome.NON_COMPLIANT, age + fails + due + ".")
    verdict.doubt(cases["unsure"], WHICH_LIMIT)
    verdict.say(cases["missing"], Outcome.UNKNOWN, "The creation date is not known, so neither is the age.")
    return _settle(verdict, cases)


def key_unused(cases: Cases, limits: Sequence[str]) -> Verdicts:
    """Idle time from the last use, or from creation where there is none on record (CIS 1.12, audit text).

    By `days`, `due`, `broken`, `unsure`, `choice` and `missing` of that start, `used`, `young`, `last_used_state`,
    `last_used_problem` and what `_settle` needs.
    """
    verdict = Verdicts.on(cases)
    ago, due, idle, young = counted(cases["days"], "day"), dates(cases["due"]), cases["broken"], cases["young"]
    activity = np.where(cases["used"], "Last used " + ago + " ago", "Created " + ago + " ago, no use on record")
    fails = ": not used for " + _limit(cases, limits) + " fails; it was due on "
    verdict.say(~idle, Outcome.COMPLIANT, activity + "; due on " + due + ".")
    verdict.say(idle, Outcome.NON_COMPLIANT, activity + fails + due + ".")
    verdict.doubt(cases["unsure"], WHICH_LIMIT)
    verdict.say(young, Outcome.COMPLIANT, activity + ": too young to be judged unused.")
    unsure = idle & ~young & np.equal(cases["last_used_state"], "unknown")
    why = known(cases["last_used_problem"], "no reason given")
    verdict.say(unsure, Outcome.UNKNOWN, "Last use is not known: " + why + ". Otherwise: " + activity + ".")
    verdict.say(cases["missing"], Outcome.UNKNOWN, "Neither creation nor last use is known.")
    return _settle(verdict, cases)


def key_at_user_creation(cases: Cases, criterion: Criterion) -> Verdicts:
    """Of active keys of users who have a console password, or of whom that is not known.

    By `together` (created with the user), `dated` (both creations are known), `young`, `password_known`,
    `last_used_state`, `last_used_problem` and what `_settle` needs.
    """
    verdict = Verdicts.on(cases)
    together, state = cases["together"], cases["last_used_state"]
    verdict.say(~together, Outcome.COMPLIANT, "The key was not created together with the user.")
    if criterion.strict:
        together = np.ones_like(together)
        verdict.say(together, Outcome.NON_COMPLIANT, "A user with a console password has an active key without a use.")
    verdict.say(
        cases["together"],
        Outcome.NON_COMPLIANT,
        "The key was created together with the user, who has a console password, and has no use on record.",
    )
    verdict.say(together & cases["young"], Outcome.COMPLIANT, "The key is too young for its use to be on record.")
    verdict.doubt(np.equal(state, "unknown"), known(cases["last_used_problem"], "the last use is not known"))
    verdict.doubt(~cases["password_known"], "whether the user has a console password is not known")
    if not criterion.strict:
        verdict.say(~cases["dated"], Outcome.UNKNOWN, "The creation of the user or of the key is not known.")
    verdict.say(np.equal(state, "used"), Outcome.COMPLIANT, "The key is in use.")
    return _settle(verdict, cases)


def inactive_key_retained(cases: Cases, limits: Sequence[str]) -> Verdicts:
    """Of inactive keys, by `days`, `due`, `broken`, `unsure` and `choice`, counted from `since` (a day), and `first`.

    IAM keeps no date of deactivation: it is counted from the first run that saw the key inactive, without a break.
    """
    verdict = Verdicts.on(cases)
    seen, due, long = counted(cases["days"], "day"), dates(cases["due"]), cases["broken"]
    observed = "Seen inactive since " + dates(cases["since"]) + ", " + seen
    fails = ": kept inactive for " + _limit(cases, limits) + " fails; it was due to be deleted on "
    verdict.say(~long, Outcome.COMPLIANT, observed + "; due to be deleted on " + due + ".")
    verdict.say(
        cases["first"], Outcome.COMPLIANT, "Seen inactive for the first time; due to be deleted on " + due + "."
    )
    verdict.say(long, Outcome.NON_COMPLIANT, observed + fails + due + ".")
    verdict.doubt(cases["unsure"], WHICH_LIMIT)
    unconfirmed = np.isin(cases["identity"].astype(str), UNCONFIRMED)
    verdict.doubt(unconfirmed, known(cases["identity_problem"], "no reason given"))
    return verdict


def quarantined_key(cases: Cases) -> Verdicts:
    """Of the keys of users in quarantine, by `quarantined_by` and `key_status`."""
    verdict = Verdicts.on(cases)
    gone = np.equal(cases["key_status"], KeyStatus.DELETED.value)
    active = np.equal(cases["key_status"], KeyStatus.ACTIVE.value)
    state = np.where(active, "still active", "inactive").astype(object)
    told = "AWS found a key of this user exposed and attached " + cases["quarantined_by"] + "; this key is " + state
    verdict.say(~gone, Outcome.NON_COMPLIANT, told + ". Deactivate it and treat it as an incident; never rotate it.")
    verdict.say(gone, Outcome.NOT_APPLICABLE, "The key was deleted after the credential report was made.")
    return verdict


def service_credential_age(cases: Cases, limits: Sequence[str]) -> Verdicts:
    """Of service-specific credentials.

    By `days`, `due`, `broken`, `unsure`, `choice`, `key_status`, `service`, `expired`, `expires` (a day), `has_expiry`
    and `future`.
    """
    verdict = Verdicts.on(cases)
    age, due, old = counted(cases["days"], "day"), dates(cases["due"]), cases["broken"]
    until: Texts = np.where(cases["has_expiry"], " expires on " + dates(cases["expires"]), " never expires")
    what = known(cases["service"], "a service") + ", " + age + " old, it" + until
    fails = ": " + _limit(cases, limits) + " fails; it was due on "
    verdict.say(~old, Outcome.COMPLIANT, "Credential of " + what + "; due on " + due + ".")
    verdict.say(old, Outcome.NON_COMPLIANT, "Credential of " + what + fails + due + ".")
    verdict.doubt(cases["unsure"], WHICH_LIMIT)
    inactive = ~np.equal(cases["key_status"], KeyStatus.ACTIVE.value)
    verdict.say(inactive, Outcome.NOT_APPLICABLE, "The credential is inactive.")
    verdict.say(cases["expired"], Outcome.NOT_APPLICABLE, "The credential has expired.")
    verdict.say(cases["future"], Outcome.NOT_APPLICABLE, "It was created after the instant of judgement.")
    return verdict


def root_keys(cases: Cases, criterion: Criterion) -> Verdicts:
    """Of each root key, by `key_status`; both readings of the standards, active and present, are told."""
    verdict = Verdicts.on(cases)
    active = np.equal(cases["key_status"], KeyStatus.ACTIVE.value)
    deleted = np.equal(cases["key_status"], KeyStatus.DELETED.value)
    present = Outcome.NON_COMPLIANT if criterion.strict else Outcome.COMPLIANT
    verdict.say(active, Outcome.NON_COMPLIANT, "The root user has an active access key.")
    verdict.say(~active, present, "The root user has an inactive access key: present, not active. Delete it.")
    verdict.say(deleted, Outcome.NOT_APPLICABLE, "The key was deleted after the credential report was made.")
    return verdict


def _settle(verdict: Verdicts, cases: Cases) -> Verdicts:
    """What holds for every control on a user's key: who is out of scope, and what could not be confirmed.

    By `identity`, `identity_problem`, `key_status`, `future` and `is_root`.
    """
    verdict.doubt(
        np.isin(cases["identity"].astype(str), UNCONFIRMED), known(cases["identity_problem"], "no reason given")
    )
    # An active key may be taken for an inactive one, but not where all that it may be are inactive.
    unconfirmed = np.equal(cases["identity"], "unknown") & verdict.are(Outcome.UNKNOWN)
    inactive = np.equal(cases["key_status"], KeyStatus.INACTIVE.value) & ~unconfirmed
    deleted = np.equal(cases["key_status"], KeyStatus.DELETED.value)
    verdict.say(inactive, Outcome.NOT_APPLICABLE, "The key is inactive.")
    verdict.say(deleted, Outcome.NOT_APPLICABLE, "The key was deleted after the credential report was made.")
    verdict.say(cases["future"], Outcome.NOT_APPLICABLE, "The key was created after the instant of judgement.")
    verdict.say(cases["is_root"], Outcome.NOT_APPLICABLE, f"Root keys are judged by {ControlId.ROOT_ACCESS_KEY}.")
    return verdict
