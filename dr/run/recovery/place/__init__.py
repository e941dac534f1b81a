"""Where a recovery puts things: this host or another, the sandbox, its servers' directories.

Promises that nothing is left behind. Begin with `restore_host` and `sandbox`."""
