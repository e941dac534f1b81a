"""Recovery points: which a target holds, which one to take, which the plan's retention has no use for.

Promises that a point counts for what was seen at its target. Begin with `choose` and `presence`."""
