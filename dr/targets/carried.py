"""What a recovery kit brings along to reach a target: on the machine where it is opened, what targets name is missing.

What is there comes before what the target names.
"""

from __future__ import annotations

from pathlib import Path


def carried_keys(state: Path, target: str) -> Path:
    """Return where a recovery kit leaves what logs in at a target, as its driver gave it."""
    return state / "carried" / f"{target}.keys"


def carried_authorities(state: Path, target: str) -> Path:
    """Return where a recovery kit leaves what a target is known by: certificates, or host keys."""
    return state / "carried" / f"{target}.pem"
