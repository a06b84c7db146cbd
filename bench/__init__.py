"""Benchmarks: they print and plot, and never fail for being slow."""
