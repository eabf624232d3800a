"""What runs inside a sandbox: sent there as source text, standard library only, Python 3.9 and later."""
