"""Object lock, versions and what the keys of a target could destroy.

Promises never to weaken a setting. Begin with `extend_all` and `posture`."""
