"""What a killed process leaves: the next run finds it, puts it right, says it once, and has it in its record."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import Site, plan_text
from tests.waiting import soon

SLOW = "slow: {{command: {{run: [sh, -c, 'echo x; touch {root}/begun; sleep 600'], filename: x}}}}"


@pytest.fixture
def slow(files_site: Site) -> Site:
    """A site whose system has a point, and a source then that does not come to its end."""
    files_site.dr("backup", "share")
    files_site.plan("share", plan_text("share", SLOW.format(root=files_site.root)))
    return files_site


def well(site: Site) -> None:
    """Give the system back a source that ends."""
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}"))


def locked(place: Path) -> set[Path]:
    """The locks that are there whole."""
    return {path for path in place.iterdir() if "-tmp-" not in path.name}


def restics(site: Site) -> Iterator[int]:
    """The restic processes at work on the site's repositories."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            program = (entry / "cmdline").read_bytes().split(b"\0")[0]
            if program.endswith(b"restic") and str(site.root).encode() in (entry / "environ").read_bytes():
                yield int(entry.name)


def test_a_killed_backup_is_put_right_by_the_next_and_said_once(slow: Site) -> None:
    """Its run, its scratch directory, and the locks of its restic processes."""
    site = slow
    running = site.start("backup", "share")
    locks = [site.root / target / "share" / "locks" for target in ("disk", "vault")]
    assert soon(lambda: (site.root / "begun").exists() and all(locked(place) for place in locks))
    for number in (found := list(restics(site))):
        os.kill(number, signal.SIGSTOP)  # so that none of them tidies up when its parent dies
    running.kill()
    running.communicate()
    for number in found:
        os.kill(number, signal.SIGKILL)
    assert soon(lambda: not any(Path(f"/proc/{number}").exists() for number in found))
    assert all(locked(place) for place in locks) and any((site.root / "state" / "work").iterdir())

    well(site)
    ran = site.dr("backup", "share", "--json")
    (run,) = ran.document["runs"]
    told = run["healed"]
    assert run["outcome"] == "ok" and len(told) == 4, told
    assert " was killed: it is on record as aborted" in told[0] and told[0].startswith("the backup 20")
    assert told[1] == "the scratch directory of a killed run was left behind: it is removed"
    assert sorted(told[2:]) == [
        f"1 lock of killed restic processes removed from {target}" for target in ("disk", "vault")
    ]
    assert all(ran.err.count(f"dr: share: {text}") == 1 for text in told), ran.err
    assert not any(locked(place) for place in locks)
    again = site.dr("backup", "share", "--json")
    assert again.document["runs"][0]["healed"] == [] and again.err == ""


@pytest.mark.parametrize(("verb", "key"), [("repair", "repairs"), ("expire", "expirations")])
def test_whichever_verb_puts_it_right_has_it_on_record(files_site: Site, verb: str, key: str) -> None:
    site, source = files_site, f"docs: {{files: {{paths: [{files_site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, more="retention: {last: 2}\n"))
    site.dr("backup", "share")
    half = site.root / "half"
    half.mkdir()
    (site.root / "state" / "escrow").mkdir(exist_ok=True)
    (site.root / "state" / "escrow" / "unfinished").write_text(f"{half}\n")
    ran = [site.dr(verb, "share", "--json", code=None) for _ in range(2)]
    told = [each.document[key][0]["healed"] for each in ran]
    assert told == [["a recovery kit that was half written is removed"], []] and not half.exists()


def test_locks_of_who_is_at_work_stay(slow: Site) -> None:
    """The control: nobody's lock is taken away who lives."""
    running = slow.start("backup", "share")
    locks = slow.root / "disk" / "share" / "locks"
    try:
        assert soon(lambda: (slow.root / "begun").exists() and bool(locked(locks)))
        before = locked(locks)
        well(slow)
        slow.plan("other", plan_text("other", f"docs: {{files: {{paths: [{slow.root}/source]}}}}"))
        ran = slow.dr("backup", "other", "--json")
        assert ran.document["runs"][0]["healed"] == [] and ran.err == ""
        assert slow.dr("backup", "share", code=11).err.count("healed") == 0
        assert before <= locked(locks) and any((slow.root / "state" / "work" / "share").iterdir())
    finally:
        running.terminate()
        running.communicate()


def test_a_killed_drill_leaves_nothing_restored_behind_the_next_backup(files_site: Site) -> None:
    """What was restored is data of the organisation: it does not wait for the next drill."""
    site = files_site
    more = "drill: {checks: [manifest, {command: {run: [sleep, '600'], mandatory: false}}]}\n"
    site.plan("share", plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", more=more))
    site.dr("backup", "share")
    process, sandboxes = site.start("drill", "share"), site.root / "state" / "sandboxes"
    assert soon(lambda: any(sandboxes.glob("*/docs")))
    process.kill()
    process.communicate()
    left = next(path for path in sandboxes.glob("drill-*") if path.suffix != ".cache")
    (run,) = site.dr("backup", "share", "--json").document["runs"]
    assert not left.exists()
    assert run["healed"] == [
        run["healed"][0],
        f"the sandbox of {left.name} was left behind: it is destroyed",
    ]
    assert run["healed"][0].startswith(f"the drill {left.name} of ")


def test_a_killed_replication_is_finished_and_its_unfinished_files_go(files_site: Site) -> None:
    site = files_site
    (site.root / "source" / "large.bin").write_bytes(os.urandom(120_000_000))
    site.target("second", f"target: second\nlocal: {{path: {site.root}/second}}\n")
    body = plan_text("share", f"docs: {{files: {{paths: [{site.root}/source]}}}}", targets="[disk]")
    site.plan("share", body + "replicas: [second]\n")
    site.dr("backup", "share")

    def unfinished() -> list[Path]:
        return [path for path in (site.root / "second").rglob(".*") if path.is_file()]

    running = site.start("replicate", "share")
    assert soon(lambda: bool(unfinished()) or running.poll() is not None)
    running.kill()
    running.communicate()
    if not (left := unfinished()):  # it was just put into its place
        left = [site.root / "second" / "share" / "data" / "00" / f".{'0' * 64}.{'0' * 8}"]
        left[0].parent.mkdir(parents=True, exist_ok=True)
        left[0].touch()
    (run,) = site.dr("replicate", "share", "--json").document["replications"]
    assert run["outcome"] == "ok" and not unfinished()
    some = f"{len(left)} unfinished file{'s' if len(left) > 1 else ''} of a killed run removed from second"
    assert run["healed"][0].startswith("the replicate replicate-") and run["healed"][1] == some, run["healed"]
