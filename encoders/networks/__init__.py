"""Networks that are written here, with the names of published files."""
