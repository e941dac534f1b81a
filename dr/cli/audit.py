"""The command audit: the chain of evidence, read and verified."""

from __future__ import annotations

import click

from dr.cli.context import Context, pass_context
from dr.errors import FAILED, OK


@click.command("audit")
@pass_context
def audit_command(context: Context) -> None:
    """Verify the chain of evidence: name the first record that was edited, removed or reordered."""
    from dr.report.documents import audit_document

    context.session.reading = True
    result = context.session.catalog.audit()
    bad = result.first_bad
    context.put(**audit_document(result))
    context.say(f"{result.records} records, head {result.head}: {result.outcome}")
    if result.missing:
        from dr.operations.gather_evidence import missing_in_words

        context.warn(missing_in_words(result.missing), "the chain of evidence")
    if bad:
        context.complain(
            f"record {bad[0]} was {bad[1]}",
            "the chain of evidence",
            "`dr points rebuild` puts the whole one back, where a target holds it under _evidence, and keeps this one",
        )
    context.ended(FAILED if bad else OK)
