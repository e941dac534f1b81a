"""The words every report prints: definitions with their sources, the ladder of proof, and the limits."""

from __future__ import annotations

from dr.evidence.record import Drill
from dr.plan.check_kinds import KINDS
from dr.plan.scenario import SCENARIOS, TABLES

#: Whose problem it is, where it is no single system's.
SHARED = "What all systems share"
DEFINITIONS = (
    ("RTO", "recovery time objective", "The longest time the system may be unavailable (NIST SP 800-34r1). Declared in the plan."),
    ("RPO", "recovery point objective", "The point in time before the outage to which data must be recovered (NIST SP 800-34r1). Declared in the plan, as the greatest age that data may have."),
    ("MTD", "maximum tolerable downtime", "The total time the system's owner accepts for an outage (NIST SP 800-34r1). The RTO is shorter, since people then have to catch up on their work."),
    ("RTA", "recovery time actual", "From the moment of loss, fixed before the drill starts, until the last mandatory check has passed. “Not achieved” when the drill failed: never a number then."),
    ("RPA", "recovery point actual", "From the moment as of which the data is consistent (the start of its capture, not the end of its upload) until the moment of loss."),
    ("Newest record", "", "The newest entry that a query of the plan finds in the restored data, before the moment of loss. Told, not judged: nobody may have written anything for days."),
    ("Exposure", "", "The longest way back that a loss would have gone at any moment of the period: from one complete recovery point until the next one was finished."),
    ("Recovery point", "", "The copies of all parts of a system, taken by one run. It counts only when every part was captured whole."),
    ("Drill", "", "A recovery rehearsed in a place of its own; production is not touched. The place is destroyed afterwards, unless the report says otherwise."),
)  # fmt: skip
LADDER = (
    ("recorded", "a backup said that it worked"),
    ("structure", "the repository is complete and consistent"),
    ("stored bytes", "the SHA-256 of every stored object is its name; this needs no key"),
    ("decrypted sample", "a rotating share was decrypted and read"),
    ("restored and equal", "restored, and equal to what was hashed at capture, file by file"),
    ("service proven", "checks of the application passed on the restored system"),
    ("clean room", "recovered from the recovery kit and its shares alone, with nothing of the backup host's state"),
)
RUNGS = tuple(name for name, _ in LADDER)
LIMITS = (
    "That a disaster will be recovered within the RTO. It shows that the scope stated here was, on this date, on this machine.",
    "That data is correct: checks find what they look for. Nor that it is free of malware or of a patient attacker's changes.",
    "The time for detection, for the decision to declare, for buying hardware, and for giving people new passwords: none of it is in the RTA.",
    "That data taken by others is contained, that a breach did or did not occur, or that data is gone from every other place.",
    "That a storage region, a medium or a provider's control is as the provider says.",
    "That a system missing from the plans is missing from the organisation.",
    "That staff are trained, that contacts answer at night, or that the fallback on paper works.",
    "That the organisation fulfils a law, a policy or an insurance condition. This is evidence, not a judgement and not legal advice.",
    "That nobody who holds every key could have rewritten all of it: the chain makes tampering evident, not impossible.",
)  # fmt: skip
LOCKS = "As the locks were when last looked at, after each backup. A lock keeps stored bytes from being deleted or replaced until its date; it does not keep anybody from reading them, and destroying the keys makes them unreadable at any time."
COSTS = "Stored: as the last listing showed it. Requests and bytes were counted where this program sent and read them, from the first month of this report on; what restic asks for and reads is not seen. Prices are those declared today. What is labelled ESTIMATE follows from history, is no fact, and no verdict rests on it."
ACTS = "What was done to keys, kits, holds, targets and the catalog, newest first; custodians are named by role"
SIGN_OFF = (
    ("Prepared by", ""),
    ("System owner", "accepts the result"),
    ("Independent reviewer", "not the one who ran the drill"),
    ("Management", "accept · accept with actions · reject, with reason"),
)
SANDBOXES = {
    "destroyed": "a sandbox, destroyed afterwards",
    "kept": "a sandbox, kept on request: restored data is still there",
    "left behind": "a sandbox that could not be removed: restored data is still there",
    "not used": "the real place",
}


def isolated(drill: Drill) -> str:
    """Say whether what ran in a drill's sandbox could reach anything."""
    return "yes: what ran in the sandbox reached no network" if drill.isolated else f"no ({drill.isolated_reason})"


def check(kind: str) -> str:
    """Say what a kind of check asserts; its name where it is not known any more."""
    return KINDS[kind].title if kind in KINDS else kind


def scenario(name: str) -> str:
    """Say what a scenario takes for lost; its name where it is not known any more."""
    if name == TABLES:
        return "some tables are lost"
    return SCENARIOS[name].assumed if name in SCENARIOS else name
