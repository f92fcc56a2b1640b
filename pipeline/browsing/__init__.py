"""The page that `pipeline.browse` serves."""
