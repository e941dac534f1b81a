"""The restic of most tests is restic, but for what a new key costs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.quick_restic import LIMITS, LOW, make_quick


class Repo:
    """A repository, and any restic on it."""

    def __init__(self, place: Path) -> None:
        self.place, self.path = place, place / "repo"

    def run(self, program: str, *arguments: str, password: str = "right") -> subprocess.CompletedProcess[str]:
        env = {
            "RESTIC_PASSWORD": password,
            "RESTIC_REPOSITORY": str(self.path),
            "RESTIC_CACHE_DIR": str(self.place / "c"),
        }
        return subprocess.run([program, *arguments], env=env, capture_output=True, text=True, check=False)

    @property
    def costs(self) -> list[int]:
        """What each of its keys costs, in the product of scrypt's parameters."""
        keys = [json.loads(path.read_text()) for path in (self.path / "keys").iterdir()]
        assert {key["kdf"] for key in keys} == {"scrypt"}
        return sorted(key["N"] * key["r"] * key["p"] for key in keys)


@pytest.fixture
def repo(tmp_path: Path, quick_restic: str, plain_restic: str) -> Repo:
    """One that the quick restic made."""
    if quick_restic == plain_restic:
        pytest.skip("this restic has its limits elsewhere: see tests/quick_restic.py")
    made = Repo(tmp_path)
    assert made.run(quick_restic, "init").returncode == 0
    return made


def test_only_the_two_limits_differ(repo: Repo, quick_restic: str, plain_restic: str) -> None:
    quick, plain = Path(quick_restic).read_bytes(), Path(plain_restic).read_bytes()
    assert len(quick) == len(plain) and quick != plain
    at = plain.index(LIMITS)
    assert quick[:at] == plain[:at] and quick[at + len(LOW) :] == plain[at + len(LIMITS) :]
    assert repo.run(quick_restic, "version").stdout == repo.run(plain_restic, "version").stdout


def test_the_plain_restic_opens_what_the_quick_one_made_and_the_other_way_round(
    repo: Repo, quick_restic: str, plain_restic: str
) -> None:
    (repo.place / "file").write_text("kept")
    for program in (quick_restic, plain_restic):
        assert repo.run(program, "backup", str(repo.place / "file")).returncode == 0
        assert repo.run(program, "check", "--read-data").returncode == 0
        assert repo.run(program, "dump", "latest", str(repo.place / "file")).stdout == "kept"


def test_a_wrong_passphrase_is_refused_alike(repo: Repo, quick_restic: str, plain_restic: str) -> None:
    refused = [repo.run(program, "snapshots", password="wrong") for program in (quick_restic, plain_restic)]
    assert [done.returncode for done in refused] == [12, 12] and refused[0].stderr == refused[1].stderr


def test_only_the_quick_one_makes_cheap_keys(repo: Repo, quick_restic: str, plain_restic: str) -> None:
    new = repo.place / "new"
    new.write_text("another")
    assert repo.run(plain_restic, "key", "add", "--new-password-file", str(new)).returncode == 0
    cheap, dear = repo.costs
    assert cheap < dear


def test_a_program_without_the_limits_or_with_two_such_places_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other"
    for content in (b"arm64", LIMITS * 2):
        other.write_bytes(content)
        assert make_quick(other, tmp_path) is None
