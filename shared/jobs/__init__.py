"""Jobs: the contracts, and the only writer of job state."""
