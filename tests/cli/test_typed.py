"""What is typed wrongly is said in one sentence that names it, and nothing is done in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from dr.cli.typed import whole_path
from dr.report.envelope import LISTS
from tests.conftest import Site


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("backup", "--source"), "No such option '--source' (did you mean '--due'?). See `dr backup --help`"),
        (("--config", "backup"), "there is no command: 'backup' was taken for the value of --config"),
        (("--state", "status"), "there is no command: 'status' was taken for the value of --state"),
        (("status", "--state"), "the option --state needs a value after it. See `dr status --help`"),
        (("drill", "share", "--target"), "the option --target needs a value after it. See `dr drill --help`"),
        (("--config", "--json", "status"), "the option --config needs a value, and --json comes after it"),
        (("points", "--trust", "--because", "x", "share"), "--trust needs a value, and --because comes after it"),
        (("report", "-o", "--format", "md"), "if that is its value, write --output=--format. See `dr report --help`"),
        (("hold", "share", "--reason", "-v"), "the option --reason needs a value, and -v comes after it"),
        (("target", "create", "x", "--admin-env", "A", "--yes"), "--admin-env needs a value, and --yes comes after"),
        (("drill", "--target", "share"), "no system was named: 'share' was taken for the value of --target"),
        (("status", "--state", ""), "the value of --state is empty"),
        (("--config=", "status"), "the value of --config is empty"),
    ],
)
def test_an_option_takes_no_option_no_command_and_no_nothing_for_its_value(
    files_site: Site, arguments: tuple[str, ...], said: str
) -> None:
    ran = files_site.dr(*arguments, code=2)
    assert said in ran.err and ran.err.count("\n") == 1, ran.err
    assert not (files_site.root / "catalog.sqlite").exists()


def test_a_recovery_goes_into_no_directory_named_like_an_option(files_site: Site) -> None:
    files_site.dr("backup", "share")
    ran = files_site.dr("recover", "share", "--to", "--dry-run", "--yes", "--json", code=2)
    assert not (files_site.root / "--dry-run").exists()
    (error,) = ran.document["errors"]
    assert error["what"].startswith("the option --to needs a value, and --dry-run comes after it")
    files_site.dr("recover", "share", "--to=--dry-run", "--yes")
    assert (files_site.root / "--dry-run").is_dir(), "said on purpose"


def test_options_stand_anywhere_and_letters_together(files_site: Site) -> None:
    files_site.dr("status", "-qv", "--json")
    files_site.dr("report", "-o", "-", "--format", "md", "-vvvv")
    assert "there is no plan for the system '--target'" in files_site.dr("drill", "--", "--target", code=2).err
    assert files_site.dr("keys", "--json", code=2).document["errors"][0]["what"] == "there is no command"


def test_a_place_is_told_as_a_person_would_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    assert whole_path(Path("../back")) == tmp_path / "back"
    assert whole_path(tmp_path / "link") == tmp_path / "link", "a link is named as it was typed"


@pytest.mark.parametrize(("command", "lists"), LISTS.items())
def test_a_document_has_its_lists_also_where_an_option_was_refused(
    files_site: Site, command: str, lists: tuple[str, ...]
) -> None:
    document = files_site.dr(command, "--nosuch", "--json", code=2).document
    assert [document[name] for name in lists] == [[] for _ in lists] and "--nosuch" in document["errors"][0]["what"]
