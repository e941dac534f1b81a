"""TELL: verdicts computed from facts, every figure once, and renderers that decide nothing."""
