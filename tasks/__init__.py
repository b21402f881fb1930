"""One module per queue. A task claims its job, calls the domain, and returns."""
