"""A message: the notices that a channel is sent at once, in words and as a document. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from dr.evidence.notice import Notice
from dr.evidence.seal import encode
from dr.late_dataclass import dataclass
from dr.plan.units import first_few

_MOST = 3  # systems that a subject names


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a channel is sent. `id` stays the same when it is sent again; `page` is an HTML file to go with it."""

    id: str
    subject: str
    text: str
    organisation: str = ""
    notices: tuple[Notice, ...] = ()
    page: str = field(default="", repr=False)

    @property
    def document(self) -> dict[str, Any]:
        """The same for a program."""
        found = []
        for notice in self.notices:
            body: Mapping[str, Any] = encode(notice)
            more = {"state": "well" if notice.well else "wrong", "sentence": notice.sentence}
            found.append({key: value for key, value in body.items() if key != "well"} | more)
        head = {"schema": 1, "id": self.id, "organisation": self.organisation}
        return {**head, "subject": self.subject, "text": self.text, "notices": found}


def compose(notices: Sequence[Notice], *, id: str, organisation: str = "") -> Message:
    """Return the message of some notices: the gravest first, what is well again last."""
    ordered = sorted(notices, key=lambda x: (x.well, x.severity != "critical", x.system, x.problem, x.subject))
    text = "\n".join(notice.sentence for notice in ordered) + "\n"
    head = f"[dr] {organisation}: " if organisation else "[dr] "
    subject = head + _subject(ordered)
    return Message(id=id, subject=subject, text=text, organisation=organisation, notices=tuple(ordered))


def _subject(notices: Sequence[Notice]) -> str:
    wrong, well = [x for x in notices if not x.well], [x for x in notices if x.well]
    if len(notices) == 1:
        only = notices[0]
        about = f"{only.system}: " if only.system else ""
        return f"{about}well again: {only.text}" if only.well else f"{about}{only.text}"
    parts = [f"{len(wrong)} problem{'' if len(wrong) == 1 else 's'}"] if wrong else []
    parts += [f"{len(well)} well again"] if well else []
    return f"{', '.join(parts)}: {_names(notices)}"


def _names(notices: Sequence[Notice]) -> str:
    return first_few(list(dict.fromkeys(notice.system or "this site" for notice in notices)), _MOST)
