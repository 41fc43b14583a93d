"""Handing a message in over run/submit.sock, as `postroad send` and `postroad sendmail` do (RFC 5321, RFC 6409).

The server knows who asks by the credentials of the socket; no password is needed, and none of the server's
rights. Blocks; one message, one connection.
"""

from __future__ import annotations

import socket
from datetime import datetime
from pathlib import Path

from postroad.app.errors import TRY_AGAIN
from postroad.services.operations.arguments import address
from postroad.services.operations.performer import NotTaken, OperationFailed, PlainObject
from postroad.vocabulary import queue_id
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.envelope import BodyType, Recipient
from postroad.vocabulary.limits import CLIENT_CONNECT_S, READ_BYTES
from postroad.vocabulary.reply import Reply
from postroad.wire.session import Wait
from postroad.wire.smtp.client import ClientSession
from postroad.wire.smtp.client_core import ClientProfile
from postroad.wire.smtp.client_events import Ended, OutgoingTransaction, RecipientAnswered, TlsUse, TransactionEnded

_SERVER_DOWN = "the server is down; nothing was handed in, try again later"


def submit(
    path: Path,
    hostname: str,
    sender: str,
    recipients: tuple[str, ...],
    content: bytes,
    release_at: datetime | None = None,
) -> PlainObject:
    """Hand one message in. `sender` "" is the null reverse-path. With `release_at` it goes no sooner (RFC 4865).

    Returns {"queue_id", "sender", "refused": [{"recipient", "reply"}]}; the id is empty when every recipient was
    refused. Raises OperationFailed: 75 the server is down or wants us to try again, 69 it refused the whole. NotTaken
    when it is certain that nothing was taken."""
    transaction = _transaction(sender, recipients, content, release_at)
    with _connected(path) as connection:
        talk = _Talk(connection, ClientSession(ClientProfile(helo_name=hostname, tls=TlsUse.NEVER)))
        return talk.hand_in(transaction, content)


def _transaction(
    sender: str, recipients: tuple[str, ...], content: bytes, release_at: datetime | None
) -> OutgoingTransaction:
    paths = [address(sender)] if sender else []
    to = tuple(Recipient(address(recipient)) for recipient in recipients)
    if not to:
        raise OperationFailed("no recipient is given", 64)
    header = content.partition(b"\r\n\r\n")[0]
    mailboxes: list[Mailbox] = [*paths, *(recipient.forward_path for recipient in to)]
    return OutgoingTransaction(
        reverse_path=paths[0] if paths else None,
        recipients=to,
        size_bytes=len(content),
        body=BodyType.SEVEN_BIT if content.isascii() else BodyType.EIGHT_BIT_MIME,
        smtputf8=not header.isascii() or not all(mailbox.is_ascii for mailbox in mailboxes),
        hold_until=release_at,
    )


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CLIENT_CONNECT_S)
    try:
        connection.connect(str(path))
    except PermissionError:
        connection.close()
        raise OperationFailed(
            f"{path} cannot be reached by this user; a folder above it is closed to others", 77
        ) from None
    except OSError:
        connection.close()
        raise NotTaken(_SERVER_DOWN, TRY_AGAIN) from None
    return connection


class _Talk:
    """One session over a blocking socket."""

    def __init__(self, connection: socket.socket, session: ClientSession) -> None:
        self._connection = connection
        self._session = session
        self._answers: dict[Recipient, Reply] = {}
        self._end: TransactionEnded | None = None

    def hand_in(self, transaction: OutgoingTransaction, content: bytes) -> PlainObject:
        self._until_ready()
        self._session.begin(transaction, content)
        self._until_ready()
        assert self._end is not None, "an idle session has ended its transaction"
        self._session.quit()
        self._send()
        accepted = set(self._end.accepted) if self._end.reply.is_positive else set()
        if not accepted and all(answer.code < 500 for answer in self._answers.values()):
            # Nobody has it, and no address is to blame: the whole was refused, or is to be tried again.
            raise NotTaken(f"the server says {self._end.reply}", _exit_status(self._end.reply))
        refused = [
            {"recipient": str(recipient.forward_path), "reply": str(self._answers.get(recipient, self._end.reply))}
            for recipient in transaction.recipients
            if recipient not in accepted
        ]
        sender = "" if transaction.reverse_path is None else str(transaction.reverse_path)
        return {"queue_id": _queue_id(self._end.reply) if accepted else "", "sender": sender, "refused": refused}

    def _until_ready(self) -> None:
        """Talk until the session is idle. Raises OperationFailed when it ends instead."""
        while True:
            event = self._session.next_event()
            match event:
                case RecipientAnswered():
                    self._answers[event.recipient] = event.reply
                case TransactionEnded():
                    self._end = event
                case Ended():
                    status = TRY_AGAIN if event.reply is None else _exit_status(event.reply)
                    raise OperationFailed(f"the server did not take it: {event.reply or event.reason}", status)
                case Wait.READY:
                    return
                case Wait.NEED_DATA:
                    self._exchange()
                case _:
                    pass

    def _exchange(self) -> None:
        try:
            self._send()
            self._connection.settimeout(self._session.patience_s)
            self._session.receive_data(self._connection.recv(READ_BYTES))
        except TimeoutError:
            self._session.timed_out()
        except OSError:
            self._session.receive_data(b"")

    def _send(self) -> None:
        octets = self._session.data_to_send()
        if octets:
            self._connection.sendall(octets)


def _exit_status(reply: Reply) -> int:
    return TRY_AGAIN if reply.code < 500 else 69


def _queue_id(reply: Reply) -> str:
    """The id that the 250 carries."""
    for word in " ".join(reply.lines).split():
        try:
            queue_id.to_number(word.strip(".,;"))
        except ValueError:
            continue
        return word.strip(".,;")
    return ""
