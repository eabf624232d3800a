"""Parsers for the PDDL domains and grammars of ALFWorld's games, and a compiler for their texts."""
