"""Where facts become durable. One folder an implementation, file for file the same."""
