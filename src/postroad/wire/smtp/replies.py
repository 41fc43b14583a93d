"""What an SMTP server says on its own, as prebuilt values (RFC 5321 section 4.2, RFC 3463)."""

from __future__ import annotations

from postroad.vocabulary.envelope import Way
from postroad.vocabulary.reply import reply

# ---- going well ----------------------------------------------------------------------------------

OK = reply(250, "OK", status="2.0.0")
SENDER_OK = reply(250, "Sender OK", status="2.1.0")
RECIPIENT_OK = reply(250, "Recipient OK", status="2.1.5")
GO_AHEAD = reply(354, "End data with <CR><LF>.<CR><LF>")
BYE = reply(221, "Bye", status="2.0.0")
TURNING = reply(250, "OK, now changing roles", status="2.0.0")
READY_FOR_TLS = reply(220, "Ready to start TLS", status="2.0.0")
AUTHENTICATED = reply(235, "Authentication succeeded", status="2.7.0")

# ---- syntax and order ----------------------------------------------------------------------------

UNKNOWN_COMMAND = reply(500, "Command not recognized", status="5.5.2")
BARE_NEWLINE_IN_COMMAND = reply(500, "A lone CR or LF in a command; lines end with CR LF", status="5.5.2")
LINE_TOO_LONG = reply(500, "Command line too long", status="5.5.2")
NOT_IMPLEMENTED = reply(502, "Command not implemented", status="5.5.1")
NO_ARGUMENT_ALLOWED = reply(501, "This command takes no argument", status="5.5.4")
NAME_NEEDED = reply(501, "Say your host name or address literal", status="5.5.4")
SYNTAX_OF_WAY = {way: reply(501, f"Syntax: {way} FROM:<address>", status="5.5.4") for way in Way}
RCPT_SYNTAX = reply(501, "Syntax: RCPT TO:<address>", status="5.5.4")
VRFY_SYNTAX = reply(501, "Syntax: VRFY name", status="5.5.4")
EXPN_SYNTAX = reply(501, "Syntax: EXPN list", status="5.5.4")
ETRN_SYNTAX = reply(501, "Syntax: ETRN domain, @domain or #queue", status="5.5.4")
ATRN_SYNTAX = reply(501, "Syntax: ATRN [domain,domain...]", status="5.5.4")
BDAT_SYNTAX = reply(501, "Syntax: BDAT octets [LAST]; what follows cannot be read, closing", status="5.5.4")
NO_SUCH_TOPIC = reply(504, "No help on that; HELP alone lists the commands", status="5.5.4")
AUTH_SYNTAX = reply(501, "Syntax: AUTH mechanism [initial-response]", status="5.5.4")
OUT_OF_ORDER = reply(503, "Bad sequence of commands", status="5.5.1")
EHLO_FIRST = reply(503, "Send EHLO first", status="5.5.1")
NESTED_MAIL = reply(503, "A sender was already given; RSET to begin again", status="5.5.1")
MAIL_FIRST = reply(503, "Send MAIL first", status="5.5.1")
NO_VALID_RECIPIENTS = reply(554, "No valid recipients", status="5.5.1")
RCPT_FIRST = reply(503, "No recipient was accepted", status="5.5.1")
CHUNKS_FOLLOW = reply(503, "The content comes by BDAT; go on with BDAT, or RSET", status="5.5.1")
BINARY_BY_CHUNKS = reply(503, "BODY=BINARYMIME goes by BDAT only", status="5.5.1")
LHLO_ONLY = reply(500, "This is LMTP: say LHLO", status="5.5.1")
NOT_LMTP = reply(500, "This is SMTP: say EHLO", status="5.5.1")
SPOKEN_AFTER_TURN = reply(503, "Commands came behind the one that changes the roles", status="5.5.1")
NOT_WAITED_FOR_DATA = reply(503, "Content was sent after DATA was refused; begin again", status="5.5.1")
SPOKEN_TOO_EARLY = reply(554, "You spoke before the greeting", status="5.5.1")
NOT_SMTP = reply(554, "This is a mail server; it speaks SMTP", status="5.5.1")

# ---- limits --------------------------------------------------------------------------------------

TOO_MANY_ERRORS = reply(421, "Too many errors, closing", status="4.7.0")
TOO_MANY_WITHOUT_MAIL = reply(421, "Too many commands without any mail, closing", status="4.7.0")
ENDLESS_LINE = reply(421, "Endless command line, closing", status="4.7.0")
TOO_MANY_MESSAGES = reply(421, "Too many messages in this session, open a new one", status="4.7.0")
TOO_MANY_RECIPIENTS = reply(452, "Too many recipients in one transaction", status="4.5.3")
TOO_LARGE = reply(552, "The message is larger than this server takes", status="5.3.4")
TOO_MANY_CHUNKS = reply(421, "Too many chunks in one message, closing", status="4.7.0")
TIMED_OUT = reply(421, "Waited too long for you, closing", status="4.4.2")

# ---- content -------------------------------------------------------------------------------------

BARE_NEWLINE_IN_CONTENT = reply(550, "A bare CR or LF in the content; lines end with CR LF", status="5.6.0")
NUL_IN_CONTENT = reply(550, "A NUL octet in the content", status="5.6.0")
CONTENT_LINE_TOO_LONG = reply(554, "A line of the content is longer than 998 octets", status="5.6.0")

# ---- TLS and AUTH --------------------------------------------------------------------------------

TLS_ALREADY = reply(503, "TLS is already in use", status="5.5.1")
PLAINTEXT_AFTER_STARTTLS = reply(554, "Octets came in clear behind STARTTLS", status="5.5.1")
TLS_FIRST = reply(530, "Send STARTTLS first", status="5.7.0")
AUTH_REQUIRED = reply(530, "Authentication required", status="5.7.0")
# RFC 4954 section 6 makes 538 historic; what is not announced in clear is simply not a mechanism there.
MECHANISM_UNKNOWN = reply(504, "Authentication mechanism not available here", status="5.5.4")
AUTH_ALREADY = reply(503, "Already authenticated", status="5.5.1")
NO_INITIAL_RESPONSE = reply(501, "This mechanism begins with our challenge", status="5.7.0")
AUTH_IN_TRANSACTION = reply(503, "No authentication inside a mail transaction", status="5.5.1")
AUTH_CANCELLED = reply(501, "Authentication cancelled", status="5.7.0")
BAD_BASE64 = reply(501, "Not valid base64", status="5.5.2")
AUTH_LINE_TOO_LONG = reply(500, "Authentication line too long", status="5.5.6")
BAD_CREDENTIALS = reply(535, "Authentication credentials invalid", status="5.7.8")
