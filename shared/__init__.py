"""The domain: one folder per subject, and the few things all of it needs."""
