"""The page in a real browser: it prints, and fits a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dr.report import html
from tests.report.district import whole_district
from tests.waiting import LIMIT

pytestmark = [pytest.mark.browser, pytest.mark.slow]
WIDTHS = """<script>addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument.documentElement
  document.title = "wide " + page.scrollWidth
})</script>"""


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.skip("chromium is not here")
    return found


def browse(chromium: str, home: Path, *arguments: str) -> str:
    argv = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home}/profile", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=LIMIT, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def paper(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole report as printed."""
    home = tmp_path_factory.mktemp("paper")
    (home / "report.html").write_text(html.render(whole_district()), "utf-8")
    argument = f"--print-to-pdf={home}/report.pdf"
    browse(chromium, home, "--no-pdf-header-footer", argument, (home / "report.html").as_uri())
    return home / "report.pdf"


def sheets(paper: Path) -> list[tuple[float, float]]:
    found = re.findall(rb"/MediaBox\s*\[\s*0\s+0\s+([\d.]+)\s+([\d.]+)", paper.read_bytes())
    return [(float(width), float(height)) for width, height in found]


def test_it_prints_on_a4(paper: Path) -> None:
    assert len(sheets(paper)) > 3
    assert all(abs(width - 595) < 2 and abs(height - 842) < 2 for width, height in sheets(paper))


def test_all_of_it_is_on_paper_and_its_pages_are_numbered(paper: Path) -> None:
    if not shutil.which("pdftotext"):
        pytest.skip("pdftotext (poppler-utils) is not here")
    said = subprocess.run(["pdftotext", "-layout", paper, "-"], capture_output=True, text=True, check=True).stdout
    for part in ("What this does not show", "Timeline", "sandbox destroyed", "Signature"):
        assert part in said
    pages = len(sheets(paper))
    assert re.search(rf"\b{pages} / {pages}\b", said)


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_sticks_out_on_a_phone(chromium: str, tmp_path: Path, width: int) -> None:
    (tmp_path / "report.html").write_text(html.render(whole_district()), "utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(f'<iframe src="report.html" width="{width}" height="800" style="border:0"></iframe>{WIDTHS}')
    seen = browse(
        chromium, tmp_path, "--allow-file-access-from-files", "--virtual-time-budget=2000", "--dump-dom", frame.as_uri()
    )
    found = re.search(r"<title>wide (\d+)</title>", seen)
    assert found and int(found[1]) <= width, seen[-300:]
