"""[evidence]: where bundles are kept, who signs them, and for how long they are to be kept."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from auditor.config.forms import ENDPOINT, FOLDER
from auditor.config.section import UNSET, OptionalLine, Section


class EvidenceConfig(Section):
    """Bundles that external auditors verify."""

    folder: Annotated[str, FOLDER] = "evidence"
    """The folder that bundles are written to; each names the one before it there."""
    sign_with: OptionalLine = None
    """A private key's file, or "kms:" and a key of AWS KMS; not set, bundles are signed by --sign alone."""
    timestamp_url: Annotated[Annotated[str, ENDPOINT] | None, UNSET] = None
    """A time stamp authority (RFC 3161) that is asked about every signature; not set, by --timestamp alone."""
    retention_days: int = Field(default=400, ge=1, le=36_500)
    """Days after the run for which a bundle is to be kept, and locked in S3."""

    @property
    def retention(self) -> timedelta:
        """The same as a duration."""
        return timedelta(days=self.retention_days)
