"""What is stored, proven: structure, every byte, a decrypted sample; and damage put right.

Promises to claim no more than a plain restic could read back. Begin with `verify`."""
