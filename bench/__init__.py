"""Measured rates beside a peer's and the machine's limits, in the same run: `python -m bench`."""
