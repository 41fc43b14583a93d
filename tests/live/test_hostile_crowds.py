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
        for _ in range(OF_CLIENT):
            wire = open_.enter_context(Wire(server.address, port, source="127.1.9.1"))
            assert wire.reply().startswith(b"220 ")
        refused = open_.enter_context(Wire(server.address, port, source="127.1.9.1"))
        assert refused.reply() == b"421 4.7.0 Too many connections from your address\r\n"
        assert refused.ended()
        other = open_.enter_context(Wire(server.address, port, source="127.1.10.1"))
        assert other.reply().startswith(b"220 ")


def test_one_network_takes_its_share_and_no_more(server: Server) -> None:
    """Of four clients; each of them alone is within its own."""
    port = server.ports["smtp"]
    with contextlib.ExitStack() as open_:
        for number in range(4 * OF_CLIENT):
            wire = open_.enter_context(Wire(server.address, port, source=f"127.1.11.{number + 1}"))
            assert wire.reply().startswith(b"220 "), number
        refused = open_.enter_context(Wire(server.address, port, source="127.1.11.99"))
        assert refused.reply() == b"421 4.7.0 Too many connections from your network\r\n"
        assert refused.ended()
    with DOORS[0].greeted(server, source="127.1.12.1") as wire:
        assert wire.ask(b"NOOP") == b"250 2.0.0 OK\r\n"
