"""Drift as one HTML file."""
