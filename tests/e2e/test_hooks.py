"""The plan's own commands around capture and restore: in order, timed out, and in the evidence."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.conftest import Site, plan_text
from tests.waiting import LIMIT, soon


def hooked(site: Site, hooks: str, source: str = "") -> Path:
    """A plan with hooks that write into a diary; return the diary."""
    diary = site.root / "diary"
    source = source or f"docs: {{files: {{paths: [{site.root}/source]}}}}"
    site.plan("share", plan_text("share", source, more=f"hooks:\n{hooks.replace('DIARY', str(diary))}"))
    return diary


def said(diary: Path) -> list[str]:
    return diary.read_text().splitlines() if diary.exists() else []


ALL = """
  capture:
    before: [sh, -c, 'echo freeze >> DIARY; echo "$DR_SYSTEM $DR_MOMENT"']
    after: [sh, -c, 'echo thaw >> DIARY']
    on_failure: [sh, -c, 'echo woken >> DIARY']
  restore:
    before: [sh, -c, 'echo restoring >> DIARY']
    after: {run: [sh, -c, 'echo restored >> DIARY'], timeout: 10s}
    on_failure: [sh, -c, 'echo not-restored >> DIARY']
"""


def test_hooks_run_around_capture_and_restore_and_their_output_is_in_the_evidence(files_site: Site) -> None:
    diary = hooked(files_site, ALL)
    (run,) = files_site.dr("--json", "backup", "share").document["runs"]
    assert [(h["moment"], h["outcome"], h["output"]) for h in run["hooks"]] == [
        ("before capture", "ok", "share before capture"),
        ("after capture", "ok", ""),
    ]
    (drill,) = files_site.dr("--json", "drill", "share").document["drills"]
    assert [h["moment"] for h in drill["hooks"]] == ["before restore", "after restore"]
    assert said(diary) == ["freeze", "thaw", "restoring", "restored"]


def test_a_failing_hook_before_stops_the_capture_and_leaves_no_point(files_site: Site) -> None:
    hooks = "  capture: {before: [sh, -c, 'echo the app said no; exit 7'], on_failure: [sh, -c, 'echo woken >> DIARY']}"
    diary = hooked(files_site, hooks)
    ran = files_site.dr("--json", "backup", "share", code=1)
    (run,) = ran.document["runs"]
    assert run["outcome"] == "failed" and "the hook before capture failed with exit code 7" in run["error"]
    assert "the app said no" in run["error"]
    assert [s["outcome"] for s in run["sources"]] == ["skipped"]
    assert said(diary) == ["woken"]
    assert files_site.dr("--json", "points", "share").document["points"] == []


def test_a_source_that_fails_wakes_the_application(files_site: Site) -> None:
    diary = hooked(files_site, ALL, "export: {command: {run: [sh, -c, 'echo half; exit 1'], filename: x}}")
    files_site.dr("backup", "share", code=1)
    assert said(diary) == ["freeze", "woken"]


def test_a_hook_that_hangs_is_stopped_in_time_and_makes_the_run_degraded(files_site: Site) -> None:
    hooked(files_site, "  capture: {after: {run: [sleep, '6000'], timeout: 1s}}")
    (run,) = files_site.dr("--json", "backup", "share", code=3).document["runs"]
    assert run["complete"] and run["hooks"][0]["outcome"] == "failed" and "did not end within 1 s" in run["notes"][0]


def test_an_interrupted_capture_wakes_the_application_all_the_same(files_site: Site) -> None:
    diary = hooked(files_site, ALL, "export: {command: {run: [sh, -c, 'echo begun; sleep 60'], filename: x}}")
    running = files_site.start("backup", "share")
    assert soon(lambda: said(diary) == ["freeze"] and any((files_site.root / "state" / "work").glob("*/*")))
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=LIMIT)
    assert running.returncode == 130
    assert said(diary) == ["freeze", "woken"]


def test_a_failing_hook_before_restore_fails_the_drill_and_says_why(files_site: Site) -> None:
    hooks = "  restore: {before: ['false'], on_failure: [sh, -c, 'echo not-restored >> DIARY']}"
    diary = hooked(files_site, hooks)
    files_site.dr("backup", "share")
    (drill,) = files_site.dr("--json", "drill", "share", code=1).document["drills"]
    assert drill["outcome"] == "failed" and "the hook before restore failed with exit code 1" in drill["error"]
    assert drill["sandbox"] == "destroyed" and drill["rta_seconds"] is None
    assert said(diary) == ["not-restored"]
