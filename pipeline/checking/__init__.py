"""What `check` measures."""
