"""`dr doctor`."""

from __future__ import annotations

import click

from dr.cli.context import Context, pass_context
from dr.errors import DEGRADED, FAILED, OK


@click.command("doctor")
@pass_context
def doctor_command(context: Context) -> None:
    """Say what is missing here, and how to get it: tools, state, plans, secrets, targets."""
    from dr.queries.doctor.doctor import examine

    context.session.reading = True
    findings = examine(context.session)
    context.put(
        findings=[{"what": f.what, "outcome": f.outcome, "observed": f.observed, "hint": f.hint} for f in findings]
    )
    context.plain_rows([{"outcome": f.outcome, "what": f.what, "observed": f.observed} for f in findings])
    for finding in findings:
        if finding.outcome == "failed":
            context.complain(finding.observed, finding.what, finding.hint)
        elif finding.outcome == "degraded":
            context.warn(finding.observed, finding.what, finding.hint)
        context.ended({"ok": OK, "degraded": DEGRADED}.get(finding.outcome, FAILED))
