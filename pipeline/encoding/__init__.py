"""What the stage `encode` runs: from a modality's manifest to its vectors and their files."""
