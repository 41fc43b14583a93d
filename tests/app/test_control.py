"""The control socket and the lines on it: an administrator's verb goes out, its answer comes back whole."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.app.channel import Answer, ChannelBroken, answer_lines, read_line
from postroad.app.control import ControlClient, ControlServer, connect_or_none, peer_uid
from postroad.app.errors import CannotServe
from postroad.app.listening import bind_unix
from postroad.app.spread import Spread
from postroad.services.operations.performer import OperationFailed, PlainObject
from postroad.vocabulary.limits import CONTROL_LINE_BYTES

DEADLINE_S = 20.0


class Echo:
    """Answers with what it was asked, as often as it was asked to."""

    def __init__(self, name: str = "t0", role: str = "transport") -> None:
        self.name = name
        self.role = role

    async def perform(self, verb: str, arguments: PlainObject) -> list[PlainObject]:
        if verb == "queue.absent":
            raise OperationFailed(f"not in {self.name}")
        if verb == "queue.broken" and self.name == "t1":
            raise OperationFailed("the disk is gone", 75)
        if verb == "queue.only" and self.name != arguments["at"]:
            raise OperationFailed(f"not in {self.name}")
        return [{"by": self.name, "verb": verb, **arguments}] * int(arguments.get("times", 1))

    async def close(self) -> None:
        pass


class Complaints:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def unexpected(self, what: str, error: BaseException | None) -> None:
        self.heard.append(f"{what}: {error!r}")


def with_server(folder: Path, play: Callable[[Path], Awaitable[None]]) -> None:
    """Run `play` beside a control server; nothing unexpected may have happened in it."""
    complaints = Complaints()

    async def scene() -> None:
        path = folder / "control.sock"
        async with asyncio.timeout(DEADLINE_S):
            async with ControlServer(Echo(), complaints).serving(bind_unix(path, 0o600)):
                await play(path)

    asyncio.run(scene())
    assert complaints.heard == []


async def connected(path: Path) -> ControlClient:
    client = await connect_or_none(path)
    assert client is not None
    return client


def test_a_verb_is_answered_and_the_connection_goes_on(tmp_path: Path) -> None:
    async def play(path: Path) -> None:
        client = await connected(path)
        assert await client.perform("queue.list", {"domain": "ü.example"}) == [
            {"by": "t0", "verb": "queue.list", "domain": "ü.example"}
        ]
        with pytest.raises(OperationFailed, match="not in t0") as failed:
            await client.perform("queue.absent", {})
        assert failed.value.exit_status == 1
        assert len(await client.perform("queue.list", {})) == 1
        await client.close()

    with_server(tmp_path, play)


def test_an_answer_longer_than_any_line_comes_whole(tmp_path: Path) -> None:
    async def play(path: Path) -> None:
        client = await connected(path)
        rows = await client.perform("queue.list", {"text": "x" * 1000, "times": 20_000})
        assert len(rows) == 20_000
        assert rows[-1]["text"] == "x" * 1000
        await client.close()

    with_server(tmp_path, play)


def test_a_request_longer_than_a_line_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async def play(path: Path) -> None:
        client = await connected(path)
        with pytest.raises(OperationFailed, match="ask for less"):
            await client.perform("queue.list", {"text": "x" * CONTROL_LINE_BYTES})
        await client.close()

    with_server(tmp_path, play)


def test_several_clients_are_served_side_by_side(tmp_path: Path) -> None:
    async def play(path: Path) -> None:
        clients = [await connected(path) for _ in range(10)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.perform("status", {"n": n})) for n, client in enumerate(clients)]
        assert [task.result()[0]["n"] for task in tasks] == list(range(10))
        for client in clients:
            await client.close()

    with_server(tmp_path, play)


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    async def play(path: Path) -> None:
        assert path.stat().st_mode & 0o777 == 0o600

    with_server(tmp_path, play)


@pytest.mark.parametrize(
    "octets",
    [b"hello\n", b"[1]\n", b'{"verb": 1}\n', b"\xff\xfe\n", b"{" * 100_000 + b"\n", b"x" * (CONTROL_LINE_BYTES + 9)],
    ids=["text", "list", "number", "octets", "deep", "long"],
)
def test_what_is_no_request_harms_nobody(tmp_path: Path, octets: bytes) -> None:
    async def play(path: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(octets)
        await writer.drain()
        writer.write_eof()
        said = await reader.read()
        assert said == b"" or b'"error"' in said
        writer.close()
        client = await connected(path)
        assert await client.perform("status", {}) == [{"by": "t0", "verb": "status"}]
        await client.close()

    with_server(tmp_path, play)


def test_without_a_server_there_is_no_client(tmp_path: Path) -> None:
    bind_unix(tmp_path / "stale.sock", 0o600).close()

    async def scene() -> None:
        assert await connect_or_none(tmp_path / "control.sock") is None
        assert await connect_or_none(tmp_path / "stale.sock") is None

    asyncio.run(scene())


def test_a_server_that_goes_away_is_told_as_try_again(tmp_path: Path) -> None:
    async def scene() -> None:
        listening = bind_unix(tmp_path / "control.sock", 0o600)
        listening.setblocking(True)
        client = await connected(tmp_path / "control.sock")
        peer, _ = listening.accept()
        peer.close()
        with pytest.raises(OperationFailed) as failed:
            await client.perform("status", {})
        assert failed.value.exit_status == 75
        await client.close()
        listening.close()

    asyncio.run(scene())


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=3000), max_size=3), max_size=30))
def test_every_answer_survives_its_lines(items: list[PlainObject]) -> None:
    collected = Answer()
    ends = [collected.take(msgspec.json.decode(octets)) for octets in answer_lines(items)]
    assert collected.result == items
    assert ends == [False] * (len(ends) - 1) + [True]


def test_a_line_that_is_cut_off_is_no_line() -> None:
    async def scene() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b'{"verb"')
        reader.feed_eof()
        with pytest.raises(ChannelBroken, match="cut off"):
            await read_line(reader)

    asyncio.run(scene())


def spread(verb: str, arguments: PlainObject) -> list[PlainObject]:
    workers = [Echo("t0"), Echo("t1"), Echo("a0", "access")]
    return asyncio.run(Spread(workers, lambda: {"process": "supervisor"}).perform(verb, arguments))


@pytest.mark.parametrize(
    ("verb", "by"),
    [
        ("queue.list", ["t0", "t1"]),
        ("transport.sessions", ["t0", "t1"]),
        ("transport.pickup", ["t0"]),
        ("watch.poll", ["t0"]),
        ("access.sessions", ["a0"]),
        ("ledger.flush", ["t0", "t1", "a0"]),
        ("account.list", ["a0"]),
    ],
)
def test_a_verb_reaches_the_processes_it_concerns(verb: str, by: list[str]) -> None:
    assert [row["by"] for row in spread(verb, {})] == by


def test_status_is_of_all_processes_and_the_supervisors_first() -> None:
    assert [row.get("process", row.get("by")) for row in spread("status", {})] == ["supervisor", "t0", "t1", "a0"]


def test_what_one_worker_does_not_have_another_may() -> None:
    assert [row["by"] for row in spread("queue.only", {"at": "t1"})] == ["t1"]
    with pytest.raises(OperationFailed, match="not in t0"):
        spread("queue.absent", {})


def test_a_worker_that_cannot_is_not_passed_over() -> None:
    with pytest.raises(OperationFailed, match="the disk is gone") as failed:
        spread("queue.broken", {})
    assert failed.value.exit_status == 75


def test_a_user_who_is_not_ours_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer is this process; the server takes it for the user that the kernel would name."""
    ours = 4711
    monkeypatch.setattr("postroad.app.control.os.geteuid", lambda: ours)
    monkeypatch.setattr("postroad.app.control.peer_uid", lambda peer: ours + 1)

    async def play(path: Path) -> None:
        client = await connected(path)
        with pytest.raises(OperationFailed, match=f"user {ours + 1} may not administer"):
            await client.perform("status", {})
        await client.close()

    with_server(tmp_path, play)


def test_the_kernel_names_the_user_behind_a_socket() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one) == os.geteuid()


def test_a_socket_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="choose a shorter"):
        bind_unix(tmp_path / ("x" * 120), 0o600)
