"""INTENT: what must come back, how soon and how fresh. Pure: nothing here reaches outside."""
