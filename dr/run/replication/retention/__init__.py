"""What a replica forgets, long after the plan's retention took it from the primary.

Promises that nothing goes which a proven point needs. Begin with `decide`, then `forget`."""
