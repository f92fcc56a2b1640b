"""What a study's per-user values support: differences with their uncertainty, and slices."""
