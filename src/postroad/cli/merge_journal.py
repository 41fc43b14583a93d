"""The journal of a merged run, a file beside the table: nobody gets the letter twice, whatever interrupts the run.

One JSON object a line. A letter is written down, and synced, before it is handed in, and again when it was taken. One
that was begun and of which nothing more is known may have been taken: the ledger tells, by its Message-ID.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

from postroad.services.operations.performer import OperationFailed, PlainObject


class Journal:
    """`letters` is what is known of each address that was begun: "state" is "begun", "taken" or "refused"."""

    def __init__(self, path: Path) -> None:
        """Raises OperationFailed: it cannot be written, is no journal, or another run is at work on it."""
        self.path = path
        self.head: PlainObject = {}
        self.letters: dict[str, PlainObject] = {}
        try:
            self._file = path.open("a+b")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read()
        except BlockingIOError:
            raise OperationFailed(f"{path}: another run is at work on it", 75) from None
        except OSError as error:
            raise OperationFailed(
                f"{path}: {error.strerror}; the journal is what keeps people from getting the letter "
                "twice, so nothing is sent without it",
                73,
            ) from None

    def begin_job(self, fingerprint: str, subject: str) -> None:
        """Raises OperationFailed when the journal is that of another letter."""
        if not self.head:
            head = {"job": secrets.token_hex(8), "letter": fingerprint, "subject": subject, "began_at": _now()}
            self._write(head)
            self.head = head
        elif self.head["letter"] != fingerprint:
            raise OperationFailed(
                f"{self.path} is the journal of another letter ({self.head['subject']!r}, {len(self.letters)} begun). "
                "To go on with that one, run it as it was; to send this one too, to everybody, give it a --journal "
                "of its own",
                1,
            )

    def begin(self, key: str, line: int, address: str, message_id: str) -> None:
        self._note({"key": key, "state": "begun", "line": line, "address": address, "message_id": message_id})

    def taken(self, key: str, queue_id: str) -> None:
        self._note({"key": key, "state": "taken", "queue_id": queue_id}, sync=False)

    def refused(self, key: str, reply: str) -> None:
        self._note({"key": key, "state": "refused", "reply": reply}, sync=False)

    def not_taken(self, key: str) -> None:
        """It is certain that it was not: it may be begun again."""
        self._note({"key": key, "state": "open"}, sync=False)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def _note(self, what: PlainObject, *, sync: bool = True) -> None:
        self._write(what, sync=sync)
        self._take(what)

    def _take(self, what: PlainObject) -> None:
        if what["state"] == "open":
            self.letters.pop(what["key"], None)
        else:
            self.letters[what["key"]] = {**self.letters.get(what["key"], {}), **what}

    def _write(self, what: PlainObject, *, sync: bool = True) -> None:
        self._file.write(json.dumps(what, ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())

    def _read(self) -> None:
        self._file.seek(0)
        octets = self._file.read()
        whole = octets.rpartition(b"\n")[0] + b"\n" if b"\n" in octets else b""
        if whole != octets:
            self._file.truncate(len(whole))  # a line that a crash cut off: what it tells of had not begun
        try:
            for number, line in enumerate(whole.splitlines()):
                what = json.loads(line)
                if number:
                    self._take(what)
                else:
                    self.head = {name: what[name] for name in ("job", "letter", "subject", "began_at")}
        except (ValueError, KeyError, TypeError):
            raise OperationFailed(f"{self.path} is no journal of a merged letter; move it away", 65) from None


def _now() -> str:
    return datetime.now(UTC).isoformat()
