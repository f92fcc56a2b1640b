"""A catalogue on its way: raw tables and features, splits, manifests, embeddings."""
