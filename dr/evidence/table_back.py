"""What a recovery of single tables came to, as evidence."""

from __future__ import annotations

from dr.late_dataclass import dataclass


@dataclass(frozen=True, kw_only=True)
class TableBack:
    """One table that a person asked for and has: from which source, and by which whole name.

    `rows` were counted at the restored table, `rows_at_capture` when it was captured (None where nobody did); only
    those of a condition where `filtered`, which is itself no evidence. As files, with the digests of both; or loaded
    `beside` the live one, under that name. `left_out`: what of it did not come along, in words.
    """

    source: str
    table: str
    rows: int
    rows_at_capture: int | None = None
    filtered: bool = False
    beside: str = ""
    sql_sha256: str = ""
    csv_sha256: str = ""
    left_out: tuple[str, ...] = ()
