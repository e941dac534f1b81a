"""What a recovery without this host needs: the kit for custodians, the self-copy on each target.

Promises that neither is readable without its key. Begin with `kit` and `contents`."""
