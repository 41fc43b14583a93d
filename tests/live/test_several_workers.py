"""Two workers and more as one server, at real sockets: limits hold over all of them, and none of them is missed."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postroad.vocabulary.limits import AUTH_FAILURES_OF_CLIENT
from tests.support.ports import free_port, pause
from tests.support.server import PASSWORD, Server, running_server
from tests.support.submitters import Submitters, as_a_server, as_a_user, fetched_ids, letter_for
from tests.support.wire import Wire

OF_CLIENT = 6
PER_HOUR = 10
DEADLINE_S = 40.0

pytestmark = pytest.mark.xdist_group("kill")


def eventually(holds: Callable[[], Any], what: str, server: Server) -> Any:
    end = time.monotonic() + DEADLINE_S
    while not (answer := holds()):
        assert time.monotonic() < end, f"still not: {what}\n{server.log()}"
        pause(0.05)
    return answer


def with_workers(server: Server, count: int) -> None:
    text = server.configuration.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("workers = ")]
    where = lines.index("[processes]") + 1
    server.configuration.write_text("\n".join([*lines[:where], f"workers = {count}", *lines[where:], ""]))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of two workers; nobody is exempt from its limits."""
    running = Server(tmp_path_factory.mktemp("several"))
    limits = f"[limits]\nsessions_per_client = {OF_CLIENT}\n[limits.account]\nmessages_per_hour = {PER_HOUR}\n"
    text = running.configuration.read_text()
    assert 'exempt = ["127.0.0.0/8"]\n' in text
    running.configuration.write_text(text.replace('[limits]\nexempt = ["127.0.0.0/8"]\n', limits))
    with_workers(running, 2)
    running.start()
    yield running
    assert "unexpected" not in running.log()
    assert running.stop() == 0


def sessions(server: Server) -> dict[str, int]:
    return {each["process"]: each["sessions"] for each in server.reports() if "sessions" in each}


def at_both(server: Server) -> bool:
    now = sessions(server)
    return bool(now["t0"] and now["t1"])


def test_a_client_at_its_limit_is_refused_whichever_worker_it_reaches(server: Server) -> None:
    port, source = server.ports["smtp"], "127.2.1.1"
    with contextlib.ExitStack() as open_:
        # Until both have some of them: which worker a connection comes to is the kernel's choice.
        for number in range(10, 40):
            other = open_.enter_context(Wire(server.address, port, source=f"127.2.{number}.1"))
            assert other.reply().startswith(b"220 ")
        assert at_both(server)
        within = [open_.enter_context(Wire(server.address, port, source=source)) for _ in range(OF_CLIENT)]
        for wire in within:
            assert wire.reply().startswith(b"220 ")
        for _ in range(20):
            with Wire(server.address, port, source=source) as refused:
                assert refused.reply() == b"421 4.7.0 Too many connections from your address\r\n"
        within[0].say(b"QUIT\r\n")
        assert within[0].reply().startswith(b"221 ")
        assert within[0].ended()

        def is_let_in() -> bool:
            with Wire(server.address, port, source=source) as wire:
                return wire.reply().startswith(b"220 ")

        eventually(is_let_in, "there is room for one more", server)


def test_all_of_a_crowd_that_comes_at_once_is_let_in_up_to_the_limit(server: Server) -> None:
    """Asking the others takes a moment; nobody is refused for it."""
    port = server.ports["smtp"]
    for number in range(10):
        with contextlib.ExitStack() as open_:
            source = f"127.3.{number}.1"
            crowd = [open_.enter_context(Wire(server.address, port, source=source)) for _ in range(OF_CLIENT + 4)]
            codes = sorted(wire.reply()[:3] for wire in crowd)
            assert codes == [b"220"] * OF_CLIENT + [b"421"] * 4


def test_wrong_passwords_count_over_both_workers_and_pop3(server: Server) -> None:
    source = "127.2.2.1"
    assert told_at_login(server, source) == "235"
    guess = b"AUTH PLAIN " + base64.b64encode(b"\0ann@here.example\0wrong") + b"\r\n"
    by_pop3 = OF_CLIENT - 1
    for begin in range(0, AUTH_FAILURES_OF_CLIENT - by_pop3, OF_CLIENT - 1):
        with contextlib.ExitStack() as open_:
            for _ in range(min(OF_CLIENT - 1, AUTH_FAILURES_OF_CLIENT - by_pop3 - begin)):
                wire = open_.enter_context(Wire(server.address, server.ports["submissions"], tls=True, source=source))
                assert wire.ask(b"EHLO c.example").startswith(b"220 ")
                assert wire.reply().startswith(b"250")
                wire.say(guess)  # the answers come ever later; guessers do not wait for them
        leave_all(server)
    for _ in range(by_pop3):
        with Wire(server.address, server.ports["pop3"], source=source) as wire:
            assert wire.line().startswith(b"+OK")
            wire.say(b"USER ann@here.example\r\n")
            assert wire.line().startswith(b"+OK")
            wire.say(b"PASS wrong\r\n")
    eventually(lambda: told_at_login(server, source) == "421", "the guesser is shut out", server)
    # At every door, also with the right password.
    assert {told_at_login(server, source) for _ in range(8)} == {"421"}
    with Wire(server.address, server.ports["pop3"], source=source) as wire:
        assert wire.line().startswith(b"+OK")
        wire.say(b"USER ann@here.example\r\n")
        assert wire.line().startswith(b"+OK")
        wire.say(f"PASS {PASSWORD}\r\n".encode())
        assert wire.line().startswith(b"-ERR")
    assert told_at_login(server, "127.2.3.1") == "235", "others are not concerned"


def leave_all(server: Server) -> None:
    eventually(lambda: not any(sessions(server).values()), "all sessions are over", server)


def told_at_login(server: Server, source: str) -> str:
    """The code of the answer to the right password."""
    leave_all(server)
    with Wire(server.address, server.ports["submissions"], tls=True, source=source) as wire:
        assert wire.ask(b"EHLO c.example").startswith(b"220 ")
        assert wire.reply().startswith(b"250")
        credentials = base64.b64encode(b"\0ann@here.example\0" + PASSWORD.encode())
        return wire.ask(b"AUTH PLAIN " + credentials)[:3].decode()


def test_an_accounts_messages_of_an_hour_hold_over_both_workers(server: Server) -> None:
    door = as_a_user(server.address, server.ports["submissions"], "bob@here.example")
    codes = []
    for number in range(PER_HOUR + 8):
        client = door()
        recipients, content = letter_for(["bob@here.example"])(f"h{number:05d}", number + 1)
        code = client.mail("bob@here.example")[0]
        if code == 250:
            assert client.rcpt(recipients[0])[0] == 250
            code = client.data(content)[0]
        codes.append(code)
        client.close()
    assert codes == [250] * PER_HOUR + [450] * 8


def test_a_dead_worker_leaves_its_portions_to_the_others(server: Server) -> None:
    port, source = server.ports["smtp"], "127.2.4.1"
    with contextlib.ExitStack() as open_:
        for _ in range(OF_CLIENT):
            assert open_.enter_context(Wire(server.address, port, source=source)).reply().startswith(b"220 ")
        for name in ("t0", "t1"):
            kill_worker(server, name)
        again = [open_.enter_context(Wire(server.address, port, source=source)) for _ in range(OF_CLIENT)]
        for wire in again:
            assert wire.reply().startswith(b"220 ")
        with Wire(server.address, port, source=source) as refused:
            assert refused.reply().startswith(b"421 4.7.0 ")


def kill_worker(server: Server, name: str) -> None:
    """kill -9; returns when another is in its place."""
    eventually(lambda: server.worker(name)[1], f"{name} is there", server)
    former, _ = server.worker(name)
    os.kill(former, signal.SIGKILL)

    def is_replaced() -> bool:
        now, ready = server.worker(name)
        return ready and now != former

    eventually(is_replaced, f"{name} is replaced", server)


@pytest.mark.timeout(150)
def test_one_of_two_workers_is_killed_under_load_and_nothing_is_lost(tmp_path: Path) -> None:
    server = Server(tmp_path, users=("bob",))
    with_workers(server, 2)
    server.start()
    try:
        doors = [as_a_server(server.address, server.ports["smtp"])] * 6
        submitters = Submitters(doors, letter_for(["bob@here.example"]), 600, sender="cat@client.example")
        with submitters.at_work():
            for moment, name in ((100, "t1"), (200, "t0"), (300, "t1"), (400, "t0")):
                submitters.wait_until_begun(moment)
                kill_worker(server, name)
        server.wait_until_delivered(60)
        told = submitters.told
        found = fetched_ids(server, "bob")
        assert not told.acknowledged.keys() - found.keys(), "lost"
        assert set(found.values()) == {1}
        assert not found.keys() - told.acknowledged.keys() - told.unanswered.keys()
        assert "unexpected" not in server.log()
    finally:
        server.kill()


@pytest.mark.timeout(150)
def test_one_worker_after_three_delivers_what_the_two_others_had(tmp_path: Path) -> None:
    port = free_port()
    sections = f'[queue]\nretry = ["1s"]\n[[route]]\ndomain = "away.example"\nto = "127.0.0.1:{port}"\n'
    server = Server(tmp_path / "here", users=("ann",), sections=sections)
    with_workers(server, 3)
    server.start()
    try:
        door = as_a_user(server.address, server.ports["submissions"], "ann@here.example")
        sent = 0

        def all_have_mail() -> bool:
            nonlocal sent
            client = door()
            recipients, content = letter_for(["ann@away.example"])(f"x{sent:05d}", sent + 1)
            client.sendmail("ann@here.example", list(recipients), content)
            client.quit()
            sent += 1
            return all(r.get("queue_messages") for r in server.reports() if r["process"].startswith("t"))

        eventually(all_have_mail, "each of the three has a letter", server)
        ids = {each["queue_id"] for each in server.ask("queue", "list")}
        assert len(ids) == sent
        assert server.stop() == 0
        with_workers(server, 1)
        server.start()
        assert {each["queue_id"] for each in server.ask("queue", "list")} == ids
        away = {"domain": "away.example", "hostname": "mx.away.example", "users": ("ann",)}
        with running_server(tmp_path / "away", port_of={"smtp": port}, **away) as other:
            server.wait_until_delivered()
            assert sorted(fetched_ids(other, "ann")) == [f"x{number:05d}" for number in range(sent)]
        assert server.stop() == 0
    finally:
        server.kill()
