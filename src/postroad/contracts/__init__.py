"""What the stores and the world promise: `typing.Protocol` classes and the errors they raise, no code."""
