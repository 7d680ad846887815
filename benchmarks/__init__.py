"""What `make bench` measures: ours against the handler that people write today."""
