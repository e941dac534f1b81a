"""Who can open a repository: escrow, rotation, destruction, the keys of replicas.

Promises that a key goes only after its successor was seen to open. Begin with `escrow` and `rotation`."""
