"""What episodes come to: rates, comparisons, rankings, each with its n and its interval."""
