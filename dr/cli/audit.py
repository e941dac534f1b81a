"""The command audit: the chain of evidence, read and verified."""

from __future__ import annotations

import click

from dr.cli.choose import declared_or_usable
from dr.cli.context import Context, pass_context
from dr.errors import FAILED, OK, worst


@click.command("audit")
@click.option("--targets", is_flag=True, help="Hold it against the records beside each repository, too.")
@pass_context
def audit_command(context: Context, targets: bool) -> None:
    """Verify the chain of evidence: name the first record that was edited, removed or reordered.

    A catalog that was written again as a whole is a whole chain. With --targets each record that was sent beside the
    repositories is read there: those of a target that nobody can change say what was on record before.
    """
    from dr.report.documents import audit_document

    context.session.reading = True
    result = context.session.catalog.audit()
    context.put(**audit_document(result))
    context.say(f"{result.records} records, head {result.head}: {result.outcome}")
    if result.missing:
        from dr.operations.gather_evidence import missing_in_words

        context.warn(missing_in_words(result.missing), "the chain of evidence")
    if result.fault:
        context.complain(
            result.fault,
            "the chain of evidence",
            "`dr points rebuild` puts the whole one back, where a target holds it under _evidence, and keeps this one",
        )
    context.ended(worst([FAILED if result.fault else OK, *(_hear(context) if targets else ())]))


def _hear(context: Context) -> list[int]:
    """Tell what each target keeps of the records; return what that deserves."""
    from dr.queries.witnesses import witnesses
    from dr.report.witnesses import differences, witness_document, witness_in_words

    told, codes = [], []
    for witness in witnesses(context.session, declared_or_usable(context, ())):
        told.append(witness_document(witness))
        codes.append(witness.exit_code)
        if error := witness.error:
            context.complain(error.sentence, witness.where, error.hint)
            continue
        context.say(witness_in_words(witness))
        for what, hint in differences(witness):
            context.complain(what, witness.where, hint)
    context.put(witnesses=told)
    return codes
