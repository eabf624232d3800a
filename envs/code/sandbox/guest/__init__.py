"""Code that runs inside a sandbox.

It is sent there as source text, uses only the standard library, and supports Python 3.9 and later.
"""
