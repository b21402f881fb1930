"""What may be concluded from the units of an A/B test: estimates, intervals, decisions. Pure."""
