"""The pages of a recovery kit as PDF: one for each custodian, and one of instructions. Sole user of reportlab."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal
from xml.sax.saxutils import escape

from dr.report.kit_texts import RULES, KitSheet, ShareSheet, sections

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

Paper = Literal["A4", "Letter"]
_MARGIN = 54.0  # three quarters of an inch
_INK, _GREY, _PALE = "#1a1a1a", "#5a5a5a", "#e9edf2"
_QR_SIZE = 200.0
_COLUMNS = 3
_NAMED = 4


def share_page(share: ShareSheet, paper: Paper = "A4") -> bytes:
    """Return one custodian's page: the share in numbered words and as a QR code, and what to do with it."""
    kit = share.kit
    style = _styles()
    title = f"Recovery share {share.number} of {len(kit.custodians)}"
    story = [
        _paragraph("SECRET: FOR THE CUSTODIAN ALONE", style["banner"]),
        _paragraph(title, style["title"]),
        _paragraph(f"Held by: <b>{escape(share.role)}</b>", style["lead"]),
        _facts(share, style),
        _space(8),
        _words(share, paper),
        _space(12),
        _beside(_qr(" ".join(share.words)), _rules(share, style), paper),
        _space(20),
        *_signatures(style, paper),
    ]
    return _document(story, paper, title=f"{kit.kit_id}: {title}", foot=f"{kit.kit_id} · SECRET · one page")


def instructions(kit: KitSheet, paper: Paper = "A4") -> bytes:
    """Return the instructions of the whole kit. It opens nothing."""
    style = _styles()
    story: list[Flowable] = [
        _paragraph(f"Recovery kit {kit.kit_id}", style["title"]),
        _paragraph(f"Made {kit.made:%Y-%m-%d %H:%M} UTC. Opens with any {kit.quorum} shares.", style["lead"]),
    ]
    for section in sections(kit):
        story.append(_paragraph(escape(section.title), style["head"]))
        story += [_paragraph(escape(text), style["text"]) for text in section.text]
        for number, (text, commands) in enumerate(section.steps, 1):
            story.append(_paragraph(f"<b>{number}.</b> {escape(text)}", style["step"]))
            story += [_paragraph(escape(line).replace("  ", "&nbsp; "), style["code"]) for line in commands]
    return _document(
        story,
        paper,
        title=f"Recovery kit {kit.kit_id}",
        foot=f"{kit.kit_id} · opens nothing by itself; keep it from strangers",
    )


# -- parts of the custodian's page ---------------------------------------------------------------------


def _facts(share: ShareSheet, style: dict[str, Any]) -> Flowable:
    kit = share.kit
    return _paragraph(
        f"Recovery kit <b>{kit.kit_id}</b>, made {kit.made:%Y-%m-%d}. "
        f"Any <b>{kit.threshold}</b> of its <b>{len(kit.custodians)}</b> shares together open the organisation's "
        "backups when everything else is lost. This page alone opens nothing. All shares of this kit begin with the "
        f"words <b>{escape(kit.first_words)}</b>.",
        style["text"],
    )


def _words(share: ShareSheet, paper: Paper) -> Flowable:
    """The words in columns, read downwards, numbered."""
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Table, TableStyle

    rows = -(-len(share.words) // _COLUMNS)
    numbered = [(str(number), word) for number, word in enumerate(share.words, 1)]
    cells = [[cell for column in range(_COLUMNS) for cell in _at(numbered, column * rows + row)] for row in range(rows)]
    width = _width(paper) / _COLUMNS
    table = Table(cells, colWidths=[28, width - 28] * _COLUMNS, rowHeights=23)
    numbers = [("TEXTCOLOR", (2 * c, 0), (2 * c, -1), HexColor(_GREY)) for c in range(_COLUMNS)]
    right = [("ALIGN", (2 * c, 0), (2 * c, -1), "RIGHT") for c in range(_COLUMNS)]
    small = [("FONT", (2 * c, 0), (2 * c, -1), "Helvetica", 9) for c in range(_COLUMNS)]
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Courier-Bold", 14.5),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("ROWBACKGROUNDS", (0, 0), (-1, -1), [HexColor(_PALE), None]),
                ("BOX", (0, 0), (-1, -1), 0.8, HexColor(_INK)),
                *numbers, *right, *small,
            ]
        )
    )  # fmt: skip
    return table


def _at(numbered: list[tuple[str, str]], index: int) -> tuple[str, str]:
    return numbered[index] if index < len(numbered) else ("", "")


def _rules(share: ShareSheet, style: dict[str, Any]) -> list[Flowable]:
    about = "The code holds the same words. To use it, scan it into a text file on the machine of the recovery."
    return [
        *(_paragraph(f"{number}. {escape(rule)}", style["rule"]) for number, rule in enumerate(RULES, 1)),
        _paragraph(escape(about), style["rule"]),
        _paragraph(f"The other shares: {escape(_others(share))}.", style["rule"]),
    ]


def _others(share: ShareSheet) -> str:
    roles = [role for number, role in enumerate(share.kit.custodians, 1) if number != share.number]
    if len(roles) > _NAMED:
        return f"{len(roles)} more, named in the kit"
    return ", ".join(roles) or "there is none"


def _signatures(style: dict[str, Any], paper: Paper) -> list[Flowable]:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import Table, TableStyle

    labels = [["received on", "received by (signature)", "handed over by (signature)"]]
    table = Table(labels, colWidths=[_width(paper) / 3] * 3, rowHeights=[34])
    table.setStyle(
        TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), "Helvetica", 8),
                ("TEXTCOLOR", (0, 0), (-1, -1), HexColor(_GREY)),
                ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
                ("BOX", (0, 0), (-1, -1), 0.5, HexColor(_GREY)),
                ("INNERGRID", (0, 0), (-1, -1), 0.5, HexColor(_GREY)),
            ]
        )
    )
    return [table]


def _qr(text: str) -> Flowable:
    """The code, drawn straight onto the page: as a drawing of shapes it costs three times the time."""
    from reportlab.graphics.barcode.qr import QrCode

    return QrCode(text, qrLevel="M", qrBorder=2, width=_QR_SIZE, height=_QR_SIZE)


def _beside(left: Flowable, right: list[Flowable], paper: Paper) -> Flowable:
    from reportlab.platypus import Table, TableStyle

    table = Table([[left, right]], colWidths=[_QR_SIZE + 12, _width(paper) - _QR_SIZE - 12])
    table.setStyle(TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), ("LEFTPADDING", (0, 0), (0, 0), 0)]))
    return table


# -- the document ----------------------------------------------------------------------------------------


def _document(story: list[Any], paper: Paper, *, title: str, foot: str) -> bytes:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import SimpleDocTemplate

    def footer(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(HexColor(_GREY))
        canvas.drawString(_MARGIN, 30, foot)
        canvas.drawRightString(_size(paper)[0] - _MARGIN, 30, f"page {document.page}")
        canvas.restoreState()

    out = io.BytesIO()
    document = SimpleDocTemplate(
        out, pagesize=_size(paper), leftMargin=_MARGIN, rightMargin=_MARGIN, topMargin=48, bottomMargin=48,
        title=title, author="", subject="recovery kit", creator="dr", producer="dr", invariant=1,
    )  # fmt: skip
    document.build(story, onFirstPage=footer, onLaterPages=footer)
    return out.getvalue()


def _size(paper: Paper) -> tuple[float, float]:
    from reportlab.lib import pagesizes

    size: tuple[float, float] = getattr(pagesizes, paper if paper == "A4" else "letter")
    return size


def _width(paper: Paper) -> float:
    return _size(paper)[0] - 2 * _MARGIN - 12


def _paragraph(text: str, style: Any) -> Flowable:
    from reportlab.platypus import Paragraph

    return Paragraph(text, style)


def _space(height: float) -> Flowable:
    from reportlab.platypus import Spacer

    return Spacer(1, height)


def _styles() -> dict[str, Any]:
    from reportlab.lib.styles import ParagraphStyle

    def style(name: str, size: float, **more: Any) -> ParagraphStyle:
        given = {"fontName": "Helvetica", "textColor": _INK, "leading": size * 1.35, "spaceAfter": 4, **more}
        return ParagraphStyle(name, fontSize=size, **given)

    return {
        "banner": style("banner", 10, fontName="Helvetica-Bold", textColor="#9b1c1c", spaceAfter=8),
        "title": style("title", 22, fontName="Helvetica-Bold", spaceAfter=6),
        "lead": style("lead", 14, spaceAfter=8),
        "head": style("head", 12.5, fontName="Helvetica-Bold", spaceBefore=10, keepWithNext=1),
        "text": style("text", 10.5),
        "rule": style("rule", 10.5, spaceAfter=6),
        "step": style("step", 10.5, leftIndent=14, firstLineIndent=-14),
        "code": style("code", 9, fontName="Courier", leftIndent=24, backColor=_PALE, borderPadding=2, spaceAfter=6),
    }
