"""A/B tests: slot tables and assignment."""
