"""Other formats → the raw layout, one module a format: `python -m pipeline.importers.<format>`."""
