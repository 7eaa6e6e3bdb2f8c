"""The bytes of an IAM credential report → records. Pure: gathering, replay and tests read with the same eyes.

The columns and the words `N/A`, `no_information` and `not_supported` are those of the IAM User Guide, "Generate
credential reports for your AWS account". Where real reports differ from the guide, both are read:

- 22 columns or 23 (`additional_credentials_info`), in any order, and columns that are not known yet;
- `true` or `TRUE`; times that end in `Z`, or in `+00:00` as until 2024;
- an inactive key keeps its date, though the guide says `N/A`: a key is there if it is active or has any date;
- a comma in a user name, quoted or not; a byte order mark; CRLF; no newline at the end.

Nothing is guessed: what is none of these is a `ReportFormatError` that names origin, line and column. Every column
that is known is read, needed or not, so that a row that was cut off or shifted does not pass for a whole one.
"""

from auditor.credential_report.layout import ADDITIONAL_COLUMN, REQUIRED_COLUMNS
from auditor.credential_report.plain import read_plain
from auditor.credential_report.refusal import WrongAccountError
from auditor.credential_report.rows import read_rows
from auditor.model import CredentialReport

__all__ = ["ADDITIONAL_COLUMN", "REQUIRED_COLUMNS", "WrongAccountError", "parse_credential_report"]


def parse_credential_report(content: bytes, *, origin: str, expected_account: str | None = None) -> CredentialReport:
    """Read the bytes of a credential report, as GetCredentialReport gives them or as they were saved.

    Times come out in UTC and whole seconds: AWS writes no fractions, a stand-in that does would break the match with
    a key's CreateDate, and cutting them off never makes a key younger. Whether a key was used is told by the date
    alone, since a used key may well have no Region. A password with `no_information` was never used as far as AWS
    can tell (since October 2014). A report without the root row is read; `root` is None then.

    Args:
        content: the report's bytes.
        origin: what the errors call the report, such as a path or "account 111122223333".
        expected_account: the twelve digits of the account that was asked, where known.

    Raises:
        ReportFormatError: the report cannot be read without guessing; names origin, line and column.
        WrongAccountError: its ARNs name another account than `expected_account`.
    """
    report = read_plain(content)
    if report is not None and expected_account in (None, report.account_id):
        return report
    return read_rows(content, origin, expected_account)
