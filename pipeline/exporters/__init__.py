"""The prepared catalogue and its embeddings → other formats: `python -m pipeline.exporters.<format>
<folder>`, one module a format: `mmrec pyg recbole`. `prepared.py` is what all read.
"""
