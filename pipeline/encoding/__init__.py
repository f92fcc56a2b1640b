"""From the items of a manifest to their vectors."""
