"""Who can open what: escrow, rotation, destruction, the recovery kit, and the copies of ourselves."""
