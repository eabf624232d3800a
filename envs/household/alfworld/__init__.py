"""Reader and writer of ALFWorld's game files."""
