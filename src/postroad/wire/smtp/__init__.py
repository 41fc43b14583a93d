"""SMTP (RFC 5321) as two pure sessions: the server's side and the client's side."""
