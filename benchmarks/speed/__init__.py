"""Performance benchmarks: each module is run by itself and prints its figures."""
