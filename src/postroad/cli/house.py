"""What the commands need of the rest: the entry module gives it, the commands only call it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Protocol

from postroad.services.operations.performer import PlainObject


class House(Protocol):
    """The system behind the commands. Everything here is ordinary blocking code that runs its own loop.

    Raises OperationFailed with an exit status, ConfigurationError is turned into one with status 2."""

    def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        """Ask the running server, or do it here where it is stopped."""
        ...

    def submit(
        self, sender: str, recipients: tuple[str, ...], content: bytes, release_at: datetime | None = None
    ) -> PlainObject:
        """Hand a message in over the local socket, to go no sooner than `release_at`. Gives {"queue_id", "sender",
        "refused": [{"recipient", "reply"}]}. With an empty `sender` the caller's own address is used."""
        ...

    def local_address(self) -> str:
        """user@hostname of whoever runs the command."""
        ...

    def serve(self, *, single_process: bool, development: Path | None, debug: bool) -> int: ...

    def initialise(self, folder: Path, domain: str, hostname: str, password: str) -> list[str]:
        """Returns the lines to print."""
        ...

    def check(self) -> list[PlainObject]:
        """{"what", "ok", "finding", "cure"} each."""
        ...

    def deep_check(self, progress: Callable[[int, int, str], None]) -> list[PlainObject]:
        """The same of every database and all content. `progress` is told how many of how many, and which is next."""
        ...

    def effective(self, *, defaults: bool) -> list[PlainObject]:
        """{"key", "value", "source"} each."""
        ...

    def demo(self, say: Callable[[str], None], tell: Callable[[PlainObject], Iterable[str]]) -> int:
        """`tell` puts a step of a story into words. The exit status."""
        ...

    def backup(self, target: Path, since: Path | None, with_keys: bool, progress: Callable[[str], None]) -> PlainObject:
        """{"backup", "files", "size_bytes", "new_bytes", "missing"}. `progress` is told what is copied next."""
        ...

    def restore(self, source: Path, folder: Path | None) -> PlainObject:
        """The whole backup, into a folder of its own. {"restored_to", "files", "made_at", "hostname", "missing"}."""
        ...

    def restore_mail(
        self, source: Path, account: str, queue_id: str, progress: Callable[[int, int], None]
    ) -> list[PlainObject]:
        """{"address", "restored", "present", "made_account"} each. `progress` is told how many of how many."""
        ...

    def import_mail(self, given: PlainObject, progress: Callable[[int, int, int], None]) -> PlainObject:
        """`given`: "address", "path", "format", "folder", "over_quota", "again". {"address", "imported", "present",
        "size_bytes", "unreadable", "problems": [{"where", "reason"}], "over_quota", "too_many"}. `progress` is told how
        many octets of how many, and the messages so far."""
        ...

    def export_mail(self, given: PlainObject, progress: Callable[[int, int], None]) -> PlainObject:
        """`given`: "address", "path", "format", "folder", "by", "reason". {"address", "messages", "size_bytes", "path",
        "format"}. `progress` is told how many messages of how many."""
        ...

    def bench(self, what: str, against: str, messages: int, sessions: int) -> list[PlainObject]:
        """{"what", "server", "per_second", "cpu_ms", "counted", "note"} each; what was not measured is None."""
        ...
