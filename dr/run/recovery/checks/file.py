"""The check `file`: certain files were restored, as many, as large and with such text as the plan says."""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections import Counter

from dr.plan.check_kinds import FileCheck
from dr.plan.expect import describe, holds
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, Restored, verdict
from dr.run.recovery.checks.driver import CheckDriver
from dr.run.recovery.checks.pattern import bases_of, below
from dr.run.recovery.place.tree import RestoredTree


class FileDriver(CheckDriver[FileCheck]):
    """Looks for files by a pattern."""

    declares = FileCheck

    def expected(self) -> str:
        """See `CheckDriver`."""
        body = self.body
        count = "at least 1" if body.expect is None else describe(body.expect)
        parts = [f"files that match {body.path}: {count}"]
        if body.size is not None:
            parts.append(f"size of each in bytes: {describe(body.size)}")
        if body.contains is not None:
            parts.append(f"text of each matches {body.contains}")
        return "; ".join(parts)

    def run(self, context: CheckContext) -> CheckOutcome:
        """See `CheckDriver`."""
        if context.sampled:
            return CheckOutcome(self.expected(), "not checked: this drill restored a sample", "skipped")
        restored = context.sources[self.body.source]
        count, wrong = self._look(restored, context.land.survey(restored.root), context.names)
        observed = [f"{count:,} found"]
        observed += [f"{wrong['wrong size']:,} of another size"] if wrong["wrong size"] else []
        observed += [f"{wrong['wrong text']:,} with another text"] if wrong["wrong text"] else []
        enough = count >= 1 if self.body.expect is None else holds(self.body.expect, count)
        return CheckOutcome(self.expected(), ", ".join(observed), verdict(enough and not wrong))

    def _look(
        self, restored: Restored, survey: RestoredTree, names: list[tuple[str, str, bytes]]
    ) -> tuple[int, Counter[str]]:
        """Count the files that match, and what is wrong with them."""
        wanted, body = below(bases_of(restored.declared), self.body.path), self.body
        contains = re.compile(os.fsencode(body.contains), re.MULTILINE) if body.contains is not None else None
        count, wrong = 0, Counter[str]()
        with survey.reachable():
            for path, status in survey.files():
                if not wanted.fullmatch(path):
                    continue
                count += 1
                plain, problems = stat.S_ISREG(status.st_mode), []
                if body.size is not None and not (plain and holds(body.size, status.st_size)):
                    problems.append("wrong size")
                if contains is not None and not (plain and _has(survey, path, contains)):
                    problems.append("wrong text")
                wrong.update(problems)
                names += [(restored.name, problem, path) for problem in problems]
        return count, wrong


def _has(survey: RestoredTree, path: bytes, contains: re.Pattern[bytes]) -> bool:
    """Whether a file's content matches somewhere; read through a map, so that its size does not matter."""
    with survey.opened(path) as fd:
        if os.fstat(fd).st_size == 0:
            return contains.search(b"") is not None
        with mmap.mmap(fd, 0, access=mmap.ACCESS_READ) as content:
            return contains.search(content) is not None
