"""Papers' comparisons with their controls, one file a paper."""
