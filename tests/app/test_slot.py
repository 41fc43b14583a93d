"""A worker as its supervisor sees it."""

from __future__ import annotations

import asyncio
import socket
import sys

import pytest

from postroad.app.slot import WorkerProcess
from postroad.services.operations.performer import OperationFailed
from postroad.vocabulary.limits import CONTROL_ANSWER_S


def test_a_worker_whose_channel_has_ended_is_asked_nothing_more() -> None:
    """Between the end of the channel and the end of the process a question would wait for its whole time."""

    async def ask() -> None:
        ours, theirs = socket.socketpair()
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        worker = WorkerProcess(process, writer)
        theirs.close()
        await worker.listen(reader)
        async with asyncio.timeout(CONTROL_ANSWER_S / 2):
            with pytest.raises(OperationFailed) as failed:
                await worker.perform("status", {})
        assert failed.value.exit_status == 75
        await process.wait()

    asyncio.run(ask())
