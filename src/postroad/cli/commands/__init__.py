"""One file a command, or a group of commands with one noun."""
