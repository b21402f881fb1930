"""What to do about costs: ranked, each piece with its saving and its evidence."""
