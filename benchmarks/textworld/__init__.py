"""ALFWorld's own engine beside ours: random games, both played with the same actions, differences reported."""
