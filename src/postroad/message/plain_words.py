"""What an enhanced status means to somebody who only wanted to send a mail (RFC 3463 section 3)."""

from __future__ import annotations

from typing import NamedTuple

from postroad.vocabulary.enhanced_status import EnhancedStatus


class Explanation(NamedTuple):
    """`what` happened, as a sentence; `advice`: what the sender can do about it, as one or more sentences."""

    what: str
    advice: str


_ASK = "If it matters, reach the person another way and tell them about this message."
_SPELLING = "Check the spelling of the address and send the message again."
_OPERATOR = "Show this message to the people who run your mail system."
_THEIR_OPERATOR = "Only the people who run the recipient's mail system can change that. " + _ASK
_LATER = "Try again later. " + _ASK
_POLICY = (
    "Often the reason is the content, or the reputation of the sending system. If you think it is a mistake, show this "
    "message to the people who run your mail system."
)

# (subject, detail) of RFC 3463 section 3; RFC 4954 section 6, RFC 7372 section 3, RFC 7505 section 4.
_MEANINGS: dict[tuple[int, int], Explanation] = {
    (1, 0): Explanation("Something is wrong with the address.", _SPELLING),
    (1, 1): Explanation("There is no mailbox with that name.", _SPELLING),
    (1, 2): Explanation("The domain after the @ does not exist or takes no mail.", _SPELLING),
    (1, 3): Explanation("The address is not written as an address must be.", _SPELLING),
    (1, 4): Explanation("The address fits more than one mailbox.", "Ask the recipient for the exact address."),
    (1, 6): Explanation("The mailbox has moved and left no new address.", "Ask the recipient for the new address."),
    (1, 7): Explanation("The recipient's system does not accept your own address as a sender's.", _OPERATOR),
    (1, 8): Explanation("The domain of your own address cannot be found or takes no mail.", _OPERATOR),
    (1, 10): Explanation("The domain says that it takes no mail at all.", _SPELLING),
    (2, 0): Explanation("Something is wrong with the mailbox.", _ASK),
    (2, 1): Explanation("The mailbox is switched off.", _ASK),
    (2, 2): Explanation("The mailbox is full.", "Try again when the recipient has made room. " + _ASK),
    (2, 3): Explanation(
        "The message is larger than the mailbox takes.", "Send it without large attachments, or in parts."
    ),
    (2, 4): Explanation("The mailing list behind the address could not be expanded.", _ASK),
    (3, 0): Explanation("The recipient's mail system has a problem of its own.", _LATER),
    (3, 1): Explanation("The recipient's mail system has no room left.", _LATER),
    (3, 2): Explanation("The recipient's mail system takes no messages at the moment.", _LATER),
    (3, 3): Explanation("The recipient's mail system lacks something that this message needs.", _OPERATOR),
    (3, 4): Explanation(
        "The message is larger than the recipient's system takes.", "Send it without large attachments, or in parts."
    ),
    (3, 5): Explanation("A mail system on the way is not set up rightly.", _OPERATOR),
    (4, 0): Explanation("There was a problem with the network or the way to the recipient.", _LATER),
    (4, 1): Explanation("The recipient's mail system did not answer.", _LATER),
    (4, 2): Explanation("The connection to the recipient's mail system broke.", _LATER),
    (4, 3): Explanation("The directory that knows the way could not be asked.", _LATER),
    (4, 4): Explanation("No way to the recipient's domain is known.", _SPELLING),
    (4, 5): Explanation("The mail systems on the way are too busy.", _LATER),
    (4, 6): Explanation("The message was going round in circles.", _OPERATOR),
    (4, 7): Explanation("The message could not be delivered in all the time there was for it.", _LATER),
    (5, 0): Explanation("The two mail systems did not understand each other.", _OPERATOR),
    (5, 1): Explanation("The two mail systems did not understand each other.", _OPERATOR),
    (5, 2): Explanation("The two mail systems did not understand each other.", _OPERATOR),
    (5, 3): Explanation("The message has too many recipients.", "Send it to fewer at a time."),
    (5, 4): Explanation("The two mail systems did not understand each other.", _OPERATOR),
    (6, 0): Explanation("The content of the message cannot be carried.", _OPERATOR),
    (6, 1): Explanation("The recipient's system does not take this kind of content.", _ASK),
    (6, 2): Explanation("The message would have to be converted, and that is not allowed.", _OPERATOR),
    (6, 3): Explanation(
        "The recipient's system cannot take the message in the form it has, and converting it would break it.",
        "Send it in a plainer form, such as without special characters or without a signature.",
    ),
    (6, 7): Explanation(
        "An address with letters beyond plain English ones is in use, and a system on the way cannot handle that.",
        "Use an address in plain letters, yours or the recipient's, if there is one.",
    ),
    (7, 0): Explanation("The recipient's system refuses this message by its rules.", _POLICY),
    (7, 1): Explanation("The recipient's system refuses this message by its rules.", _POLICY),
    (7, 2): Explanation("You may not send to this mailing list.", "Ask those who run the list."),
    (7, 5): Explanation("The encryption that was asked for is not to be had.", _OPERATOR),
    (7, 4): Explanation("A kind of protection that the message asks for is not supported on the way.", _OPERATOR),
    (7, 8): Explanation("The name or password that the mail system used was refused.", _OPERATOR),
    (7, 10): Explanation("Encryption is needed on the way and was not to be had.", _OPERATOR),
    (7, 20): Explanation("The signature of your domain on the message was missing or wrong.", _OPERATOR),
    (7, 23): Explanation("Your domain does not allow mail to be sent from where this came from.", _OPERATOR),
    (7, 25): Explanation("The name of the sending system could not be confirmed.", _OPERATOR),
    (7, 26): Explanation("The message could not be shown to come from the domain it names.", _OPERATOR),
    (7, 27): Explanation("The domain of your own address says that it takes no mail.", _OPERATOR),
    (7, 28): Explanation("The recipient's system takes no more mail of this kind for now.", _LATER),
    (7, 30): Explanation(
        "You asked for encryption all the way to the recipient, and it cannot be had.",
        "Send the message again without asking for that, if it may travel unprotected. " + _ASK,
    ),
}

# What is said when only the subject is known (RFC 3463 section 4).
_SUBJECTS: dict[int, Explanation] = {
    1: _MEANINGS[1, 0],
    2: _MEANINGS[2, 0],
    3: _MEANINGS[3, 0],
    4: _MEANINGS[4, 0],
    5: _MEANINGS[5, 0],
    6: _MEANINGS[6, 0],
    7: _MEANINGS[7, 0],
}
_UNKNOWN = Explanation("The recipient's system did not say why in a way we know.", _THEIR_OPERATOR)


def explain(status: EnhancedStatus) -> Explanation:
    """The plain words for a status; a more general one when the detail is not known."""
    known = _MEANINGS.get((status.subject, status.detail))
    return known or _SUBJECTS.get(status.subject, _UNKNOWN)
