"""THE JOINT: load, run, record, judge. Composition without decisions, one file a verb."""
