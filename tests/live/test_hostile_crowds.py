"""Clients that come early, late, slowly, or all at once, at real sockets: the exact answer, and room for the others.

What takes half a minute or more (a content that drips, a handshake that does) is tested on the virtual loop.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.support.doors import DOORS, Door
from tests.support.server import Server
from tests.support.wire import Wire

OF_CLIENT, SILENCE_S, GREETING_S = 5, 1.0, 0.3
TIMED_OUT = b"421 4.4.2 Waited too long for you, closing\r\n"

pytestmark = pytest.mark.xdist_group("hostile")
both_doors = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.role)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Impatient, and nobody is exempt from its limits."""
    running = Server(tmp_path_factory.mktemp("crowds"), sections=f"greeting_delay_s = {GREETING_S}\n")
    limits = f"[limits]\nsessions_per_client = {OF_CLIENT}\ncommand_s = {SILENCE_S}\n"
    text = running.configuration.read_text()
    assert 'exempt = ["127.0.0.0/8"]\n' in text
    running.configuration.write_text(text.replace('[limits]\nexempt = ["127.0.0.0/8"]\n', limits))
    running.start()
    yield running
    assert "unexpected" not in running.log()
    assert running.stop() == 0


# ---- 8. slow clients -------------------------------------------------------------------------------


@both_doors
@pytest.mark.parametrize("octets", [b"", b"EHLO clie", b"x"], ids=repr)
def test_silence_is_answered_421_and_ended(server: Server, door: Door, octets: bytes) -> None:
    with door.connected(server, source="127.1.8.1") as wire:
        if octets:
            wire.say(octets)
        begin = time.monotonic()
        assert wire.reply() == TIMED_OUT
        assert time.monotonic() - begin < SILENCE_S + 5
        assert wire.ended()


@both_doors
def test_dripping_octets_of_a_command_are_no_command(server: Server, door: Door) -> None:
    with door.greeted(server, source="127.1.8.2") as wire:
        begin = time.monotonic()
        while wire.hears_nothing_for(0.2):
            wire.say_what_is_taken(b"x")
            assert time.monotonic() - begin < 30, "a line that drips is waited for without end"
        assert wire.reply() == TIMED_OUT
        assert wire.ended()


# ---- 9. crowds -------------------------------------------------------------------------------------


def test_one_client_takes_its_share_of_the_connections_and_no_more(server: Server) -> None:
    port = server.ports["smtp"]
    with contextlib.ExitStack() as open_:
        within = [open_.enter_context(Wire(server.address, port, source="127.1.9.1")) for _ in range(OF_CLIENT)]
        refused = open_.enter_context(Wire(server.address, port, source="127.1.9.1"))
        assert refused.reply() == b"421 4.7.0 Too many connections from your address\r\n"
        assert refused.ended()
        other = open_.enter_context(Wire(server.address, port, source="127.1.10.1"))
        for wire in (*within, other):
            assert wire.reply().startswith(b"220 ")


def test_one_network_takes_its_share_and_no_more(server: Server) -> None:
    """Of four clients; each of them alone is within its own."""
    port = server.ports["smtp"]
    with contextlib.ExitStack() as open_:
        sources = [f"127.1.11.{number + 1}" for number in range(4 * OF_CLIENT)]
        within = [open_.enter_context(Wire(server.address, port, source=source)) for source in sources]
        refused = open_.enter_context(Wire(server.address, port, source="127.1.11.99"))
        assert refused.reply() == b"421 4.7.0 Too many connections from your network\r\n"
        assert refused.ended()
        for wire in within:
            assert wire.reply().startswith(b"220 ")
    with DOORS[0].greeted(server, source="127.1.12.1") as wire:
        assert wire.ask(b"NOOP") == b"250 2.0.0 OK\r\n"


# ---- 10. early talkers -----------------------------------------------------------------------------


def test_who_speaks_before_the_greeting_is_refused(server: Server) -> None:
    with Wire(server.address, server.ports["smtp"], source="127.1.13.1") as wire:
        wire.say(b"EHLO client.example\r\n")
        assert wire.reply() == b"554 5.5.1 You spoke before the greeting\r\n"
        assert wire.ended()


def test_who_waits_is_greeted_and_users_need_not_wait(server: Server) -> None:
    with Wire(server.address, server.ports["smtp"], source="127.1.13.2") as wire:
        assert wire.hears_nothing_for(GREETING_S / 2)
        assert wire.reply().startswith(b"220 mx.here.example ")
    begin = time.monotonic()
    with DOORS[1].connected(server, source="127.1.13.3"):
        assert time.monotonic() - begin < GREETING_S
