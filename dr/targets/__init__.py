"""Kinds of target as drivers: how each is opened, how restic is told of it, how it is kept, what a kit carries of it.

`driver` says what every kind does and what only some can; `kinds` finds the driver of a target. Outside this room
nobody asks of which kind a target is. A kind's keys are declared in `dr.plan.target_kind`.
"""
