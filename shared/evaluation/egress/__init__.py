"""The fence around a page under evaluation: where its requests may go, and nowhere else."""
