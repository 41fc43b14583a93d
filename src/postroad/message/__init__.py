"""The inside of a message: header block, trace fields, delivery notifications. Octets are never re-serialised."""
