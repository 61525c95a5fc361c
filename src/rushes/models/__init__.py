"""One adapter for each model family, behind the protocol in `base.py`."""
