"""Code that runs in the sandbox together with a solution.

It is sent there as source text, uses only the standard library, and supports Python 3.9 and later. `calls` and
`asserts` run the two kinds of tests. In both, the solution cannot change the verdict.
"""
