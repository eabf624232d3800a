"""A run as static pages, to look at in a browser."""
