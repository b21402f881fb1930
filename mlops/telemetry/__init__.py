"""What `MetricsCollector` is made of: from a call in somebody's thread to a stored batch."""
