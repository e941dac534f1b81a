"""In CI nothing may be skipped: a skipped test is a failed run that says which program is missing."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the session when CI skipped anything."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if os.environ.get("CI") and skipped:
        print("\nskipped in CI, where nothing may be:", *(str(report.longrepr) for report in skipped), sep="\n  ")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
