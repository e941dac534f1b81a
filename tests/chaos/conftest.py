"""What the interruptions came to, in numbers."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many interruptions there were, of what kind, and how many points were restored after them."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, ())
        if report.when == "call" and "chaos" in report.nodeid
    ]
    told = [value for report in reports for name, value in report.user_properties if name == "interruption"]
    restored = sum(value for report in reports for name, value in report.user_properties if name == "restored")
    if not told:
        return
    struck = Counter(value.rpartition("|")[0] for value in told if value.endswith("struck"))
    terminalreporter.section("interruptions")
    terminalreporter.line(
        f"{len(told):,} interruptions, {struck.total():,} struck before the command had ended; "
        f"{restored:,} points restored by plain restic and compared; {sum(r.failed for r in reports)} chains failed"
    )
    for what, count in sorted(struck.items()):
        verb, kind = what.split("|")
        terminalreporter.line(f"  {count:>5,}  {verb:<10} {kind}")
