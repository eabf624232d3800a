"""What a run keeps, and where: the store and the names of its stages."""
