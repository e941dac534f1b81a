"""`dr doctor`."""

from __future__ import annotations

import click

from dr.cli.context import Context, pass_context
from dr.errors import code_of


@click.command("doctor")
@pass_context
def doctor_command(context: Context) -> None:
    """Say what is missing here, and how to get it: tools, state, plans, secrets, targets."""
    from dr.queries.doctor.doctor import examine
    from dr.report.documents import examined_document, finding_row

    context.session.reading = True
    findings = examine(context.session)
    context.put(findings=[examined_document(finding) for finding in findings])
    context.plain_rows([finding_row(finding) for finding in findings])
    for finding in findings:
        if finding.outcome == "failed":
            context.complain(finding.observed, finding.what, finding.hint)
        elif finding.outcome == "degraded":
            context.warn(finding.observed, finding.what, finding.hint)
        context.ended(code_of(finding.outcome))
