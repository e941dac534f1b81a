"""A recovery point made: captured, fanned out to each target, held against what is usual.

Promises that no point is called whole that lacks something of its plan. Begin with `backup`, then `capture`."""
