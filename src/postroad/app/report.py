"""What the server as a whole has to say to `status`, whether it is many processes or one."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from postroad import __version__
from postroad.app.configuration import Configuration
from postroad.app.listening import Door
from postroad.services.operations.performer import PlainObject


class ServerReport:
    """Counts from the moment it is made."""

    def __init__(self, doors: tuple[Door, ...]) -> None:
        self._doors = doors
        self._started_at = datetime.now(UTC)

    def of(self, configuration: Configuration) -> PlainObject:
        return {
            "process": "supervisor",
            "pid": os.getpid(),
            "version": __version__,
            "hostname": configuration.hostname,
            "configuration": str(configuration.path),
            "data": str(configuration.data_folder),
            "started_at": self._started_at.isoformat(timespec="seconds"),
            "uptime_s": int((datetime.now(UTC) - self._started_at).total_seconds()),
            "listeners": [{"role": door.role.value, "address": door.address} for door in self._doors],
        }
