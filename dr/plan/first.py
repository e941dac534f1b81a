"""A first plan and target, to be edited."""

from __future__ import annotations

from pathlib import Path

from dr.errors import UsageError

PLAN = """\
# A recovery plan: what must come back, how soon (RTO) and how fresh (RPO). One file a system.
system: first
title: A first system
owner: {role: Data manager, contact: data@district.example}
classification: internal
objectives: {rto: 2h, rpo: 24h, mtd: 8h}      # RTO must be shorter than MTD
sources:
  documents: {files: {paths: [PATH], exclude: ["*.tmp"]}}
targets: [disk]                               # each backup goes to all of them; the first is primary
cadence: {backup: every 8 hours, verify: every day at 03:00, expire: every day at 04:00, drill: "cron 0 5 1 * *"}
retention: {last: 6, daily: 14, weekly: 8, monthly: 12, yearly: 1}    # what these keep stays; the rest expires
drill:
  scenario: system-loss
  checks:                                     # mandatory unless `mandatory: false`
    - manifest: {sample: 100%}
    - file: {source: documents, path: "**/*", expect: ">= 1"}
"""
TARGET = """\
# A target: where the copies go. A local directory is for trying out; for an offsite copy use s3:
#   s3: {endpoint: "https://s3.us-east-1.amazonaws.com", bucket: NAME, prefix: dr, region: us-east-1,
#        credentials: {profile: backup}}
target: disk
local: {path: backups}
"""


def place_of_first(named: str | None, *, here: Path, of_machine: Path) -> Path:
    """Return where a first plan goes: the directory that was named, or here.

    `UsageError` where none was named and the machine's configuration is the one in use here: a plan beside it would
    hide every plan of the machine from whoever types `dr` here.
    """
    if named:
        return Path(named).expanduser().absolute()
    if not (here / "plans").is_dir() and any((of_machine / "plans").glob("*")):
        raise UsageError(
            f"the configuration in use is {of_machine}, and it has plans", str(here),
            hint=f"add a plan to {of_machine / 'plans'}; for a configuration of its own here, run `dr --config . init`",
        )  # fmt: skip
    return here


def write_first(place: Path) -> list[Path]:
    """Write plans/first.yaml and targets/disk.yaml; `UsageError`, and nothing written, when one is there."""
    documents = (place / "documents").absolute()
    files = {
        place / "plans" / "first.yaml": PLAN.replace("PATH", str(documents)),
        place / "targets" / "disk.yaml": TARGET,
    }
    for path in files:
        if path.exists():
            raise UsageError("a file is there already", str(path), hint="edit it, or run `dr init` elsewhere")
    documents.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return list(files)
