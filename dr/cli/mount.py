"""`dr mount`: recovery points as folders to look into and copy from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dr.cli import complete
from dr.cli.choose import require_target
from dr.cli.context import Context, pass_context
from dr.cli.typed import whole_path

if TYPE_CHECKING:
    from dr.errors import DrError


@click.command("mount")
@click.argument("system", shell_complete=complete.systems)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--point", metavar="RUN_ID", help="Only this recovery point; default: all that the target holds.")
@click.option(
    "--target", metavar="TARGET", shell_complete=complete.targets, help="From this target; default: the first usable."
)
@click.option("--because", default="", metavar="TEXT", help="Why, and for whom; kept as evidence.")
@pass_context
def mount_command(
    context: Context, system: str, directory: Path, point: str | None, target: str | None, because: str
) -> None:
    """Show recovery points as folders, to look into and copy from: DIR/RUN_ID/SOURCE, and DIR/latest for the newest.

    DIR is a new or empty directory. Nothing in it can be changed. It stays mounted until Ctrl-C is pressed here; a
    second Ctrl-C ends it at once. Needs FUSE (on Debian: the package fuse3). A folder named .incomplete, .damaged or
    .suspect holds a point that no recovery would choose by itself. That it was mounted is put on record.
    """
    from dr.operations.mount import MountRequest, mount
    from dr.report.mount import mounted_document, mounted_lines

    (loaded,) = context.session.chosen([system])
    require_target(loaded, target)

    def say(what: str, why: DrError) -> None:
        reason = why.sentence
        context.warn(f"{what}: {reason}", why.where or system, why.hint)

    request = MountRequest(whole_path(directory), point, target, because)
    with mount(context.session, loaded, request, say=say) as shown:
        told = (shown.system, shown.target, str(shown.at), shown.points)
        context.put(mount=mounted_document(*told))
        for line in mounted_lines(*told):
            context.say(line)
        context.say("Press Ctrl-C to unmount.")
        shown.serving.until_stopped()
    context.say("unmounted")
