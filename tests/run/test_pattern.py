from __future__ import annotations

import pytest

from dr.run.recovery.checks.pattern import below, for_restic


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("photos/*.jpg", b"srv/up/photos/1.jpg", True),
        ("photos/*.jpg", b"srv/up/photos/2026/1.jpg", False),
        ("photos/*.jpg", b"srv/other/photos/1.jpg", False),
        ("photos/**/*.jpg", b"srv/up/photos/1.jpg", True),
        ("photos/**/*.jpg", b"srv/up/photos/2026/nov/1.jpg", True),
        ("**", b"srv/up/any/thing", True),
        ("**", b"srv/upper", False),
        ("/srv/up/photos/?.jpg", b"srv/up/photos/1.jpg", True),
        ("/srv/up/photos/?.jpg", b"srv/up/photos/12.jpg", False),
        ("[ab]*.txt", b"srv/up/b.txt", True),
        ("[!ab]*.txt", b"srv/up/b.txt", False),
        ("[!ab]*.txt", b"srv/up/c.txt", True),
        ("[z-a].txt", b"srv/up/[z-a].txt", True),
        ("a+b.txt", b"srv/up/a+b.txt", True),
        ("a+b.txt", b"srv/up/aab.txt", False),
        ("*", b"srv/up/odd\n\xff", True),
        ("hosts", b"etc/hosts", True),
        ("nohosts", b"etc/hosts", False),
    ],
)
def test_a_pattern_matches_below_the_declared_paths(pattern: str, path: bytes, matches: bool) -> None:
    assert bool(below(["/srv/up/", "/etc/hosts"], pattern).fullmatch(path)) is matches


def test_a_pattern_at_the_root_of_a_source() -> None:
    assert below(["/"], "*.db").fullmatch(b"sis.db")
    assert not below(["/"], "*.db").fullmatch(b"sub/sis.db")


def test_for_restic_takes_the_declared_paths_literally() -> None:
    assert for_restic(["/srv/[a]"], "*.jpg") == [r"/srv/\[a]/*.jpg"]
    assert for_restic(["/srv/up"], "[!a].jpg") == ["/srv/up/[^a].jpg"]
    assert for_restic(["/etc/hosts"], "hosts", alone={b"etc/hosts"}) == ["/etc/hosts"]
    assert for_restic(["/etc/hosts"], "other", alone={b"etc/hosts"}) == []
    assert for_restic(["/srv/up"], "/srv/up/a") == ["/srv/up/a"]
