"""What a run keeps, and where: the store, the names of its stages, references to them."""
