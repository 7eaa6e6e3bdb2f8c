"""`auditor remediate`: rotate, switch off and delete keys, when somebody planned it and others approved."""

import typer

from auditor.cli.remediate import applying, by_hand, plans, status

app = typer.Typer(
    no_args_is_help=True,
    help="Rotate, switch off and delete keys, when somebody planned it and others approved. Nothing else changes AWS, "
    "but for `auditor key`.",
)
app.command("plan")(plans.plan_)
app.command("show")(plans.show)
app.command("approve")(plans.approve)
app.command("apply")(applying.apply)
app.command("tick")(applying.tick)
app.command("status")(status.status)
app.command("orphans")(by_hand.orphans)
app.command("hold")(by_hand.hold)
app.command("release")(by_hand.release)
app.command("close")(by_hand.close)
app.command("confirm")(by_hand.confirm)
app.command("rollback")(by_hand.rollback)
