"""The changelog is written for administrators, one file a change; what has not the form is found."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dr
from tests.waiting import LIMIT

ROOT = Path(__file__).parents[1]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
KINDS = {kind["directory"]: kind["name"] for kind in SETTINGS["type"]}
NAME = re.compile(rf"[a-z0-9]+(-[a-z0-9]+)*\.({'|'.join(KINDS)})\.md")


def misshapen(folder: Path) -> list[str]:
    """Return what is wrong with the files of a directory of changes."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name in SETTINGS["ignore"]:
            continue
        lines = path.read_text("utf-8").splitlines()
        text = " ".join(lines)
        faults = {
            "is not named WHAT.KIND.md": not NAME.fullmatch(path.name),
            "has not one to three lines": not 1 <= len(lines) <= 3 or not all(line.strip() for line in lines),
            "has a line of more than 120 characters": any(len(line) > 120 for line in lines),
            "does not begin and end as a sentence": not re.fullmatch(r"[A-Z`].*[.`)]", text),
            "has a list mark, a heading or a number of an issue": bool(re.search(r"^[-*#]|^\s|#\d", text)),
        }
        found += [f"{path.name} {what}" for what, wrong in faults.items() if wrong]
    return found


def test_every_change_has_its_form() -> None:
    assert misshapen(ROOT / SETTINGS["directory"]) == []


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("thing.md", "A thing.\n", "is not named WHAT.KIND.md"),
        ("thing.added.md", "A thing.\n", "is not named WHAT.KIND.md"),
        ("thing.new.md", "", "has not one to three lines"),
        ("thing.new.md", "One.\nTwo.\nThree.\nFour.\n", "has not one to three lines"),
        ("thing.new.md", f"A {'long ' * 30}line.\n", "has a line of more than 120 characters"),
        ("thing.new.md", "a thing\n", "does not begin and end as a sentence"),
        ("thing.new.md", "- A thing.\n", "has a list mark, a heading or a number of an issue"),
        ("thing.new.md", "A thing (#12).\n", "has a list mark, a heading or a number of an issue"),
    ],
)
def test_a_change_without_the_form_is_found(tmp_path: Path, name: str, text: str, what: str) -> None:
    (tmp_path / name).write_text(text)
    assert f"{name} {what}" in misshapen(tmp_path)


def test_the_changes_are_gathered_under_their_headings_above_the_last_release(tmp_path: Path) -> None:
    for kept in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / kept, tmp_path)
    (tmp_path / "changelog.d").mkdir()
    shutil.copy(ROOT / "changelog.d" / "template.md", tmp_path / "changelog.d")
    (tmp_path / "changelog.d" / "first-thing.new.md").write_text("`dr x` does\nthe first thing.\n")
    (tmp_path / "changelog.d" / "other.fixed.md").write_text("Another thing went wrong.\n")
    assert misshapen(tmp_path / "changelog.d") == []
    program = Path(sys.executable).with_name("towncrier")
    build = [program, "build", "--yes", "--version", "9.9.0", "--date", "2030-01-01"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "CHANGELOG.md").read_text("utf-8")
    before, _, after = text.partition("\n## 9.9.0 (2030-01-01)\n")
    assert "\n## " not in before
    wanted = "\n### What you can do now\n\n- `dr x` does\n  the first thing.\n\n### What was wrong\n\n- Another thing went wrong.\n"
    assert after.startswith(wanted)
    assert "\n## " in after, "the releases before are still there"


def test_the_newest_release_in_the_changelog_is_this_one() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    releases = re.findall(r"^## (\d+\.\d+\.\d+) \(\d{4}-\d\d-\d\d\)$", text, re.MULTILINE)
    assert releases[0] == dr.__version__
    assert "towncrier release notes start" in text.partition("\n## ")[0]
