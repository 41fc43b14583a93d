"""Protocol machines: octets in, events out. No clock, no socket, no store, no log."""
