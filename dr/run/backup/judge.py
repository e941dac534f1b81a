"""What is out of the ordinary in a backup: said with the point; the files concerned are listed on this machine."""

from __future__ import annotations

import os
from datetime import datetime

from dr.evidence.change import suspicion
from dr.plan.units import format_bytes
from dr.run.backup.progress import BackupProgress, BackupRequest
from dr.run.backup.unread import NOT_STORED, PROBLEM
from dr.run.workspace.file_lists import write_names
from dr.run.workspace.toolbox import Toolbox


def judge(toolbox: Toolbox, request: BackupRequest, progress: BackupProgress, at: datetime) -> None:
    """Say what is out of the ordinary, and list the files concerned where only this machine sees them."""
    judged = [
        (
            capture.source,
            suspicion(capture.change, request.history.get(capture.source, ()), at=at, size=format_bytes),
        )
        for capture in progress.captures
        if capture.change
    ]
    progress.suspect = "; ".join(f"{source}: {reason}" for source, reason in judged if reason) or None
    strange = progress.strange if progress.suspect else []
    unread = [(source, PROBLEM, os.fsencode(name)) for source, names in progress.unread.items() for name in names]
    unstored = [(source, NOT_STORED, name) for source, names in progress.unstored.items() for name in names]
    try:
        path = write_names(toolbox.state, request.run_id, [*strange, *unread, *unstored])
    except OSError as error:
        progress.notes.append(f"the list of the files concerned could not be written: {error.strerror}")
        return
    whys = {"look strange": strange, PROBLEM: unread, NOT_STORED: unstored}
    named = [why for why, of in whys.items() if of]
    progress.notes.extend([f"files that {' or '.join(named)} are listed in {path}"] if path else [])
