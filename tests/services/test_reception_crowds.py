"""Crowds at the door: of one client, of one network, of guessers; and what our own users still get."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from postroad.rules.networks import NetworkSet
from postroad.services.doorkeeper import Doorkeeper
from postroad.services.guesses import Guesses
from postroad.services.smtp_connection import SmtpConnection
from postroad.vocabulary.limits import (
    CONNECTION_RATE_CLIENTS,
    GUESSERS,
    NETWORK_SHARE,
    REFUSED_RECIPIENTS_MEMORY_S,
    REFUSED_RECIPIENTS_OF_CLIENT,
)
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import LimitSettings
from tests.services.houses import HERE, House, pass_time, play


def test_many_clients_of_one_network_do_not_take_all_the_slots(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(sessions_per_client=2)
        async with House.open(tmp_path) as house, house.reception(limits=limits):
            crowd = [await house.connect(address=f"198.51.100.{n}") for n in range(1, 10)]
            for each in crowd[: 2 * NETWORK_SHARE]:
                await each.expect(220)
            assert (await crowd[-1].reply()) == "421 4.7.0 Too many connections from your network"
            await crowd[-1].until_closed()
            assert house.ledger.refusals()[-1].verdicts[0].rule == "sessions_per_network"
            await (await house.connect(address="198.51.101.1")).expect(220)
            crowd[0].transport.close()
            await pass_time(1)
            await (await house.connect(address="198.51.100.200")).expect(220)

    play(scene)


def test_a_connection_that_is_over_leaves_nothing_to_the_collector(tmp_path: Path) -> None:
    """A ring of references would keep each of thousands of connections a second until the collector comes by."""

    def connections() -> int:
        return sum(isinstance(each, SmtpConnection) for each in gc.get_objects())

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            gc.collect()
            gc.disable()
            try:
                before = connections()
                async with house.client() as client:
                    await client.say("EHLO c.example", 250)
                    await client.say("MAIL FROM:<carol@c.example>", 250)
                    await client.say(f"RCPT TO:<ann@{HERE}>", 250)
                    await client.say("DATA", 354)
                    await client.say("Subject: one\r\n\r\nOne.\r\n.", 250)
                    assert connections() == before + 1
                    await client.say("QUIT", 221)
                del client
                await pass_time(1)
                assert connections() == before
            finally:
                gc.enable()

    play(scene)


def test_users_who_have_logged_in_are_no_crowd(tmp_path: Path) -> None:
    """An office behind one network: each of its users is counted for its own address and account alone."""

    async def scene() -> None:
        limits = LimitSettings(sessions_per_client=2)
        async with House.open(tmp_path) as house, house.reception(limits=limits):
            users = []
            for n in range(1, 31):
                client = await house.connect(ListenerRole.SUBMISSIONS, f"198.51.100.{n}")
                await client.expect(220)
                await client.say("EHLO c.example", 250)
                assert (await client.log_in()).startswith("235")
                users.append(client)
            for n in range(31, 31 + 2 * NETWORK_SHARE):
                await (await house.connect(address=f"198.51.100.{n}")).expect(220)
            users[0].transport.close()
            await pass_time(1)
            await (await house.connect(address="198.51.100.99")).expect(421, "4.7.0")

    play(scene)


def test_whoever_connects_too_often_is_told_so_until_the_minute_is_over(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(connections_per_minute=5, exempt=("203.0.113.0/24",))
        async with House.open(tmp_path) as house, house.reception(limits=limits):
            for _ in range(5):
                async with house.client():
                    pass
            refused = await house.connect()
            assert (await refused.reply()).startswith(
                "421 4.7.0 Too many connections from your address within a minute"
            )
            async with house.client(address="198.51.100.8"):
                pass
            for _ in range(20):
                async with house.client(address="203.0.113.1"):
                    pass
            await pass_time(60)
            async with house.client():
                pass

    play(scene)


def test_when_port_25_is_flooded_users_still_hand_mail_in(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(sessions=20, sessions_per_client=1000)
        async with House.open(tmp_path) as house, house.reception(limits=limits) as reception:
            for n in range(18):
                await (await house.connect(address=f"198.51.{n}.1")).expect(220)
            await (await house.connect(address="198.51.100.1")).expect(421, "4.3.2")
            for n in range(2):
                client = await house.connect(ListenerRole.SUBMISSIONS, f"203.0.113.{n}")
                await client.expect(220)
                await client.say("EHLO c.example", 250)
                assert (await client.log_in()).startswith("235")
            await (await house.connect(ListenerRole.SUBMISSIONS, "203.0.113.9")).expect(421, "4.3.2")
            assert reception.sessions == 20

    play(scene)


def test_who_collects_addresses_over_many_connections_is_shut_out_for_a_while(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client(address="198.51.100.8") as other:
            await other.say("HELO c.example", 250)
            refused = 0
            while refused < REFUSED_RECIPIENTS_OF_CLIENT:
                client = await house.connect()
                await client.expect(220)
                await client.say("HELO c.example", 250)
                await client.say("MAIL FROM:<cat@c.example>", 250)
                for n in range(20):  # before the delays of one session begin
                    client.send(f"RCPT TO:<guess{refused}@{HERE}>")
                    refused += 1
                    reply = await client.reply()
                    assert reply.startswith("550 5.1.1" if refused < REFUSED_RECIPIENTS_OF_CLIENT else "421 4.7.0"), n
                client.transport.close()
            began = house.clock.now()
            shut_out = await house.connect()
            assert (await shut_out.reply()).startswith("421 4.7.0 Too many refused recipients from your address")
            await shut_out.until_closed()
            assert house.ledger.refusals()[-1].verdicts[0].rule == "recipient_guesses"
            # Others, and our users behind the same address, go on.
            await other.say("MAIL FROM:<cat@c.example>", 250)
            await other.say(f"RCPT TO:<ann@{HERE}>", 250)
            user = await house.connect(ListenerRole.SUBMISSIONS)
            await user.expect(220)
            await user.say("EHLO c.example", 250)
            assert (await user.log_in()).startswith("235")
            await pass_time(REFUSED_RECIPIENTS_MEMORY_S - (house.clock.now() - began).total_seconds())
            async with house.client():
                pass

    play(scene)


def test_a_user_who_mistypes_recipients_shuts_nobody_out(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            for _ in range(REFUSED_RECIPIENTS_OF_CLIENT // 20 + 1):
                client = await house.connect(ListenerRole.SUBMISSIONS)
                await client.expect(220)
                await client.say("EHLO c.example", 250)
                await client.log_in()
                await client.say(f"MAIL FROM:<ann@{HERE}>", 250)
                for n in range(20):
                    await client.say(f"RCPT TO:<typo{n}@{HERE}>", 550)
                client.transport.close()
            async with house.client():
                pass

    play(scene)


# ---- bounds ----------------------------------------------------------------------------------------


def test_the_doorkeeper_forgets_who_has_left_and_counts_a_bounded_crowd() -> None:
    door = Doorkeeper(sessions_max=10**9, of_client_max=10, exempt=NetworkSet(()), per_minute=100)
    addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(CONNECTION_RATE_CLIENTS + 1000)]
    for address in addresses:
        if door.admit(address, 1000.0) is None:
            door.leave(address)
    assert len(door._lately._counts) <= CONNECTION_RATE_CLIENTS
    assert not door._of_client
    assert not door._of_network
    assert door.sessions == 0


@pytest.mark.parametrize("address", ["198.51.100.7", "2001:db8::7", "unix"])
def test_guesses_count_up_to_the_limit_and_then_for_the_time_outside(address: str) -> None:
    guesses = Guesses(most=3, memory_s=600, exempt=NetworkSet(()))
    assert [guesses.wrong(address, now) for now in (0.0, 100.0)] == [1, 2]
    assert not guesses.too_many(address, 100.0)
    assert guesses.wrong(address, 500.0) == 3
    assert guesses.too_many(address, 1099.0), "outside for the whole time from the last guess on"
    assert not guesses.too_many(address, 1100.0)
    assert guesses.wrong(address, 1100.0) == 1


def test_old_guesses_are_forgotten_and_memory_is_bounded() -> None:
    guesses = Guesses(most=3, memory_s=600, exempt=NetworkSet(("10.0.0.0/8",)))
    guesses.wrong("198.51.100.7", 0.0)
    assert guesses.wrong("198.51.100.7", 600.0) == 1
    for n in range(GUESSERS * 2):
        guesses.wrong(f"192.{n >> 16}.{n >> 8 & 255}.{n & 255}", 600.0)
    assert len(guesses._wrong) <= GUESSERS
    for _ in range(10):
        assert guesses.wrong("10.1.2.3", 600.0) == 0
    assert not guesses.too_many("10.1.2.3", 600.0)
