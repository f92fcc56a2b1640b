"""The page that `pipeline.browse` serves: users, items and new items, and what systems make of them."""
