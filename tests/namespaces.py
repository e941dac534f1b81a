"""Tests of what only a kernel that makes namespaces can show. One that does not has to be told of as such, no more."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

from dr.tools.host import ThisHost
from dr.tools.isolation import Isolated, NotIsolatedError

Test = Callable[..., None]


@functools.cache
def refusal() -> str:
    """Why nothing can be isolated on this machine; empty where it can."""
    try:
        with Isolated(ThisHost(), Path("/tmp")):
            return ""
    except NotIsolatedError as error:
        return error.what


def needs_namespaces(test: Test) -> Test:
    """Run the test where there are namespaces; elsewhere see that the plain program is refused them as well."""

    @functools.wraps(test)
    def either(*given: object, **named: object) -> None:
        if refusal():
            plain = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, check=False)
            assert plain.returncode != 0, refusal()
        else:
            test(*given, **named)

    return either
