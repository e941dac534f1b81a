"""One kind of source a file, each with the same four doors: capture, restore, start, probe."""
