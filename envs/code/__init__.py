"""Code: programming tasks whose solutions run in a sandbox."""
