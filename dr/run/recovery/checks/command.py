"""The check `command`: a program of the organisation's own, run in the sandbox, ends as expected."""

from __future__ import annotations

from dr.plan.check_kinds import CommandCheck
from dr.plan.expect import describe, holds
from dr.run.recovery.checks.context import CheckContext, CheckOutcome, verdict
from dr.run.recovery.checks.driver import CheckDriver
from dr.run.recovery.checks.programs import argv, environment, not_run


class CommandDriver(CheckDriver[CommandCheck]):
    """Runs one program to its end."""

    declares = CommandCheck

    def expected(self) -> str:
        """See `CheckDriver`."""
        wanted = self.body.expect
        text = f"exit {wanted.exit}"
        return text if wanted.stdout is None else f"{text}, output {describe(wanted.stdout)}"

    def run(self, context: CheckContext) -> CheckOutcome:
        """See `CheckDriver`."""
        if why := not_run(context):
            return CheckOutcome(self.expected(), why, "skipped")
        wanted, run = self.body.expect, argv(context, self.body.run)
        done = context.works.run(run, env=environment(context), cwd=context.root, timeout=self.body.timeout)
        said = done.stdout.decode("utf-8", "replace").strip()
        code = _as_in_a_shell(done.code)
        observed, passed = f"exit {code}", code == wanted.exit
        if wanted.stdout is not None:
            observed += f", output {said!r}"
            passed = passed and holds(wanted.stdout, said)
        if not passed and done.last_words:
            observed += f": {done.last_words}"
        return CheckOutcome(self.expected(), observed, verdict(passed))


def _as_in_a_shell(code: int) -> int:
    """Return 128 and the signal of a program that one ended, as another host's shell tells it, not less than 0."""
    return 128 - code if code < 0 else code
