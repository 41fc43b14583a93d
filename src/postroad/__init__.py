"""Postroad: a complete internet mail system."""

__version__ = "0.1.0"
