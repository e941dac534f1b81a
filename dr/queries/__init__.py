"""What only reads: the board, the report, what is due, the keys there are. Loads no operation and no database."""
