"""Other formats → the raw layout: `python -m pipeline.importers.<format> <source> <dataset>`.

One module a format: `amazon elliot lightgcn mmrec movielens recbole`. Each has a function `read`
from a folder in that format to a `RawCatalogue`; `raw_layout.py` writes it. `tables.py` reads
delimited text, and `features.py` finds vectors.
"""
