"""The mending: one loop a file, and what the loops share."""
