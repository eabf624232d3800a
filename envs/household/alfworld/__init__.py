"""ALFWorld's own game files: read (PDDL, grammar), checked, played by the engine, and written."""
