"""A replica's own retention: what the primary's plan no longer keeps goes there too, late and never in haste."""
