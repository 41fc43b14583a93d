"""POP3 (RFC 1939) as a pure server session."""
