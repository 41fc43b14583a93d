"""One place for a worker process: somebody always stands in it, on the same sockets.

A worker that dies is replaced after a wait that doubles; one that is told to stop finishes its conversations
and goes, and where a reload asked for it the next starts at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime

from postroad.app.channel import Answer, ChannelBroken, Line, line, read_line
from postroad.app.configuration import Configuration
from postroad.app.errors import TRY_AGAIN, CannotServe
from postroad.app.lending import Lending, Words
from postroad.app.speaking import Speaker
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import (
    CHANNEL_BUFFER_BYTES,
    CHANNEL_WORDS,
    CONTROL_ANSWER_S,
    CONTROL_LINE_BYTES,
    STOP_GRACE_S,
    STOP_MARGIN_S,
    WORKER_RESTART_S,
    WORKER_START_S,
    WORKER_STEADY_S,
)
from postroad.vocabulary.listener import ListenerRole

_ENDED = "the process ended while it was asked; try again"


@dataclass(frozen=True)
class Post:
    """What a worker is for: its name in reports and ledger files, the shards it owns, the doors it serves."""

    name: str
    role: str
    """ "transport" or "access"."""
    shards: tuple[int, ...]
    doors: tuple[tuple[ListenerRole, socket.socket], ...]


class WorkerProcess:
    """A running worker and the channel to it. `limits` takes its words about limits."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        writer: asyncio.StreamWriter,
        limits: Callable[[Words], None] = lambda _: None,
    ) -> None:
        self.process = process
        self._limits = limits
        self.started_at = datetime.now(UTC)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._writer = writer
        self._asked: dict[int, tuple[Answer, asyncio.Future[list[PlainObject]]]] = {}
        self._last = 0

    def order(self, content: Line) -> None:
        if not self._writer.is_closing():
            self._writer.write(line(content))

    def tell_limits(self, words: Words, needed: bool) -> None:
        """Words about limits; those that are not `needed` are dropped where the worker does not read."""
        if needed or self._writer.transport.get_write_buffer_size() < CHANNEL_BUFFER_BYTES:
            for content in limit_lines(words):
                self.order(content)

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        if self._writer.is_closing():  # it is dead, and only not yet known to be
            raise OperationFailed(_ENDED, TRY_AGAIN)
        self._last += 1
        number = self._last
        future: asyncio.Future[list[PlainObject]] = asyncio.get_running_loop().create_future()
        self._asked[number] = (Answer(), future)
        try:
            self.order({"id": number, "verb": verb, "arguments": arguments})
            async with asyncio.timeout(CONTROL_ANSWER_S):
                return await future
        except TimeoutError:
            raise OperationFailed(f"no answer within {CONTROL_ANSWER_S:g} s; try again", TRY_AGAIN) from None
        finally:
            del self._asked[number]

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take the worker's lines until it has no more to say."""
        try:
            while (content := await read_line(reader)) is not None:
                self._take(content)
        finally:
            self._writer.close()
            if not self.ready.done():
                self.ready.set_exception(CannotServe("it ended before it was ready"))
                self.ready.exception()  # whoever waits gets it; when nobody does that is no error of the loop's
            for _, future in self._asked.values():
                if not future.done():
                    future.set_exception(OperationFailed(_ENDED, TRY_AGAIN))

    def _take(self, content: Line) -> None:
        if "limits" in content:
            self._limits(content["limits"])
            return
        if "ready" in content and not self.ready.done():
            self.ready.set_result(None)
        elif "failed" in content and not self.ready.done():
            self.ready.set_exception(CannotServe(str(content["failed"]), int(content["exit_status"])))
        asked = self._asked.get(content.get("id", 0))
        if asked is not None and not asked[1].done():
            try:
                if asked[0].take(content):
                    asked[1].set_result(asked[0].result)
            except OperationFailed as failed:
                asked[1].set_exception(failed)


def limit_lines(words: Words) -> list[Line]:
    return [{"limits": words[begin : begin + CHANNEL_WORDS]} for begin in range(0, len(words), CHANNEL_WORDS)]


class Slot:
    """Keeps one post manned. `configuration` is what the next worker will get, `lending` what all have in common."""

    def __init__(self, post: Post, configuration: Configuration, speaker: Speaker, lending: Lending) -> None:
        self.post = post
        self.configuration = configuration
        self.restarts = 0
        self.worker: WorkerProcess | None = None
        self._speaker = speaker
        self._lending = lending
        self._stopping = False
        self._hurry = asyncio.Event()
        """Ends the wait before a restart."""
        self._dismissed: WorkerProcess | None = None
        """The worker that a reload has sent home."""
        self._successor: asyncio.Future[bool] | None = None
        """Whether the one after it can serve; the reload waits for it."""
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the first worker is ready, or its CannotServe."""

    @property
    def name(self) -> str:
        return self.post.name

    @property
    def role(self) -> str:
        return self.post.role

    @property
    def manned(self) -> bool:
        worker = self.worker
        return worker is not None and worker.ready.done() and worker.ready.exception() is None

    def facts(self) -> PlainObject:
        worker = self.worker
        return {
            "name": self.post.name,
            "pid": worker.process.pid if worker else None,
            "started_at": worker.started_at.isoformat(timespec="seconds") if worker else None,
            "restarts": self.restarts,
            "ready": self.manned,
        }

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        """Ask the worker. Raises OperationFailed, 75 while there is none."""
        if self.worker is None or not self.manned:
            raise OperationFailed(f"{self.post.name} is being started anew; try again", TRY_AGAIN)
        return await self.worker.perform(verb, arguments)

    async def run(self) -> None:
        """Keep the post manned until `stop`. Returns early if the first worker cannot serve (`first` has why)."""
        loop = asyncio.get_running_loop()
        wait_s, longest_s = WORKER_RESTART_S
        while not self._is_over():
            began = loop.time()
            worker, how = await self._one_life()
            if self._is_over():
                break
            if worker is not None and worker is self._dismissed:
                continue
            if loop.time() - began > WORKER_STEADY_S:
                wait_s = WORKER_RESTART_S[0]
            self.restarts += 1
            self._speaker.say(f"worker {self.post.name} died ({how}); the next one starts in {wait_s:g} s")
            try:
                self._hurry.clear()
                async with asyncio.timeout(wait_s):
                    await self._hurry.wait()
            except TimeoutError:
                wait_s = min(wait_s * 2, longest_s)
        self._succeeded(False)

    def _is_over(self) -> bool:
        return self._stopping or (self.first.done() and self.first.exception() is not None)

    async def _one_life(self) -> tuple[WorkerProcess | None, str]:
        """Start a worker and stay with it to its end. Returns it, if there was one, and how it ended, in words."""
        try:
            worker, reader = await self._spawn()
        except OSError as error:  # too many processes, no memory, no descriptor: the others go on meanwhile
            what = sys.executable if error.filename == sys.executable else "a process"
            self._failed(CannotServe(f"{what} cannot be started: {error.strerror}"))
            return None, "it could not be started"
        self.worker = worker
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._see_it_ready(worker))
                try:
                    await worker.listen(reader)
                except ChannelBroken as broken:
                    self._speaker.say(f"worker {self.post.name}: {broken}")
            return worker, await self._ended(worker)
        finally:
            if worker.process.returncode is None:
                worker.process.kill()
            self.worker = None
            self._lending.died(self.post.name)

    async def _see_it_ready(self, worker: WorkerProcess) -> None:
        try:
            async with asyncio.timeout(WORKER_START_S):
                await asyncio.shield(worker.ready)
        except TimeoutError:
            self._failed(CannotServe(f"worker {self.post.name} was not ready within {WORKER_START_S:g} s"))
            worker.process.kill()
        except CannotServe as error:
            if worker is not self._dismissed:
                self._failed(error)
        else:
            if not self.first.done():
                self.first.set_result(None)
            if worker is not self._dismissed:
                self._succeeded(True)

    def _failed(self, error: CannotServe) -> None:
        if self.first.done():
            self._speaker.say(f"worker {self.post.name} cannot start: {error}")
        else:
            self.first.set_exception(error)
            self.first.exception()  # another slot may have failed before, and nobody asks this one
        self._succeeded(False)

    def _succeeded(self, can_serve: bool) -> None:
        if self._successor is not None and not self._successor.done():
            self._successor.set_result(can_serve)

    async def _spawn(self) -> tuple[WorkerProcess, asyncio.StreamReader]:
        """Raises OSError."""
        ours, theirs = socket.socketpair()
        with ExitStack() as undone:
            undone.callback(ours.close)
            worker, reader = await self._spawn_on(ours, theirs)
            undone.pop_all()
            return worker, reader

    async def _spawn_on(self, ours: socket.socket, theirs: socket.socket) -> tuple[WorkerProcess, asyncio.StreamReader]:
        # In memory: a worker can also be started while every disk is full.
        with theirs, os.fdopen(os.memfd_create("configuration"), "wb") as text:
            text.write(self.configuration.text.encode())
            text.flush()
            descriptors = [theirs.fileno(), text.fileno(), *(door.fileno() for _, door in self.post.doors)]
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "postroad.app.worker", str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                process_group=0,  # Ctrl-C is for the supervisor, which tells the workers
            )
            start = {
                "name": self.post.name,
                "role": self.post.role,
                "shards": self.post.shards,
                "doors": [[role.value, door.fileno()] for role, door in self.post.doors],
                "configuration": text.fileno(),
                "path": str(self.configuration.path),
                "debug": self._speaker.debug,
                "workers": self._lending.workers if self.post.role == "transport" else 1,
            }
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=CONTROL_LINE_BYTES)
            name = self.post.name
            worker = WorkerProcess(process, writer, lambda words: self._lending.heard(name, words))
            first = limit_lines(self._lending.born(name, worker.tell_limits))
            worker.order({"start": {**start, "first_lines": len(first)}})
            for content in first:
                worker.order(content)
            return worker, reader

    async def _ended(self, worker: WorkerProcess) -> str:
        """Its channel is closed: it has STOP_MARGIN_S to be gone."""
        try:
            async with asyncio.timeout(STOP_MARGIN_S):
                status = await worker.process.wait()
        except TimeoutError:
            worker.process.kill()
            status = await worker.process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    async def stop(self) -> None:
        """Let the worker finish its conversations and go; nobody follows."""
        self._stopping = True
        self._hurry.set()
        await self._dismiss()

    async def replace(self, configuration: Configuration) -> bool:
        """The same, and the next worker, with this configuration, starts at once. False if it cannot serve:
        then the former configuration is what later ones get."""
        former, self.configuration = self.configuration, configuration
        self._successor = asyncio.get_running_loop().create_future()
        self._dismissed = self.worker
        self._hurry.set()
        await self._dismiss()
        can_serve = await self._successor
        if not can_serve:
            self.configuration = former
        return can_serve

    async def _dismiss(self) -> None:
        worker = self.worker
        if worker is None:
            return
        worker.order({"stop": True})
        try:
            async with asyncio.timeout(STOP_GRACE_S + STOP_MARGIN_S):
                await worker.process.wait()
        except TimeoutError:
            self._speaker.say(f"worker {self.post.name} does not end; killed")
            worker.process.kill()
            await worker.process.wait()

    def kill(self) -> None:
        """No more patience: the second Ctrl-C."""
        self._stopping = True
        self._hurry.set()
        if self.worker is not None and self.worker.process.returncode is None:
            self.worker.process.kill()
