"""The words every report prints: definitions with their sources, the ladder of proof, and the limits."""

from __future__ import annotations

DEFINITIONS = (
    ("RTO, recovery time objective", "The longest time the system may be unavailable (NIST SP 800-34r1). Declared in the plan."),
    ("RPO, recovery point objective", "The point in time before the outage to which data must be recovered (NIST SP 800-34r1). Declared in the plan."),
    ("MTD, maximum tolerable downtime", "The total time the owner accepts for an outage; the RTO is shorter, since people then have to catch up."),
    ("RTA, recovery time actual", "From the moment of loss, fixed before the drill, until the last mandatory check passed. “Not achieved” when one failed."),
    ("RPA, recovery point actual", "From the point used (the start of its capture, not the end of its upload) to the moment of loss. Where the newest record was probed, the loss of data is given too."),
)  # fmt: skip
LADDER = (
    ("0", "recorded", "a backup said that it worked"),
    ("1", "structure", "the repository is complete and consistent"),
    ("2", "stored bytes", "the SHA-256 of every stored object is its name"),
    ("3", "decrypted sample", "a rotating share was decrypted and read"),
    ("4", "restored and equal", "restored, and equal to what was hashed at capture"),
    ("5", "service proven", "application checks passed on the restored system"),
    ("6", "clean room", "recovered from the recovery kit alone"),
)
LIMITS = (
    "That a disaster will be recovered within the RTO: only that the scope stated here was, on this date, on this machine.",
    "That data is correct: checks find what they look for. Nor that it is free of malware or of a patient attacker's changes.",
    "That data taken by others is contained, or that a breach did or did not occur.",
    "That a storage region, medium or provider's control is as the provider says.",
    "That the organisation fulfils any law, policy or insurance condition: this is evidence, not a judgement.",
    "That absence from the plans means absence from the organisation.",
    "Time for detection, the decision to declare, buying hardware, and giving users new passwords: none is in the RTA.",
    "That nobody who holds every key could have rewritten all of it: the chain makes tampering evident, not impossible.",
)  # fmt: skip
SIGN_OFF = (
    "Prepared by",
    "System owner: accepts the result",
    "Independent reviewer",
    "Management: accept / accept with actions / reject",
)
