"""DO: what the verbs do with a plan and its tools. Facts come back; nothing here remembers or judges."""
