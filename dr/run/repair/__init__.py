"""A damaged repository put right, as far as anything is left to put it right with.

Promises to say what was lost for good. Begin with `repair`.
"""
