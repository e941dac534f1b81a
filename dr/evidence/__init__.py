"""FACT: what happened and what was captured. Pure values, sealed; nothing here reaches outside but files."""
