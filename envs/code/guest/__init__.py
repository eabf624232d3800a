"""What runs beside a solution in the sandbox: sent there as source text, standard library only, Python 3.9 and later.

`calls` and `asserts` are the two ways to test; both keep the verdict where the solution cannot reach it.
"""
