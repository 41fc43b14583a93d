"""The targets by name, each with inputs to begin from and words that occur in such inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fuzz import content, lines, mime, notification, pop3_server, smtp_client, smtp_server


@dataclass(frozen=True)
class Target:
    check: Callable[[bytes], None]
    """Raises when something does not hold that must."""
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...]


TARGETS = {
    "smtp-server": Target(smtp_server.check, smtp_server.seeds, smtp_server.WORDS),
    "smtp-client": Target(smtp_client.check, smtp_client.seeds, smtp_client.WORDS),
    "pop3-server": Target(pop3_server.check, pop3_server.seeds, pop3_server.WORDS),
    "paths": Target(lines.check_paths, lines.path_seeds, lines.PATH_WORDS),
    "commands": Target(lines.check_commands, lines.command_seeds, lines.COMMAND_WORDS),
    "replies": Target(lines.check_replies, lines.reply_seeds, lines.REPLY_WORDS),
    "content": Target(content.check_reading, content.reading_seeds, content.BODY_WORDS),
    "sending": Target(content.check_sending, content.sending_seeds, content.BODY_WORDS),
    "header": Target(content.check_header, content.header_seeds, content.HEADER_WORDS),
    "structure": Target(mime.check_structure, mime.seeds, mime.WORDS),
    "conversion": Target(mime.check_conversion, mime.seeds, mime.WORDS),
    "notification": Target(notification.check, notification.seeds, notification.WORDS),
}
