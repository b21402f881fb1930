"""Experiments and their runs: what was tried, with what, and what came of it."""
