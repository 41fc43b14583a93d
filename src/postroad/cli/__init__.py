"""The command line over services/operations."""
