"""REMEMBER: the catalog of runs, points, drills and evidence. It can be rebuilt from the targets."""
