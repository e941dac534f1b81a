"""The check `manifest`: what was restored equals what was hashed at capture, all of it or a sample.

The one check that says what a restore is worth: proof level 4 is all of the manifest, compared. So what restic
complained about is compared whole, whatever the plan says, and so is all that a drill of samples restored.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from dr.evidence import manifest
from dr.plan.check import Check
from dr.plan.check_kinds import ManifestCheck
from dr.plan.units import format_bytes
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, Poured, Restored, verdict
from dr.run.recovery.checks.driver import CheckDriver
from dr.run.recovery.compare import Comparison, Terms, compare

FULL_MANIFEST = Check.of(ManifestCheck())


class ManifestDriver(CheckDriver[ManifestCheck]):
    """Compares one source with its manifest."""

    declares = ManifestCheck

    def expected(self) -> str:
        """See `CheckDriver`."""
        return "files equal to the capture"

    def run(self, context: CheckContext) -> CheckOutcome:
        """See `CheckDriver`."""
        restored = context.sources[self.body.source or ""]
        if restored.manifest is None:
            return CheckOutcome(self.expected(), "the point holds no manifest of this source", "failed")
        if restored.poured:
            equal, observed = _stream(restored.poured, next(manifest.read(restored.manifest), None))
            return CheckOutcome("the stream that was restored, equal to the capture", observed, verdict(equal))
        terms = Terms(
            sample=self.body.sample,
            seed=f"{context.seed}/{restored.name}",
            rights=context.land.owners and not (context.partial and os.geteuid()),
            only=restored.only,
        )
        found = compare(context.land.survey(restored.root), restored.manifest, terms)
        context.names += [(restored.name, problem, path) for problem, path in found.names]
        return CheckOutcome(_wanted(found, self.body.sample), _counts(found), verdict(found.holds))


def _stream(poured: Poured, entry: manifest.Entry | None) -> tuple[bool, str]:
    """Hold the stream that went into a service against what was hashed at capture."""
    equal = entry is not None and (entry.sha256, entry.size) == (poured.sha256, poured.size)
    return equal, f"{'equal' if equal else 'differs'} ({format_bytes(poured.size)})"


def _wanted(found: Comparison, sample: float) -> str:
    files = found.equal + found.present + found.missing + found.differ
    if sample < 1:
        hashed = files - found.present
        return f"{hashed:,} of {files:,} files equal to the capture (a sample of {sample:.1%}), all present"
    return f"{files:,} {'file' if files == 1 else 'files'} equal to the capture"


def _counts(found: Comparison) -> str:
    parts = [f"{found.equal:,} equal"]
    for number, text in (
        (found.present, "more present"),
        (found.differ, "differ"),
        (found.missing, "missing"),
        (found.rights, "with another owner or mode"),
        (found.attributes, "with other ACLs or extended attributes"),
        (found.marked - found.unmarked - found.attributes, "with the same ACLs and extended attributes"),
        (found.unmarked, "with ACLs or extended attributes that were not compared (root does)"),
        (found.unsettled, "not judged (changed or unreadable at capture)"),
        (found.extra, "extra"),
    ):
        if number:
            parts.append(f"{number:,} {text}")
    return ", ".join(parts)


# -- which of them are made --------------------------------------------------------------------------


def compares(check: Check) -> bool:
    """Whether a check compares with the manifest."""
    return isinstance(check.body, ManifestCheck)


def checks_of(
    declared: Sequence[Check], restored: Mapping[str, Restored], *, real: bool, partial: bool
) -> tuple[Check, ...]:
    """Return the checks to make: a plan's, and a full comparison of whatever restic complained about.

    Of a real recovery, and where only samples were restored, all is compared.
    """
    checks = (FULL_MANIFEST, *(check for check in declared if not compares(check))) if real else tuple(declared)
    if partial:
        others = [check for check in checks if not compares(check) or check.source not in (None, *restored)]
        return (FULL_MANIFEST, *others)
    whole = {check.source for check in checks if check.mandatory and _share(check) == 1}
    doubtful = [name for name, item in restored.items() if item.complaints and not whole & {name, None}]
    return (*checks, *(Check.of(ManifestCheck(source=name)) for name in doubtful))


def shares_asked(checks: Sequence[Check], restored: Mapping[str, Restored]) -> dict[str, float]:
    """Return for each source the largest share of its files that a check compares."""
    asked: dict[str, float] = {}
    for check in checks:
        for name in ([check.source] if check.source else restored) if compares(check) else ():
            asked[name] = max(asked.get(name, 0.0), _share(check))
    return asked


def _share(check: Check) -> float:
    """The share of files that a check compares."""
    return check.body.sample if isinstance(check.body, ManifestCheck) else 0.0
