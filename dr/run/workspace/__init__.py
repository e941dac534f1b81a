"""What every run works with: the tools of a plan, hooks, the record of keys, lists of files.

Promises nothing of what a run does. Begin with `toolbox`."""
