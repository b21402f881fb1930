"""`mlops experiment ...` and `mlops run ...`."""
