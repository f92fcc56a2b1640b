"""The DVC stages, one module each: the only code that knows paths, ids and files."""
