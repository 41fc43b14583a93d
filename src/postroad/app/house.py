"""What the commands call: each request of the command line, carried out with the parts of this room.

Everything here blocks and runs its own loop. Parts are imported when a command needs them.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from postroad.app.errors import CannotServe, ConfigurationError
from postroad.app.location import find_configuration
from postroad.services.operations.performer import OperationFailed, PlainObject

if TYPE_CHECKING:
    from postroad.app.configuration import Configuration


class TheHouse:
    """`named` is the file of --config."""

    def __init__(self, named: Path | None) -> None:
        self._named = named

    @property
    def path(self) -> Path:
        """Where the configuration is. Raises OperationFailed."""
        try:
            return find_configuration(self._named)
        except ConfigurationError as error:
            raise OperationFailed(str(error), error.exit_status) from None

    @cached_property
    def configuration(self) -> Configuration:
        """Raises OperationFailed with every mistake."""
        from postroad.app.configuration import load

        try:
            return load(self.path)
        except ConfigurationError as error:
            raise OperationFailed(str(error), error.exit_status) from None

    def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        from postroad.app.quick import ask_the_server

        answer = ask_the_server(self.path, verb, arguments)
        if answer is not None:
            return answer
        from postroad.app.console import perform_here

        return perform_here(self.configuration, (verb, arguments))[0]

    def submit(
        self, sender: str, recipients: tuple[str, ...], content: bytes, release_at: datetime | None = None
    ) -> PlainObject:
        """With an empty `sender` the caller's own address is used."""
        from postroad.app.submission import submit

        configuration = self.configuration
        sender = sender or self.local_address()
        return submit(configuration.submit_socket, configuration.hostname, sender, recipients, content, release_at)

    def local_address(self) -> str:
        uid = os.getuid()
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            raise OperationFailed(f"user {uid} has no name on this machine; give a sender", 67) from None
        return f"{name}@{self.configuration.hostname}"

    def serve(self, *, single_process: bool, development: Path | None, debug: bool) -> int:
        from postroad.app.serving import serve

        if development is None:
            return serve(self.path, single_process=single_process, debug=debug)
        from postroad.app.development import make_development, welcome

        try:
            path, passwords = make_development(development)
        except (ConfigurationError, CannotServe) as error:
            raise OperationFailed(str(error), error.exit_status) from None

        def say() -> None:
            print("\n".join(welcome(path, passwords)), file=sys.stdout, flush=True)

        return serve(path, single_process=single_process, debug=debug, started=say)

    def initialise(self, folder: Path, domain: str, hostname: str, password: str) -> list[str]:
        from postroad.app.initialise import initialise

        return initialise(folder, domain, hostname, password)

    def check(self) -> list[PlainObject]:
        from postroad.app.check import check, plain

        return plain(check(self.configuration))

    def deep_check(self, progress: Callable[[int, int, str], None]) -> list[PlainObject]:
        from postroad.app.check import plain
        from postroad.app.deep_check import deep_check

        return plain(deep_check(self.configuration, progress))

    def effective(self, *, defaults: bool) -> list[PlainObject]:
        from postroad.app.effective import DEFAULT, effective

        return [
            {"key": key, "value": value, "source": source}
            for key, value, source in effective(self.configuration)
            if defaults or source != DEFAULT
        ]

    def demo(self, say: Callable[[str], None], tell: Callable[[PlainObject], Iterable[str]]) -> int:
        from postroad.app.demo import demo

        return demo(say, tell)

    def backup(self, target: Path, since: Path | None, with_keys: bool, progress: Callable[[str], None]) -> PlainObject:
        from postroad.app.backup import backup

        return backup(self.configuration, target, since=since, with_keys=with_keys, progress=progress)

    def restore(self, source: Path, folder: Path | None) -> PlainObject:
        """Without a configuration there may yet be a backup that holds one."""
        from postroad.app.backup import restore_whole

        try:
            find_configuration(self._named)
            configuration = self.configuration
        except ConfigurationError:
            configuration = None
        if folder is None:
            if configuration is None:
                raise OperationFailed("there is no configuration here; say with --to where the data is to go", 2)
            folder = configuration.data_folder.with_name(f"{configuration.data_folder.name}.restored")
        return restore_whole(configuration, source, folder)

    def restore_mail(
        self, source: Path, account: str, queue_id: str, progress: Callable[[int, int], None]
    ) -> list[PlainObject]:
        from postroad.app.backup import restore_mail

        return restore_mail(self.configuration, source, account=account, queue_id=queue_id, progress=progress)

    def import_mail(self, given: PlainObject, progress: Callable[[int, int, int], None]) -> PlainObject:
        from postroad.app.mail_transfer import import_mail

        return import_mail(self.configuration, given, progress)

    def export_mail(self, given: PlainObject, progress: Callable[[int, int], None]) -> PlainObject:
        from postroad.app.mail_transfer import export_mail

        return export_mail(self.configuration, given, progress)

    def bench(self, what: str, against: str, messages: int, sessions: int) -> list[PlainObject]:
        from postroad.app.bench import bench

        return bench(what, against, messages, sessions)
