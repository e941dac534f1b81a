"""Where a secret is read from. A plan names places, never secrets. How it is read: `dr.plan.on_disk`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from dr.plan.base import ConfigPath, Declaration, Name


class SecretPlace(Declaration):
    """Where a secret is read from: give exactly one of the four. The secret itself is never in a plan."""

    file: Annotated[
        ConfigPath | None,
        Field(
            description="File that holds the secret, in one line of UTF-8 text, readable by its owner alone "
            "(mode 0600). Default: none; give exactly one of the four.",
            examples=["/etc/dr/secrets/sis"],
        ),
    ] = None
    credential: Annotated[
        Name | None,
        Field(
            description="Name of a credential that systemd hands to the service (`LoadCredential=`), as the units of "
            "`dr systemd` do, from CONFIG/secrets/NAME. Default: none; give exactly one of the four.",
            examples=["sis"],
        ),
    ] = None
    env: Annotated[
        str | None,
        Field(
            description="Name of the environment variable that holds the secret. Default: none; give exactly one of "
            "the four.",
            examples=["SIS_PASSPHRASE"],
        ),
    ] = None
    command: Annotated[
        tuple[str, ...] | None,
        Field(
            description="Program with its arguments that prints the secret. Default: none; give exactly one of the "
            "four.",
            examples=[["pass", "show", "backup/sis"]],
        ),
    ] = None

    @model_validator(mode="after")
    def _one(self) -> SecretPlace:
        if sum(x is not None for x in (self.file, self.credential, self.env, self.command)) != 1:
            raise ValueError("give exactly one of file, credential, env or command")
        return self
