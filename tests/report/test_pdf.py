"""The pages of a kit: what a custodian holds in the hand opens what it should, and says no more than it should."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dr.report.kit_texts import KitSheet, ShareSheet, readme, share_text
from dr.report.pdf import instructions, share_page
from dr.tools import age, shares
from tests.printed import OURS

ROLES = ("Superintendent", "Business manager", "Director of technology")


def sheet(parts: Sequence[shares.Share], roles: Sequence[str] = ROLES) -> KitSheet:
    return KitSheet(
        kit_id="kit-20261124-ab12cd",
        made=datetime(2026, 11, 24, 12, tzinfo=UTC),
        threshold=2,
        custodians=roles,
        first_words=shares.first_words(parts),
        systems=[("sis", "Student information system", ["offsite", "vault"])],
        recipient="age1x",
        dr_version="1.0",
        restic_version="0.18.0",
    )


def text_of(path: Path) -> str:
    return subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout


def pages_of(path: Path) -> int:
    told = subprocess.run(["pdfinfo", path], capture_output=True, text=True, check=True).stdout
    return int(next(line.split()[1] for line in told.splitlines() if line.startswith("Pages")))


@pytest.fixture(scope="module")
def parts() -> list[shares.Share]:
    return [shares.parse(text) for text in OURS]


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_code_on_a_printed_page_gives_the_share_back(tmp_path: Path, parts: list[shares.Share], paper: Any) -> None:
    path = tmp_path / "share.pdf"
    path.write_bytes(share_page(ShareSheet(kit=sheet(parts), number=2, words=parts[1].words), paper))
    subprocess.run(["pdftoppm", "-r", "120", "-png", "-singlefile", path, tmp_path / "page"], check=True)
    read = subprocess.run(["zbarimg", "-q", "--raw", tmp_path / "page.png"], capture_output=True, text=True, check=True)
    assert shares.parse(read.stdout) == parts[1], "scanned"
    text = text_of(path)
    numbers = {int(n): word for n, word in _numbered(text)}
    assert [numbers[n] for n in range(1, 34)] == list(parts[1].words), "typed from the numbered words"
    for words in ("Recovery share 2 of 3", "Business manager", "kit-20261124-ab12cd", "2026-11-24", "SECRET"):
        assert words in text
    assert pages_of(path) == 1


def _numbered(text: str) -> list[tuple[str, str]]:
    import re

    return [
        (n, w)
        for line in text.splitlines()
        if re.match(r"\s+\d+ +[a-z]+ +\d", line)
        for n, w in re.findall(r"(\d+) +([a-z]+)", line)
    ]


def test_sixteen_custodians_with_long_roles_still_have_one_page_each(tmp_path: Path) -> None:
    parts = shares.split(age.new_identity()[0], threshold=3, count=16)
    roles = [f"Deputy director of information technology, building {number}" for number in range(1, 17)]
    path = tmp_path / "share.pdf"
    path.write_bytes(share_page(ShareSheet(kit=sheet(parts, roles), number=16, words=parts[15].words), "Letter"))
    assert pages_of(path) == 1


def test_markup_in_a_role_is_text(tmp_path: Path, parts: list[shares.Share]) -> None:
    kit = sheet(parts, ["<b>Head</b> & co", "Two", "Three"])
    path = tmp_path / "share.pdf"
    path.write_bytes(share_page(ShareSheet(kit=kit, number=1, words=parts[0].words)))
    assert "<b>Head</b> & co" in text_of(path)


def test_the_instructions_hold_no_share(tmp_path: Path, parts: list[shares.Share]) -> None:
    kit = sheet(parts)
    path = tmp_path / "kit.pdf"
    path.write_bytes(instructions(kit))
    for text in (text_of(path), readme(kit)):
        assert "On the worst day".lower() in text.lower() and "dr kit open" in text and "Superintendent" in text
        assert not any(" ".join(part.words[5:8]) in text for part in parts)
    assert f"{parts[0].words[10]}" in share_text(ShareSheet(kit=kit, number=1, words=parts[0].words)), (
        "it is in its own"
    )
