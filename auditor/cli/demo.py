"""`auditor demo`: the main job on an embedded organisation."""

from auditor.cli.audit import run_audit
from auditor.cli.options import (
    AsOf,
    Formats,
    Frameworks,
    Json,
    Output,
    Quiet,
    Verbose,
    now,
    parse_instant,
    split_formats,
)
from auditor.cli.output import set_up_logging
from auditor.errors import UsageError


def demo(
    as_of: AsOf = None,
    framework: Frameworks = None,
    formats: Formats = None,
    output: Output = None,
    json: Json = False,
    verbose: Verbose = 0,
    quiet: Quiet = False,
) -> None:
    """Run the whole job on an embedded AWS organisation: no AWS account, no credentials, no network.

    A simulated AWS on this machine's loopback, with eight or so accounts and years of neglect, is audited over real
    HTTP. Exits with 0 when the demonstration itself worked, and says which code `auditor audit` would have given.
    """
    set_up_logging(verbose)
    instant = parse_instant(as_of) or now()
    chosen = split_formats(formats)
    try:
        from auditor.demo import FRAMEWORKS, EmbeddedOrganisation, demo_organisation, demo_policy
    except ImportError as error:
        step = "Install it with its extra: pip install 'auditor[demo]'."
        raise UsageError(f"The demonstration needs the simulator ({error.name}).", next_step=step) from error
    from auditor.aws.clients import Connection, StaticCredentials
    from auditor.aws.timing import Timing
    from auditor.config import load_config
    from auditor.pipeline import AuditRequest

    with EmbeddedOrganisation(demo_organisation(instant), as_of=instant) as cloud:
        config = load_config(
            None,
            {
                **demo_policy(instant),
                "frameworks": {"use": framework or FRAMEWORKS},
                "accounts": {
                    "source": "organisation",
                    "role_name": cloud.role_name,
                    "external_id": cloud.external_id,
                },
                "gather": {"account_calls_in_flight": 16, "account_calls_per_second": 1000},  # nobody else calls it
                "output": {
                    "folder": str(output) if output else None,
                    "formats": chosen,
                    "organisation": "Example Company (demonstration)",
                },
            },
        )
        credentials = StaticCredentials(cloud.access_key_id, cloud.secret_access_key)
        connection = Connection(endpoint_url=cloud.endpoint_url, isolated=credentials)
        timing = Timing(now=lambda: instant)  # the organisation's clock stands at that instant
        # Without its origin: a demonstration is the same wherever it is made.
        request = AuditRequest(config, connection, instant, timing=timing)
        run_audit(request, json=json, quiet=quiet, demonstration=True)
