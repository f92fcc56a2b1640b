"""What the sample is made of: topics, texts, media, and who likes what."""
