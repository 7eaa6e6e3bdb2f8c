"""An embedded AWS organisation: moto on loopback, made faithful to AWS, with years of believable neglect.

`seed` says what is in an organisation and `company` makes a believable one; `plant` puts it into moto's backends;
`organisation` serves it over HTTP through `faithful`, which answers as AWS does where moto does not. Importing this
room loads moto and boto3.
"""

from auditor.demo.company import demo_organisation
from auditor.demo.faithful import Call, DelayFault, DropFault, ErrorFault, FaithfulAws, Fault, LostFault, RawFault
from auditor.demo.organisation import EmbeddedOrganisation
from auditor.demo.policy import FRAMEWORKS, demo_policy
from auditor.demo.seed import (
    AccountSeed,
    CertificateSeed,
    KeySeed,
    OrganisationSeed,
    PasswordSeed,
    ReportSeed,
    RoleSeed,
    RootSeed,
    ServiceCredentialSeed,
    UserSeed,
)

__all__ = [
    "FRAMEWORKS",
    "AccountSeed",
    "Call",
    "CertificateSeed",
    "DelayFault",
    "DropFault",
    "EmbeddedOrganisation",
    "ErrorFault",
    "FaithfulAws",
    "Fault",
    "KeySeed",
    "LostFault",
    "OrganisationSeed",
    "PasswordSeed",
    "RawFault",
    "ReportSeed",
    "RoleSeed",
    "RootSeed",
    "ServiceCredentialSeed",
    "UserSeed",
    "demo_organisation",
    "demo_policy",
]
