"""Completion as a shell does it: what is typed, the Tab key, and the word that comes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Site
from tests.waiting import LIMIT

PROGRAM = Path(sys.executable).with_name("dr")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("completion")
    subprocess.run([sys.executable, ROOT / "scripts" / "completion.py", "-o", place], check=True)
    return place


@pytest.fixture
def declared(files_site: Site) -> Site:
    files_site.plan("broken", "system: [typo\n")
    return files_site


def answers(site: Site, *words: str, shell: str = "bash") -> list[str]:
    """Ask the program as a shell's script does; return the lines of its answer."""
    at = words[-1] if shell == "fish" else str(len(words))  # fish says the word itself
    typed = {"COMP_WORDS": " ".join(("dr", *words)), "COMP_CWORD": at, "_DR_COMPLETE": f"{shell}_complete"}
    ran = site.dr(**typed, DR_CONFIG=str(site.root / "config"))
    assert ran.err == ""
    return [line for line in ran.out.splitlines() if line]


def test_tab_completes_in_bash(scripts: Path, declared: Site) -> None:
    """A real bash on a terminal, each key as a person presses it."""
    load = f". {scripts / 'dr.bash'}"
    lines = "dr dri\t", "dr dri\tsh\t--tar\tva\t"
    assert tabbed(declared, "bash", load, *lines) == ["dr drill", "dr drill share --target vault"]


def test_without_its_script_bash_completes_nothing(declared: Site) -> None:
    assert tabbed(declared, "bash", "true", "dr dri\t") == ["dr dri"]


def test_tab_completes_in_zsh_the_second_time_too(scripts: Path, declared: Site) -> None:
    load = f"fpath=({scripts} $fpath); autoload -Uz compinit; compinit -u -D"
    lines = "dr dri\t", "dr target che\t", "dr drill --scen\t", "dr drill sh\t"
    wanted = ["dr drill", "dr target check", "dr drill --scenario", "dr drill share"]
    assert tabbed(declared, "zsh", load, *lines) == wanted


#: Started without anybody's settings.
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}


def tabbed(site: Site, shell: str, load: str, *lines: str) -> list[str]:
    """Type lines into a shell of its own, and return what each holds then, told by the shell itself."""
    ours, theirs = pty.openpty()
    env = {
        **site.env, "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "DR_CONFIG": str(site.root / "config"),
        "INPUTRC": "/dev/null", "TERM": "dumb",
    }  # fmt: skip
    running = subprocess.Popen(
        SHELLS[shell], env=env, cwd=site.root, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    begin, end = "\x01", "\x05"  # what moves to the begin and the end of the line
    typed = f"{load}\nholds () {{ printf 'it %s<%s>\\n' holds \"$*\"; }}\n"
    typed += "".join(f"{line}{begin}holds {end}\n" for line in lines) + "exit\n"
    os.write(ours, typed.encode())
    shown = ""
    while True:
        try:
            shown += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # the other end is closed: it has ended
            break
    os.close(ours)
    running.wait(timeout=LIMIT)
    assert "it holds<" in shown, shown
    return re.findall(r"it holds<([^>]*)>", shown)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("dri",), ["plain,drill"]),
        (("re",), ["plain,report", "plain,replicate", "plain,repair", "plain,recover"]),
        (("keys", "d"), ["plain,destroy"]),
        (("drill", "sh"), ["plain,share"]),
        (("recover", "s"), ["plain,share"]),
        (("target", "check", "d"), ["plain,disk"]),
        (("schema", ""), ["plain,plan", "plain,target", "plain,kit", "plain,site"]),
        (("drill", "--scenario", "ran"), ["plain,ransomware"]),
        (("drill", "--target", "v"), ["plain,vault"]),
        (("drill", "share", "--js"), ["plain,--json"]),
        (("drill", "--json", "share", "--ver"), ["plain,--verbose", "plain,--version"]),
        (("drill", "--config", ""), ["file,"]),
        (("drill", "--config", "/nonexistent", "s"), []),
        (("nonsense", "x"), []),
    ],
    ids=" ".join,
)
def test_names_options_and_values_are_completed(declared: Site, words: tuple[str, ...], wanted: list[str]) -> None:
    assert sorted(answers(declared, *words)) == sorted(wanted)


def test_what_stands_before_the_command_says_where_to_look(declared: Site, tmp_path: Path) -> None:
    other = tmp_path / "other" / "plans"
    other.mkdir(parents=True)
    (other / "library.yaml").write_text("system: library\n")
    for words in (("--config", str(other.parent), "drill", ""), ("drill", "--config", str(other.parent), "")):
        assert answers(declared, *words) == ["plain,library"]


def test_zsh_and_fish_are_answered_in_their_own_form(declared: Site) -> None:
    assert answers(declared, "dri", shell="zsh")[:2] == ["plain", "drill"]
    assert answers(declared, "dri", shell="fish")[0].startswith("plain,drill\tRehearse")


def test_each_shells_script_calls_the_program(scripts: Path, site: Site) -> None:
    names = {"dr.bash": "bash_complete", "_dr": "zsh_complete", "dr.fish": "fish_complete"}
    assert {path.name for path in scripts.iterdir()} == set(names)
    for name, instruction in names.items():
        assert f"_DR_COMPLETE={instruction}" in (scripts / name).read_text()
        made = site.dr(_DR_COMPLETE=instruction.replace("complete", "source"))
        assert made.out.strip() == (scripts / name).read_text().strip(), "also where nothing but the program is"
    assert (scripts / "_dr").read_text().startswith("#compdef dr\n"), "zsh finds it by its first line"
