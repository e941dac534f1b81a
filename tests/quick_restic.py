"""restic with keys that are cheap to make and to open, for tests that are not about restic.

restic tries out how hard it can make a new key: within half a second and 60 MiB of memory. That costs 2.7 s of CPU
for each repository made and 0.5 s each time one is opened, and the suite does so thousands of times. Those two
limits are immediate values of one call (restic's `internal/repository/key.go`: `KDFTimeout`, `KDFMemory`); a copy
of the program in which they are a millisecond and 1 MiB is restic in all else. What it makes, any restic opens.
"""

from __future__ import annotations

from pathlib import Path

#: `mov eax, 500000000; mov ebx, 60` on amd64: the arguments of `crypto.Calibrate(KDFTimeout, KDFMemory)`.
LIMITS = bytes.fromhex("b8 00 65 cd 1d  bb 3c 00 00 00")
#: The same with 1000000 (nanoseconds) and 1 (MiB).
LOW = bytes.fromhex("b8 40 42 0f 00  bb 01 00 00 00")


def make_quick(restic: Path, folder: Path) -> Path | None:
    """Make `folder/restic` of the real one; None where its limits are not found in exactly one place."""
    program = restic.read_bytes()
    if program.count(LIMITS) != 1:
        return None
    made = folder / "restic"
    made.write_bytes(program.replace(LIMITS, LOW))
    made.chmod(0o755)
    return made
