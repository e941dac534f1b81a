"""The checks of a drill: what was restored, asked by each kind of check.

Promises that a check that could not be asked has not passed. Begin with `run`."""
