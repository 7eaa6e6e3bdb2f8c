"""What each control on users, and on accounts as a whole, says of a case, and why, in words."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from auditor.model import Criterion, Outcome
from auditor.policy.key_rules import WHICH_LIMIT
from auditor.policy.verdicts import UNKNOWN_NUMBER, Cases, Verdicts, counted, dates, known
from auditor.report_columns import SLOTS, Texts

NO_REPORT = "Whether the user has a console password is not known without a credential report."


def one_active_key(users: Cases, criterion: Criterion) -> Verdicts:
    """Of users.

    By `active_keys`, `known_keys`, `listing`, `listing_failed`, `additional_credentials`; of those who rotate a
    key, by `rotating` (a second active key is younger than the policy's window, or than the criterion allows),
    `since` (the day when it was created), `overlaps` (it is younger than the criterion allows) and `until`.
    """
    verdict = Verdicts.on(users)
    active = users["active_keys"]
    count = counted(active, "active access key")
    too_many = active > criterion.most
    rotation = " A rotation is under way since " + dates(users["since"])
    more = count + f": more than {criterion.most}."
    verdict.say(~too_many, Outcome.COMPLIANT, count + ".")
    verdict.say(too_many, Outcome.NON_COMPLIANT, more)
    verdict.say(
        too_many & users["rotating"], Outcome.NON_COMPLIANT, more + rotation + ", for which this allows no time."
    )
    if criterion.grace:
        verdict.say(
            too_many & users["overlaps"],
            Outcome.NON_COMPLIANT,
            more + rotation + ", which allows for one key more, not for so many.",
        )
        verdict.say(
            too_many & users["rotating"] & ~users["overlaps"],
            Outcome.NON_COMPLIANT,
            more + rotation + "; it was due to be finished by " + dates(users["until"]) + ".",
        )
    doubt = "Not confirmed: the live look-up failed (" + known(users["listing_failed"], "") + "). The report says "
    verdict.say(too_many & np.equal(users["listing"], "failed"), Outcome.UNKNOWN, doubt + count + ".")
    overlaps = too_many & users["overlaps"] & (active == criterion.most + 1)
    finish = count + "." + rotation + "; finish it by " + dates(users["until"]) + "."
    verdict.say(overlaps, Outcome.COMPLIANT, finish)
    return _without_keys(verdict, users)


def extra_keys(users: Cases) -> Verdicts:
    """Of users, by the same (but for rotations) and `additional_column`.

    More than two keys: counted by the listing, or told by the report's optional last column.
    """
    verdict = Verdicts.on(users)
    number = users["known_keys"]
    count = counted(number, "access key")
    listed = np.equal(users["listing"], "live")
    extra = number > SLOTS
    full = (number == SLOTS) & ~listed
    silent = ~users["additional_column"]
    hint = users["additional_credentials"]
    verdict.say(~extra, Outcome.COMPLIANT, count + ".")
    verdict.say(extra, Outcome.NON_COMPLIANT, count + ": more than two.")
    cannot_tell = "Both slots are taken, and this credential report does not say whether there are more keys."
    verdict.say(full & silent, Outcome.NOT_APPLICABLE, cannot_tell)
    verdict.say(full & np.equal(users["listing"], "failed"), Outcome.UNKNOWN, _unlisted(users))
    told = "The report tells of more keys or certificates (" + known(hint, "") + "), and they were not listed."
    verdict.say(pd.notna(hint) & ~listed, Outcome.UNKNOWN, told)
    return _without_keys(verdict, users)


def console_password_unused(users: Cases, limits: Sequence[str]) -> Verdicts:
    """Of users with a console password, or of whom that is not known; from its change where there is no use on record.

    By `days`, `due`, `broken`, `unsure`, `choice` (of `limits`) and `missing` of that start, `used`, `has_password`
    (1, 0 or -1), `use_unknown` (why) and `listing`.
    """
    verdict = Verdicts.on(users)
    ago, due, idle = counted(users["days"], "day"), dates(users["due"]), users["broken"]
    activity = np.where(
        users["used"], "Console password last used " + ago + " ago", "Console password set " + ago + " ago, never used"
    )
    limit = np.array(limits, np.object_)[users["choice"]]
    fails = ": not used for " + limit + " fails; it was due on "
    verdict.say(~idle, Outcome.COMPLIANT, activity + "; due on " + due + ".")
    verdict.say(idle, Outcome.NON_COMPLIANT, activity + fails + due + ".")
    verdict.doubt(users["unsure"], WHICH_LIMIT)
    verdict.doubt(pd.notna(users["use_unknown"]), known(users["use_unknown"], ""))
    verdict.say(users["missing"], Outcome.UNKNOWN, "Neither the use nor the change of the console password is known.")
    return _without_password(verdict, users)


def console_mfa(users: Cases) -> Verdicts:
    """Of users with a console password, or of whom that is not known, by `mfa` and `has_password` (1, 0 or -1)."""
    verdict = Verdicts.on(users)
    mfa = users["mfa"]
    verdict.say(mfa == 1, Outcome.COMPLIANT, "The console password is used with MFA.")
    verdict.say(mfa == 0, Outcome.NON_COMPLIANT, "The user has a console password and no MFA device.")
    verdict.say(mfa == UNKNOWN_NUMBER, Outcome.UNKNOWN, "Whether the user has an MFA device is not known.")
    return _without_password(verdict, users)


def accounts_without_root_key(cases: Cases) -> Verdicts:
    """Of accounts that have no root key to judge, by `root_keys_present`: none there, or none to be seen."""
    verdict = Verdicts.on(cases)
    present = cases["root_keys_present"]
    seen = present > 0
    verdict.say(~seen, Outcome.COMPLIANT, "The root user has no access key.")
    verdict.say(seen, Outcome.NON_COMPLIANT, "The account summary says that a root access key is present.")
    verdict.say(
        present == UNKNOWN_NUMBER, Outcome.UNKNOWN, "Neither the credential report nor the account summary tells."
    )
    return verdict


def quarantine_of_accounts(cases: Cases) -> Verdicts:
    """Of accounts.

    By `quarantine` ("known", "failed", or None where nobody asked), `quarantine_problem` and `quarantine_lost`, users
    in quarantine of whom nothing else is known.
    """
    verdict = Verdicts.on(cases)
    asked = pd.notna(cases["quarantine"])
    verdict.say(asked, Outcome.COMPLIANT, "Asked for users in quarantine; a key of such a user is judged by itself.")
    verdict.say(~asked, Outcome.UNKNOWN, "AWS was not asked for users in quarantine.")
    why = "Users in quarantine are not known: " + known(cases["quarantine_problem"], "no reason given") + "."
    verdict.say(np.equal(cases["quarantine"], "failed"), Outcome.UNKNOWN, why)
    lost = pd.notna(cases["quarantine_lost"])
    who = "In quarantine, but not in the credential report, so created or renamed since: "
    verdict.say(lost, Outcome.NON_COMPLIANT, who + known(cases["quarantine_lost"], "") + ".")
    return verdict


def credentials_of_accounts(cases: Cases) -> Verdicts:
    """Of accounts that have no service-specific credential to judge, by `service_credentials` and its `_problem`."""
    verdict = Verdicts.on(cases)
    asked = pd.notna(cases["service_credentials"])
    verdict.say(asked, Outcome.COMPLIANT, "The account has no service-specific credential.")
    verdict.say(~asked, Outcome.UNKNOWN, "AWS was not asked for service-specific credentials.")
    problem = known(cases["service_credentials_problem"], "no reason given")
    failed = np.equal(cases["service_credentials"], "failed")
    verdict.say(failed, Outcome.UNKNOWN, "Service-specific credentials are not known: " + problem + ".")
    return verdict


def _without_keys(verdict: Verdicts, users: Cases) -> Verdicts:
    none = (users["known_keys"] == 0) & pd.isna(users["additional_credentials"])
    verdict.say(none, Outcome.NOT_APPLICABLE, "The user has no access key.")
    verdict.say(users["known_keys"] == UNKNOWN_NUMBER, Outcome.UNKNOWN, _unlisted(users))
    verdict.say(np.equal(users["listing"], "deleted"), Outcome.NOT_APPLICABLE, "The user was deleted after the report.")
    return verdict


def _without_password(verdict: Verdicts, users: Cases) -> Verdicts:
    verdict.say(users["has_password"] == UNKNOWN_NUMBER, Outcome.UNKNOWN, NO_REPORT)
    verdict.say(np.equal(users["listing"], "deleted"), Outcome.NOT_APPLICABLE, "The user was deleted after the report.")
    return verdict


def _unlisted(users: Cases) -> Texts:
    texts: Texts = "The user's keys could not be listed: " + known(users["listing_failed"], "no reason given") + "."
    return texts
