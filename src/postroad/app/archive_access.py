"""The archive for a command: any process may look into it beside the server that appends to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from postroad.app.configuration import Configuration
from postroad.services.operations.archive import ArchiveOperations
from postroad.services.operations.operator import Operator
from postroad.storage.sqlite.archive_store import SqliteArchive
from postroad.world.clock import SystemClock

ARCHIVE_VERBS = "archive."


@asynccontextmanager
async def open_archive(configuration: Configuration) -> AsyncIterator[SqliteArchive]:
    archive = SqliteArchive(configuration.data_folder / "archive")
    try:
        yield archive
    finally:
        await archive.close()


@asynccontextmanager
async def open_archive_operator(configuration: Configuration) -> AsyncIterator[Operator]:
    async with open_archive(configuration) as archive:
        yield Operator(more=(ArchiveOperations(archive=archive, clock=SystemClock()),))
