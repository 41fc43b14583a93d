"""What HELP says of each command (RFC 5321 section 4.1.1.8): for people who speak SMTP by hand."""

from __future__ import annotations

from postroad.wire.smtp.transitions import Verb

HELP_TEXTS: dict[Verb, tuple[str, ...]] = {
    Verb.HELO: ("HELO host", "Says who you are, without extensions."),
    Verb.EHLO: ("EHLO host", "Says who you are, and asks what this server can do."),
    Verb.LHLO: ("LHLO host", "Says who you are; this port speaks LMTP."),
    Verb.MAIL: (
        "MAIL FROM:<address> [parameters]",
        "Begins a message. The address gets the bounces; <> means nobody.",
    ),
    Verb.SEND: ("SEND FROM:<address> [parameters]", "Begins a message for the terminals of its recipients."),
    Verb.SOML: (
        "SOML FROM:<address> [parameters]",
        "Begins a message for terminals, or mailboxes where there is none.",
    ),
    Verb.SAML: ("SAML FROM:<address> [parameters]", "Begins a message for terminals and mailboxes."),
    Verb.RCPT: ("RCPT TO:<address> [parameters]", "Names one recipient of the message."),
    Verb.DATA: ("DATA", "Sends the message; a line with nothing but a dot ends it."),
    Verb.BDAT: ("BDAT octets [LAST]", "Sends so many octets of the message, which follow at once."),
    Verb.RSET: ("RSET", "Forgets the message that was begun."),
    Verb.NOOP: ("NOOP", "Does nothing."),
    Verb.VRFY: ("VRFY name", "Asks whose mailbox this is. Who may ask is up to the postmaster."),
    Verb.EXPN: ("EXPN list", "Asks who is on a list. Who may ask is up to the postmaster."),
    Verb.HELP: ("HELP [command]", "Lists the commands, or explains one."),
    Verb.QUIT: ("QUIT", "Ends the session."),
    Verb.STARTTLS: ("STARTTLS", "Goes on inside TLS; say EHLO again then."),
    Verb.AUTH: ("AUTH mechanism [initial-response]", "Proves who you are. EHLO lists the mechanisms."),
    Verb.ETRN: ("ETRN domain", "Asks for the mail that waits here for a domain to be sent to it now."),
    Verb.ATRN: ("ATRN [domain,domain...]", "Changes roles: this server sends you what waits for your domains."),
    Verb.TURN: ("TURN", "Changes roles: this server sends you what waits for you."),
    Verb.XCLIENT: ("XCLIENT name=value...", "Says whose connection you pass on."),
}
