"""Commands of a plan whose failure would not be seen: a pipeline ends as its last program does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath

_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "mksh", "zsh", "ash"})
_WITH_SCRIPT = re.compile(r"-[a-zA-Z]*c[a-zA-Z]*")


def hides_failure(run: Sequence[str]) -> bool:
    """Whether a shell is to run a pipeline and is not told to heed the failure of each of its programs.

    What cannot be told for certain is taken to be in order.
    """
    at = next((i for i, word in enumerate(run) if PurePosixPath(word).name in _SHELLS), None)
    if at is None:
        return False
    script = next((i for i in range(at + 1, len(run)) if _WITH_SCRIPT.fullmatch(run[i])), None)
    if script is None or any("pipefail" in word for word in run[at:]):
        return False
    return any(_is_pipeline(text) for text in run[script + 1 : script + 2])


def _is_pipeline(text: str) -> bool:
    words = shlex.shlex(text, posix=True, punctuation_chars="|&;()<>")
    words.commenters = "#"
    try:
        found = list(words)
    except ValueError:
        return False
    return "case" not in found and any(word in ("|", "|&") for word in found)
