"""The real world: clock, chance, TCP, TLS, DNS, password hashing."""
