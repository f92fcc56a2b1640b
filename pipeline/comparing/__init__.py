"""What `compare` shows of two versions of the trained model."""
