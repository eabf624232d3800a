"""Comparison of Kintsugi's engine with ALFWorld's engine, TextWorld, on random games."""
