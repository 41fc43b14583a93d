"""What reply codes and enhanced statuses mean, in plain words, and what to do about them.

Codes: RFC 5321 section 4.2, and what extensions added. Enhanced statuses: RFC 3463, and the registry that RFC 5248 set
up for those that came later. The advice is our own.
"""

from __future__ import annotations

from typing import NamedTuple


class Explanation(NamedTuple):
    meaning: str
    advice: str = ""


CODES: dict[int, Explanation] = {
    211: Explanation("The answer to a question about the state of the server, or its help."),
    214: Explanation("Help, for a person."),
    220: Explanation("The server is ready."),
    221: Explanation("The server says goodbye and closes the connection."),
    235: Explanation("The login is accepted."),
    250: Explanation("Done. After the content of a message: it is now the server's to deliver."),
    251: Explanation("The user is elsewhere; the server forwards the message itself.", "Nothing need be done."),
    252: Explanation(
        "The server will not say whether the address exists, but takes mail for it.",
        "This is the answer to VRFY that most servers give to everybody.",
    ),
    334: Explanation("The login goes on: the server waits for the client's next step."),
    354: Explanation("The server waits for the content of the message, up to a line with a single dot."),
    421: Explanation(
        "The server cannot go on and closes the connection: it is overloaded, is being shut down, or has too many "
        "connections from here.",
        "Postroad comes back later with fewer connections. If it lasts, ask the other side what its limits are.",
    ),
    422: Explanation(
        "The recipient's mailbox is over its quota (not in the standard, but said).", "It is tried again."
    ),
    432: Explanation("The account must change its password before this way of logging in works."),
    450: Explanation(
        "The mailbox is not available for now: it is busy, or the server wants to see the message a second time "
        "(greylisting).",
        "It is tried again by itself. Greylisting ends after some minutes.",
    ),
    451: Explanation(
        "The server has a trouble of its own, or cannot look something up now.",
        "It is tried again by itself. If the reply comes from here, look at the server's log and at its disk.",
    ),
    452: Explanation(
        "The server has no room, or takes no more recipients in this transaction.",
        "The rest is sent in another transaction. If the reply comes from here, look at the disk.",
    ),
    453: Explanation("There is no mail waiting (ATRN), or the system takes no messages.", "Ask again later."),
    454: Explanation("TLS, or the login, is not possible for a moment.", "It is tried again; look at the certificate."),
    455: Explanation("The server cannot take these parameters for now."),
    458: Explanation("The queue for this name cannot be started now (ETRN)."),
    459: Explanation("This name may not be asked for (ETRN)."),
    500: Explanation("The server does not know the command, or the line was too long."),
    501: Explanation("Something is wrong with what follows the command: an address or parameter is not written right."),
    502: Explanation("The server knows the command and does not have it."),
    503: Explanation("The commands came in the wrong order.", "Often RCPT after a MAIL that was refused."),
    504: Explanation("The server does not have this parameter, or this way of logging in."),
    521: Explanation(
        "This host takes no mail at all (RFC 7504).",
        "Check the address and the MX of its domain; it is not tried again.",
    ),
    523: Explanation("The message is larger than the recipient's server takes (not in the standard, but said)."),
    530: Explanation(
        "The server wants a login, or STARTTLS, first.",
        "For a smart host: give a user and password, and TLS, in the configuration.",
    ),
    534: Explanation("This way of logging in is too weak for the server."),
    535: Explanation("The login failed: name or password are wrong, or the account is disabled."),
    538: Explanation("This way of logging in needs TLS first."),
    541: Explanation("The recipient's side refuses the message, mostly as spam (not in the standard, but said)."),
    550: Explanation(
        "The mailbox does not exist, or the server's rules refuse the message.",
        "The words after the code tell which. Check the spelling of the address; for a refusal by a rule, ask the "
        "postmaster of the other side.",
    ),
    551: Explanation("The user is elsewhere; the reply tells where.", "Write to the new address."),
    552: Explanation(
        "More storage is needed than the recipient has, or the message is too large.",
        "Send less, or wait until the mailbox has been emptied.",
    ),
    553: Explanation(
        "The address is not allowed: it is not written right, or the login does not go with it.",
        "Send as an address that belongs to the account.",
    ),
    554: Explanation(
        "The transaction failed. At the beginning of a connection: no service for us here.",
        "Read the words after the code. At the greeting it is mostly a block list that has our address.",
    ),
    555: Explanation("The server does not know a parameter of MAIL or RCPT, or cannot do what it asks."),
    556: Explanation("The domain takes no mail: it says so in the DNS (RFC 7505).", "Check the address."),
}

CLASSES: dict[int, Explanation] = {
    2: Explanation("Success."),
    3: Explanation("Go on: the server waits for more."),
    4: Explanation("A trouble that may pass.", "It is tried again by itself, until `give_up_after` has gone by."),
    5: Explanation("A lasting failure.", "It is not tried again; the sender is told. Something must be changed first."),
}

CODE_SUBJECTS: dict[int, str] = {
    0: "about the command as it was written",
    1: "information",
    2: "about the connection",
    3: "about logging in",
    5: "about the mail system and its mailboxes",
}

SUBJECTS: dict[int, str] = {
    0: "nothing more is told",
    1: "about an address",
    2: "about the recipient's mailbox",
    3: "about the receiving mail system",
    4: "about the network and the way to the server",
    5: "about the conversation between the servers",
    6: "about the content of the message",
    7: "about security or policy",
}

DETAILS: dict[tuple[int, int], Explanation] = {
    (0, 0): Explanation("Nothing more is told than the class.", "Read the words beside it."),
    (1, 0): Explanation("Something about the address is not right."),
    (1, 1): Explanation("There is no such mailbox at this domain.", "Check the part before the @."),
    (1, 2): Explanation("There is no such domain, or it has no server for mail.", "Check the part after the @."),
    (1, 3): Explanation("The recipient's address is not written right."),
    (1, 4): Explanation("The address fits more than one mailbox."),
    (1, 5): Explanation("The address is valid."),
    (1, 6): Explanation("The mailbox has moved and no new address is known.", "Ask the person for the new address."),
    (1, 7): Explanation("The sender's address is not written right."),
    (1, 8): Explanation(
        "The sender's domain cannot be found, or cannot receive mail.",
        "Give the sender's domain an MX or an address in the DNS.",
    ),
    (1, 9): Explanation("The message was handed to a system that gives no reports."),
    (1, 10): Explanation("The recipient's domain says in the DNS that it takes no mail.", "Check the address."),
    (2, 0): Explanation("Something about the mailbox is not right."),
    (2, 1): Explanation("The mailbox is disabled."),
    (2, 2): Explanation("The mailbox is full.", "Wait, or tell the person in another way."),
    (2, 3): Explanation("The message is larger than this mailbox takes.", "Send it smaller, or in another way."),
    (2, 4): Explanation("A mailing list could not be expanded."),
    (3, 0): Explanation("Something about the receiving system is not right."),
    (3, 1): Explanation("The receiving system has no room.", "It is tried again. If it is ours: free the disk."),
    (3, 2): Explanation("The system takes no mail just now."),
    (3, 3): Explanation("The system does not have what the message asks for."),
    (3, 4): Explanation("The message is larger than the system takes.", "Send it smaller, or in another way."),
    (3, 5): Explanation("The system is not set up right.", "Tell its postmaster."),
    (3, 6): Explanation("The priority that was asked for was changed."),
    (4, 0): Explanation("Something about the network is not right."),
    (4, 1): Explanation(
        "No server of the destination answers.", "Check the address. It is tried again until the time is up."
    ),
    (4, 2): Explanation("The connection broke, or could not be used."),
    (4, 3): Explanation(
        "A directory or name server did not answer.", "It is tried again. Check `[dns] servers` if it goes on."
    ),
    (4, 4): Explanation(
        "No way to the destination is known: it has no usable MX.", "Check the domain's MX in the DNS."
    ),
    (4, 5): Explanation("The system is too busy.", "It is tried again, with fewer connections."),
    (4, 6): Explanation("The message goes round in a loop.", "Look at the Received fields; mend the forwarding."),
    (4, 7): Explanation(
        "The time in which it was to be delivered is over.",
        "The last reply before it tells why it could not be delivered: postroad trace.",
    ),
    (5, 0): Explanation("Something about the conversation is not right."),
    (5, 1): Explanation("A command came out of order, or is not known."),
    (5, 2): Explanation("A command was not written right."),
    (5, 3): Explanation("There are too many recipients for one transaction.", "The rest is sent in the next one."),
    (5, 4): Explanation("A parameter of a command cannot be taken."),
    (5, 5): Explanation("The two sides speak different versions."),
    (5, 6): Explanation("The line of a login is too long."),
    (6, 0): Explanation("Something about the content is not right."),
    (6, 1): Explanation("The content's kind is not taken by the recipient's system."),
    (6, 2): Explanation("The content would have to be converted, and must not be."),
    (6, 3): Explanation(
        "The content would have to be converted, and cannot be.", "Send it in another form: plain 7-bit."
    ),
    (6, 4): Explanation("The content was converted and lost something by it."),
    (6, 5): Explanation("The conversion failed."),
    (6, 6): Explanation("The content of the message is not available."),
    (6, 7): Explanation("The address is not ASCII, and the next server does not take that.", "Use an ASCII address."),
    (6, 8): Explanation("The reply would have to hold an address that is not ASCII."),
    (6, 9): Explanation("The header is not ASCII, and the next server does not take that."),
    (7, 0): Explanation("Something about security or policy is not right."),
    (7, 1): Explanation(
        "The rules of the server refuse the message.",
        "The words beside it tell why: a block list, no reverse DNS, no login. Ask its postmaster.",
    ),
    (7, 2): Explanation("The sender may not write to this mailing list."),
    (7, 3): Explanation("The message would have to be made less secure, and must not be."),
    (7, 4): Explanation("The security that is asked for is not supported."),
    (7, 5): Explanation("A cryptographic step failed."),
    (7, 6): Explanation("The cryptographic method is not supported."),
    (7, 7): Explanation("The content was changed on the way."),
    (7, 8): Explanation("The login failed: name or password are wrong."),
    (7, 9): Explanation("This way of logging in is too weak."),
    (7, 10): Explanation("Encryption is needed."),
    (7, 11): Explanation("This way of logging in needs TLS first."),
    (7, 12): Explanation("The password must be changed first."),
    (7, 13): Explanation("The account is disabled.", "Ask its administrator."),
    (7, 14): Explanation("A relationship of trust between the servers is needed."),
    (7, 15): Explanation("The priority is too low for the server now."),
    (7, 16): Explanation("The message is too large for its priority."),
    (7, 17): Explanation("The mailbox has had another owner since the time that was given."),
    (7, 18): Explanation("The domain has had another owner since the time that was given."),
    (7, 19): Explanation("Whether the mailbox has the same owner cannot be said."),
    (7, 20): Explanation("No DKIM signature passes.", "Sign outgoing mail for the sender's domain."),
    (7, 21): Explanation("No DKIM signature that would be accepted passes."),
    (7, 22): Explanation("No DKIM signature is that of the author's domain."),
    (7, 23): Explanation(
        "SPF says that this server may not send for the domain.", "Add it to the domain's SPF record."
    ),
    (7, 24): Explanation("SPF could not be evaluated: the record has a mistake.", "Mend the domain's SPF record."),
    (7, 25): Explanation(
        "The address we connect from has no name that leads back to it.", "Set up reverse DNS for the sending address."
    ),
    (7, 26): Explanation("Several checks of the sender failed together.", "Look at SPF, DKIM and reverse DNS."),
    (7, 27): Explanation("The sender's domain says that it takes no mail, so nothing is taken from it."),
    (7, 28): Explanation("Too much mail at once.", "It is tried again, more slowly."),
    (7, 29): Explanation("The ARC chain is broken."),
    (7, 30): Explanation(
        "The message may only go over TLS all the way, and the next server cannot promise it (REQUIRETLS).",
        "Send it without REQUIRETLS, or in another way.",
    ),
}
