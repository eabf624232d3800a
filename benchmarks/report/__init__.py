"""Write a run as static HTML pages."""
