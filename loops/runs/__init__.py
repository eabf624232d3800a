"""Storage of runs: the store, its database and the names of stages."""
