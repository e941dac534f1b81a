"""A system brought back: rehearsed in a sandbox or for real, by one engine, timed and judged.

Promises that what a drill proves the recovery does too. Begin with `engine`, then `drill` and `recover`."""
