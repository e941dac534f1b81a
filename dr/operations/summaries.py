"""The messages that are sent by a cadence, whatever happened: the digest and the report."""

from __future__ import annotations

from collections.abc import Sequence

from dr.evidence.notice import Notice
from dr.notify.message import Message
from dr.plan.declarations import Loaded
from dr.queries.status import BoardRow
from dr.session import Session


def digest_of(session: Session, rows: Sequence[BoardRow], notices: Sequence[Notice], id: str) -> Message:
    """Return the digest: the board, and what is wrong."""
    from dr.report.digest import digest

    organisation = session.declarations.site.organisation
    text, subject = digest([entry.row for entry in rows], notices, now=session.clock())
    return Message(id=id, subject=headed(organisation, subject), text=text, organisation=organisation)


def report_of(session: Session, items: Sequence[Loaded], id: str) -> Message:
    """Return a message that the report on all systems is attached to."""
    from dr.queries.report import report
    from dr.report.html import render

    organisation = session.declarations.site.organisation
    page = render(report(session, items))
    text = "The report on all systems is attached: one file, readable offline and on paper.\n"
    subject = headed(organisation, f"the report of {session.clock():%Y-%m-%d}")
    return Message(id=id, subject=subject, text=text, organisation=organisation, page=page)


def headed(organisation: str, subject: str) -> str:
    """Return a subject that says whose message it is."""
    return f"[dr] {organisation}: {subject}" if organisation else f"[dr] {subject}"
