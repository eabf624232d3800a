"""The language of ALFWorld's games: domains in PDDL, grammars, and the texts that are compiled of them."""
