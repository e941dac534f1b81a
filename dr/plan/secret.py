"""Where a secret is read from. A plan names places, never secrets."""

from __future__ import annotations

from pydantic import model_validator

from dr.plan.base import ConfigPath, Declaration


class SecretPlace(Declaration):
    """Where a secret is read from; exactly one of the three."""

    file: ConfigPath | None = None
    env: str | None = None
    command: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _one(self) -> SecretPlace:
        if sum(x is not None for x in (self.file, self.env, self.command)) != 1:
            raise ValueError("give exactly one of file, env or command")
        return self
