"""ALFWorld's own game files: read, checked, played by the engine, and written."""
