"""What has changed here since a kit was made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dr.errors import DrError
from dr.plan.declarations import Loaded
from dr.run.keys.recipient import recipient_of
from dr.run.kit import self_backup as selfcopy
from dr.run.kit.contents import target_file
from dr.run.kit.kit import KitFolder
from dr.session import Session


def differences_from(session: Session, folder: KitFolder) -> Iterator[str]:
    """Yield what differs between a kit and the plans and targets here. Nothing where there are none."""
    try:
        items, _ = session.usable()
    except DrError:
        return
    then = {each.system: each for each in folder.kit.systems}
    now: Mapping[str, Loaded] = {item.plan.system: item for item in items}
    for name in sorted(now.keys() - then.keys()):
        yield f"the system {name} is not in the kit"
    for name in sorted(then.keys() - now.keys()):
        yield f"the system {name} of the kit has no plan any more"
    for name in sorted(then.keys() & now.keys()):
        if then[name].digest != now[name].digest:
            yield f"the plan of {name} has changed"
    yield from _target_differences(session, folder, now.values())
    if (recipient := recipient_of(session.state)) != folder.kit.recipient:
        yield "the organisation's identity is another by now" if recipient else "escrow is switched off by now"


def _target_differences(session: Session, folder: KitFolder, items: Iterable[Loaded]) -> Iterator[str]:
    used = sorted({name for item in items for name in item.plan.places})
    for name in used:
        data = target_file(session.declarations.targets[name], session.config / "targets")
        then = folder.kit.targets.get(name)
        if then is None:
            yield f"the target {name} is not in the kit"
        elif then != selfcopy.digest_of({"": data}):
            yield f"the target {name} has changed"
