"""Those who bring others' mail: LMTP, balancers with a PROXY header, front ends with XCLIENT; and who cannot wait."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from msgspec import structs

from postroad.vocabulary.limits import PROXY_HEADER_S, REFUSED_RECIPIENTS
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import AccountLimits, LimitSettings, PolicySettings, Severity
from postroad.vocabulary.story import Received
from postroad.wire.proxy import SIGNATURE
from tests.services.dns import Zone
from tests.services.houses import ALL_OFF, CLIENT, HERE, HOSTNAME, LMTP_SOCKET, Client, House, pass_time, play

LETTER = b"Subject: hi\r\n\r\nHello\r\n"
STRANGER = "203.0.113.99"
FRONT = structs.replace(ALL_OFF, xclient=(f"{CLIENT}/32",))


def received(house: House) -> Received:
    (fact,) = house.accepted[-1].story.facts
    assert isinstance(fact, Received)
    return fact


# ---- LMTP (RFC 2033) ------------------------------------------------------------------------------


def test_lmtp_answers_for_each_recipient_when_the_message_is_safe(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect_local(1002, LMTP_SOCKET)
            assert "LMTP" in await client.expect(220)
            await client.say("EHLO c.example", 500)
            await client.say("LHLO c.example", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            await client.say(f"RCPT TO:<ann@{HERE}>", 250)
            await client.say(f"RCPT TO:<nobody@{HERE}>", 550, "5.1.1")
            await client.say(f"RCPT TO:<bob@{HERE}>", 550, "5.2.1")
            await client.say(f"RCPT TO:<postmaster@{HERE}>", 250)
            await client.say("RCPT TO:<dan@d.example>", 550, "5.7.1")
            await client.say("DATA", 354)
            client.transport.write(LETTER + b".\r\n")
            queued = f"250 2.0.0 Ok: queued as {house.accepted[0].queue_id}" if house.accepted else ""
            first, second = await client.reply(), await client.reply()
            queued = f"250 2.0.0 Ok: queued as {house.accepted[0].queue_id}"
            assert (first, second) == (queued, queued)
            await client.say("NOOP", 250)
            assert len(house.accepted) == 1
            assert received(house).listener == "lmtp"
            assert (await house.content()).startswith(
                f"Received: from c.example (uid 1002)\r\n\tby {HOSTNAME} with LMTP\r\n".encode()
            )
            client.transport.close()

    play(scene)


def test_lmtp_on_loopback_asks_nobody_for_a_name_and_believes_no_network(tmp_path: Path) -> None:
    async def scene() -> None:
        strict = PolicySettings(
            reverse_dns=Severity.REJECT, helo=Severity.REJECT, sender_domain=Severity.REJECT,
            own_sender=Severity.REJECT, trusted_networks=(f"{CLIENT}/32",), greeting_delay_s=9,
        )  # fmt: skip
        async with House.open(tmp_path) as house, house.reception(policy=strict, dns=Zone()):  # noqa: SIM117
            async with house.client(ListenerRole.LMTP) as client:
                words = await client.say("LHLO front", 250)
                assert "STARTTLS" not in words
                assert "AUTH" not in words
                await client.say("MAIL FROM:<x@no.such.example>", 250)
                await client.say("RCPT TO:<dan@d.example>", 550, "5.7.1")
                await client.say(f"RCPT TO:<ann@{HERE}>", 250)

    play(scene)


def test_lmtp_may_ask_for_as_many_unknown_users_as_it_likes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client(ListenerRole.LMTP) as client:
            await client.say("LHLO front", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            began = house.clock.now()
            for n in range(REFUSED_RECIPIENTS + 10):
                await client.say(f"RCPT TO:<u{n}@{HERE}>", 550, "5.1.1")
            assert (house.clock.now() - began).total_seconds() < REFUSED_RECIPIENTS

    play(scene)


# ---- PROXY ----------------------------------------------------------------------------------------


def text_header(source: str) -> bytes:
    return f"PROXY TCP4 {source} 192.0.2.25 40000 25\r\n".encode()


def binary_header(source: str) -> bytes:
    addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "2001:db8::25")
    tlv = b"\x04\x00\x03abc"
    body = addresses + (40000).to_bytes(2, "big") + (25).to_bytes(2, "big") + tlv
    return SIGNATURE + b"\x21\x21" + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize(
    ("header", "source"), [(text_header(STRANGER), STRANGER), (binary_header("2001:db8:7::9"), "2001:db8:7::9")]
)
@pytest.mark.parametrize("pieces", [1, 1000])
def test_the_client_is_who_the_balancer_says(tmp_path: Path, header: bytes, source: str, pieces: int) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect(ListenerRole.SMTP_PROXY)
            for n in range(0, len(header), len(header) // pieces or 1):
                client.transport.write(header[n : n + (len(header) // pieces or 1)])
                await pass_time(0.01)
            await client.expect(220)
            await client.say("EHLO c.example", 250)
            await client.give(LETTER)
            fact = received(house)
            assert (fact.listener, fact.peer.remote.address, fact.peer.remote.port) == ("smtp_proxy", source, 40000)
            assert fact.peer.local.port == 25
            assert f"[{'IPv6:' if ':' in source else ''}{source}]".encode() in await house.content()
            client.transport.close()

    play(scene)


def test_rules_and_limits_are_those_of_the_client_and_not_of_the_balancer(tmp_path: Path) -> None:
    async def scene() -> None:
        policy = structs.replace(ALL_OFF, block_clients=(f"{STRANGER}/32",), trusted_networks=(f"{CLIENT}/32",))
        limits = LimitSettings(sessions_per_client=1)
        async with House.open(tmp_path) as house, house.reception(policy=policy, limits=limits):
            blocked = await house.connect(ListenerRole.SMTP_PROXY)
            blocked.transport.write(text_header(STRANGER))
            await blocked.expect(554, "5.7.1")
            await blocked.until_closed()
            one = await house.connect(ListenerRole.SMTP_PROXY)
            one.transport.write(text_header("203.0.113.1"))
            await one.expect(220)
            two = await house.connect(ListenerRole.SMTP_PROXY)
            two.transport.write(text_header("203.0.113.2"))
            await two.expect(220)
            await two.say("EHLO c.example", 250)
            await two.say("MAIL FROM:<cat@c.example>", 250)
            await two.say("RCPT TO:<dan@d.example>", 550, "5.7.1")
            again = await house.connect(ListenerRole.SMTP_PROXY)
            again.transport.write(text_header("203.0.113.1"))
            await again.expect(421, "4.7.0")
            for each in (one, two):
                each.transport.close()

    play(scene)


@pytest.mark.parametrize(
    "octets",
    [b"EHLO c.example\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0", b"PROXY " + b"x" * 200],
)
def test_who_does_not_begin_with_a_header_is_closed_without_a_word(tmp_path: Path, octets: bytes) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect(ListenerRole.SMTP_PROXY)
            client.transport.write(octets)
            assert await client.until_closed() == b""
            (refusal,) = house.ledger.refusals()
            assert (refusal.stage, refusal.verdicts[0].rule) == ("PROXY", "proxy")

    play(scene)


def test_a_header_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception() as reception:
            client = await house.connect(ListenerRole.SMTP_PROXY)
            client.transport.write(b"PROXY TC")
            began = house.clock.now()
            assert await client.until_closed() == b""
            assert (house.clock.now() - began).total_seconds() < PROXY_HEADER_S + 2
            assert reception.connections == 0

    play(scene)


def test_silent_connections_before_the_header_are_bounded_too(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(limits=LimitSettings(sessions=2)) as reception:
            clients = [await house.connect(ListenerRole.SMTP_PROXY) for _ in range(6)]
            await pass_time(0.1)
            assert reception.connections == 4
            assert [each.closed for each in clients] == [False] * 4 + [True] * 2

    play(scene)


def test_the_balancers_own_question_is_answered_as_its_own(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            for header in (b"PROXY UNKNOWN\r\n", SIGNATURE + b"\x20\x00\0\0"):
                client = await house.connect(ListenerRole.SMTP_PROXY)
                client.transport.write(header)
                await client.expect(220)
                await client.say("QUIT", 221)

    play(scene)


def test_a_header_at_another_door_is_no_command(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            client.transport.write(text_header(STRANGER))
            await client.expect(500)

    play(scene)


# ---- XCLIENT --------------------------------------------------------------------------------------


def test_nobody_may_say_xclient_but_the_front_ends(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=FRONT):
            async with house.client(address="203.0.113.5") as client:
                assert "XCLIENT" not in await client.say("EHLO c.example", 250)
                client.send("XCLIENT ADDR=192.0.2.1")
                assert (await client.reply())[0] == "5"
            async with house.client() as client:
                assert "XCLIENT" in await client.say("EHLO c.example", 250)

    play(scene)


def test_a_front_end_tells_who_the_client_is_and_the_session_begins_anew(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=FRONT) as reception, house.client() as client:
            await client.say("EHLO front.example", 250)
            await client.say("MAIL FROM:<front@c.example>", 250)
            await client.say("RSET", 250)
            await client.say(
                f"XCLIENT NAME=mail.c.example ADDR={STRANGER} PORT=4711 HELO=h.c.example"
                " PROTO=SMTP DESTADDR=192.0.2.77",
                220,
            )
            await client.say("MAIL FROM:<cat@c.example>", 503)
            await client.say("HELO h.c.example", 250)
            await client.give(LETTER)
            peer = received(house).peer
            assert (peer.remote.address, peer.remote.port, peer.host) == (STRANGER, 4711, "mail.c.example")
            assert (peer.helo, peer.esmtp, peer.local.address) == ("h.c.example", False, "192.0.2.77")
            assert f"from h.c.example (mail.c.example [{STRANGER}])".encode() in await house.content()
            assert reception.sessions == 1

    play(scene)


def test_the_rules_judge_the_client_that_was_told(tmp_path: Path) -> None:
    async def scene() -> None:
        policy = structs.replace(FRONT, reverse_dns=Severity.REJECT, trusted_networks=(f"{CLIENT}/32",))
        async with House.open(tmp_path) as house, house.reception(policy=policy, dns=Zone()):
            for words, answer in (
                (f"ADDR={STRANGER}", "550 5.7.25"),
                (f"ADDR={STRANGER} NAME=mail.c.example", "250"),
                (f"ADDR={STRANGER} NAME=[UNAVAILABLE]", "550 5.7.25"),
                (f"ADDR={STRANGER} NAME=[TEMPUNAVAIL]", "451 4.4.3"),
                ("ADDR=[UNAVAILABLE]", "250"),
            ):
                async with house.client() as client:
                    await client.say("EHLO front.example", 250)
                    await client.say(f"XCLIENT {words}", 220)
                    await client.say("EHLO c.example", 250)
                    await client.say("MAIL FROM:<cat@c.example>", 250)
                    client.send("RCPT TO:<dan@d.example>", f"RCPT TO:<ann@{HERE}>")
                    refused = await client.reply()
                    assert refused.startswith("5" if answer[0] != "4" else "4")  # no longer a trusted network
                    assert (await client.reply()).startswith(answer)

    play(scene)


def test_a_client_that_would_not_be_let_in_is_not_by_way_of_a_front_end(tmp_path: Path) -> None:
    async def scene() -> None:
        policy = structs.replace(FRONT, block_clients=(f"{STRANGER}/32",))
        limits = LimitSettings(sessions_per_client=1)
        async with House.open(tmp_path) as house, house.reception(policy=policy, limits=limits) as reception:
            front = await house.connect()
            await front.expect(220)
            await front.say("EHLO front.example", 250)
            await front.say(f"XCLIENT ADDR={STRANGER}", 554, "5.7.1")
            await front.expect(421)
            await front.until_closed()
            one, two = await house.connect(), None
            await one.expect(220)
            await one.say("EHLO front.example", 250)
            await one.say("XCLIENT ADDR=203.0.113.1", 220)
            two = await house.connect()  # the front end's own address has room again
            await two.expect(220)
            await two.say("EHLO front.example", 250)
            await two.say("XCLIENT ADDR=203.0.113.1", 421, "4.7.0")
            await two.until_closed()
            assert reception.sessions == 1
            one.transport.close()

    play(scene)


def test_a_login_that_a_front_end_has_checked_is_one_of_ours(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=FRONT):  # noqa: SIM117
            async with house.client(ListenerRole.SUBMISSION) as client:
                await client.say("EHLO front.example", 250)
                await client.say(f"XCLIENT ADDR={STRANGER} LOGIN=nobody@{HERE}", 501, "5.5.4")
                await client.say(f"XCLIENT ADDR={STRANGER} LOGIN=bob@{HERE}", 501, "5.5.4")
                await client.say(f"XCLIENT ADDR={STRANGER} LOGIN=ann@{HERE}", 220)
                await client.say("EHLO c.example", 250)
                await client.say(f"MAIL FROM:<bob@{HERE}>", 553, "5.7.1")
                await client.give(LETTER, "dan@d.example", sender=f"ann@{HERE}")
                assert received(house).peer.account == f"ann@{HERE}"
                await client.say("XCLIENT ADDR=203.0.113.7", 220)
                await client.say("EHLO c.example", 250)
                await client.say(f"MAIL FROM:<ann@{HERE}>", 530)

    play(scene)


def test_an_account_has_no_more_sessions_by_way_of_a_front_end(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(account=AccountLimits(connections=1))
        async with House.open(tmp_path) as house, house.reception(policy=FRONT, limits=limits):
            words = f"XCLIENT ADDR={STRANGER} LOGIN=Ann@{HERE}"
            async with house.client(ListenerRole.SUBMISSION) as one:
                await one.say("EHLO front.example", 250)
                await one.say(words, 220)
                async with house.client(ListenerRole.SUBMISSION) as two:
                    await two.say("EHLO front.example", 250)
                    await two.say(words, 421, "4.7.0")
                await one.say("XCLIENT ADDR=203.0.113.8", 220)
                async with house.client(ListenerRole.SUBMISSION) as three:
                    await three.say("EHLO front.example", 250)
                    await three.say(words, 220)
                    await three.say("EHLO c.example", 250)
                    await three.say(f"MAIL FROM:<ann@{HERE}>", 250)

    play(scene)


# ---- early talkers --------------------------------------------------------------------------------

SLOW = structs.replace(ALL_OFF, greeting_delay_s=5.0, xclient=("198.51.100.8/32",))


def test_a_stranger_waits_for_the_greeting(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=SLOW):
            began = house.clock.now()
            async with house.client() as client:
                assert 5 <= (house.clock.now() - began).total_seconds() <= 6.5
                await client.say("EHLO c.example", 250)
                await client.give(LETTER)

    play(scene)


@pytest.mark.parametrize("octets", [b"EHLO c.example\r\n", b"\r\n", b"x", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\0"])
def test_who_speaks_before_the_greeting_is_refused(tmp_path: Path, octets: bytes) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=SLOW):
            client = await house.connect()
            client.transport.write(octets)
            await client.expect(554, "5.5.1")
            await client.until_closed()
            (refusal,) = house.ledger.refusals()
            assert [(each.rule, each.result) for each in refusal.verdicts] == [("greeting_delay", "reject")]
            assert (refusal.stage, refusal.subject) == ("connect", CLIENT)

    play(scene)


def test_a_flood_before_the_greeting_is_not_kept(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=SLOW):
            client = await house.connect()
            client.transport.write(b"x" * 1_000_000)
            await client.expect(554, "5.5.1")
            await client.until_closed()

    play(scene)


def test_users_front_ends_and_known_networks_are_greeted_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        policy = structs.replace(SLOW, trusted_networks=("198.51.100.9/32",))
        limits = LimitSettings(exempt=("198.51.100.10/32",))
        async with House.open(tmp_path) as house, house.reception(policy=policy, limits=limits):
            began = house.clock.now()
            doors = (
                (ListenerRole.SUBMISSION, CLIENT),
                (ListenerRole.SMTP, "198.51.100.8"),
                (ListenerRole.SMTP, "198.51.100.9"),
                (ListenerRole.SMTP, "198.51.100.10"),
            )
            for role, address in doors:
                client: Client = await house.connect(role, address)
                await client.expect(220)
                client.transport.close()
            assert (house.clock.now() - began).total_seconds() < 2

    play(scene)


def test_who_hangs_up_before_the_greeting_is_gone(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=SLOW) as reception:
            client = await house.connect()
            client.transport.close()
            await client.until_closed()
            await pass_time(0.1)
            assert reception.sessions == 0

    play(scene)


def test_the_server_may_stop_while_a_greeting_is_held(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=SLOW) as reception:
            client = await house.connect()
            await pass_time(0.1)
            await reception.stop(3)
            await client.until_closed()

    play(scene)
