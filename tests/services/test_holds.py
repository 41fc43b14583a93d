"""Mail that waits for its owner: ETRN, ATRN and TURN, from the side that holds it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from postroad.contracts.resolver import MxRecord
from postroad.vocabulary.limits import ETRN_OF_CLIENT
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import HoldDomain, Route
from tests.services.depots import PASSWORD, Depot, Internet, calling, hold
from tests.services.houses import Client, pass_time, play
from tests.support.peer import Peer

HOLDS = (hold("d.example", "dave@p.example"), hold("e.example", "dave@p.example"), hold("f.example", "fay@p.example"))
LETTER = b"Subject: a letter\r\n\r\nHello.\r\n.and a dot\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab\r\n" * 3000


@asynccontextmanager
async def provider(folder: Path, holds: tuple[HoldDomain, ...] = HOLDS, **more: object) -> AsyncIterator[Depot]:
    internet = Internet()
    async with Depot.open(
        internet,
        folder,
        "p.example",
        "192.0.2.1",
        users=("dave", "fay", "eve"),
        holds=holds,
        **more,  # type: ignore[arg-type]
    ) as depot:
        yield depot


async def send(depot: Depot, *recipients: str, content: bytes = LETTER, sender: str = "ann@a.example") -> None:
    """A stranger's letter, over port 25."""
    async with calling(depot) as client:
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        assert (await client.give(stuffed, *recipients, sender=sender)).startswith("250 ")
    await depot.is_quiet()


async def log_in(client: Client, name: str = "dave@p.example") -> None:
    assert (await client.log_in(name, PASSWORD)).startswith("235 ")


class Taker:
    """The customer's end of a turned connection, which is the server now."""

    def __init__(self, client: Client, *, refuse: dict[str, str] | None = None) -> None:
        self.client = client
        self.refuse = refuse or {}
        self.letters: list[tuple[str, list[str], bytes]] = []

    async def serve(self, keywords: str = "250 PIPELINING") -> list[tuple[str, list[str], bytes]]:
        """Say the 220 and take what comes, until QUIT."""
        client = self.client
        client.send("220 home.d.example ready")
        sender = ""
        recipients: list[str] = []
        while line := (await client.line()).decode():
            verb = line[:4].upper()
            if verb == "EHLO":
                client.send("250-home.d.example", keywords)
            elif verb == "MAIL":
                sender, recipients = line, []
                client.send("250 ok")
            elif verb == "RCPT":
                refusal = next((answer for who, answer in self.refuse.items() if who in line), "")
                if not refusal:
                    recipients.append(line)
                client.send(refusal or "250 ok")
            elif verb == "DATA":
                client.send("354 go on" if recipients else "554 nobody")
                if recipients:
                    content = await self._content()
                    self.letters.append((sender, recipients, content))
                    client.send("250 taken")
            elif verb == "RSET":
                client.send("250 ok")
            else:
                assert verb == "QUIT", line
                client.send("221 bye")
                break
        return self.letters

    async def _content(self) -> bytes:
        lines = []
        while (line := await self.client.line()) != b".":
            lines.append(line.removeprefix(b".") + b"\r\n")
        return b"".join(lines)


# ---- who may what --------------------------------------------------------------------------------


def test_mail_for_a_hold_domain_is_taken_from_strangers_and_waits(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", "bea@d.example", "eva@e.example")
            assert await depot.held("d.example") == 1
            assert await depot.held("e.example") == 1
            assert await depot.held("f.example") == 0

    play(scene)


def test_auth_and_turn_are_offered_on_port_25_inside_tls_only(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            async with calling(depot) as client:
                ehlo = await client.say("EHLO c.example", 250)
                assert "AUTH" not in ehlo
                await client.say("TURN", 530)
            async with calling(depot, secure=True) as client:
                assert "AUTH" in await client.say("EHLO c.example", 250)

    play(scene)


def test_without_holds_nothing_of_it_is_offered(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path, ()) as depot, calling(depot, secure=True) as client:
            ehlo = await client.say("EHLO c.example", 250)
            assert "AUTH" not in ehlo
            assert "TURN" not in ehlo
            await client.say("TURN", 502)

    play(scene)


def test_only_the_owner_of_a_hold_may_turn(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with calling(depot, secure=True) as client:
                await log_in(client, "eve@p.example")
                await client.say("TURN", 502, "5.7.1")
            assert await depot.held("d.example") == 1

    play(scene)


def test_an_owner_who_was_disabled_after_the_login_gets_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await depot.change("dave", disabled=True)
                await client.say("TURN", 502)
            assert await depot.held("d.example") == 1

    play(scene)


# ---- TURN ----------------------------------------------------------------------------------------


def test_turn_changes_the_roles_and_all_holds_of_the_owner_come_over_the_same_connection(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", "bea@d.example", "eva@e.example", "fox@f.example")
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                letters = await Taker(client).serve()
                assert await client.until_closed() == b""
            assert [(sender.split()[0], len(recipients)) for sender, recipients, _ in letters] == [
                ("MAIL", 2),
                ("MAIL", 1),
            ]
            assert all(sender.startswith("MAIL FROM:<ann@a.example>") for sender, _, _ in letters)
            assert all(content.endswith(LETTER) for _, _, content in letters)
            # Received is ours; what was under it is as it came.
            assert await depot.held("d.example") == await depot.held("e.example") == 0
            assert await depot.held("f.example") == 1

    play(scene)


def test_a_large_letter_comes_octet_for_octet(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", content=LARGE)
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                ((_, _, content),) = await Taker(client).serve()
            assert content.endswith(LARGE)

    play(scene)


def test_a_hundred_letters_come_over_one_connection_in_their_order(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            async with calling(depot) as client:
                for number in range(230):
                    await client.give(b"Subject: %d\r\n\r\n" % number, "bob@d.example")
            await depot.is_quiet()
            assert await depot.held("d.example") == 230
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                letters = await Taker(client).serve()
            numbers = [int(content.partition(b"Subject: ")[2].split()[0]) for _, _, content in letters]
            assert numbers == list(range(230))
            assert await depot.held("d.example") == 0

    play(scene)


def test_who_hangs_up_in_the_middle_gets_the_rest_next_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            for _ in range(5):
                await send(depot, "bob@d.example")
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                client.send("220 home", "250 home")
                await client.line()  # EHLO
                await client.line()  # MAIL
                client.transport.abort()
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await pass_time(1)
                await client.say("TURN", 250)
                assert len(await Taker(client).serve()) == 5

    play(scene)


def test_a_second_connection_is_told_that_the_first_is_at_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with calling(depot, secure=True) as first, calling(depot, secure=True) as second:
                await log_in(first)
                await log_in(second)
                await first.say("TURN", 250)
                await second.say("TURN", 450, "4.3.2")
                await second.say("NOOP", 250)
                assert len(await Taker(first).serve()) == 1

    play(scene)


def test_what_comes_while_it_is_fetched_waits_for_the_next_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                await send(depot, "bob@d.example")
                assert len(await Taker(client).serve()) == 1
            assert await depot.held("d.example") == 1

    play(scene)


def test_turn_with_nothing_to_fetch_is_a_greeting_and_a_goodbye(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot, calling(depot, secure=True) as client:
            await log_in(client)
            await client.say("TURN", 250)
            assert await Taker(client).serve() == []

    play(scene)


def test_a_stopping_server_lets_a_turned_connection_go_and_keeps_the_mail(tmp_path: Path) -> None:
    async def before() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                await depot.reception.stop(5)

    async def after() -> None:
        async with provider(tmp_path) as depot:
            assert await depot.held("d.example") == 1
            async with calling(depot, secure=True) as client:
                await log_in(client)
                await client.say("TURN", 250)
                assert len(await Taker(client).serve()) == 1

    play(before)
    play(after)


# ---- ATRN ----------------------------------------------------------------------------------------


@asynccontextmanager
async def dialled(depot: Depot, name: str = "dave@p.example") -> AsyncIterator[Client]:
    """On port 366, logged in."""
    async with calling(depot, ListenerRole.ODMR, secure=True) as client:
        await log_in(client, name)
        yield client


def test_atrn_wants_a_login_first_and_takes_no_mail(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot, calling(depot, ListenerRole.ODMR) as client:
            assert "ATRN" in await client.say("EHLO c.example", 250)
            await client.say("ATRN", 530)
            await client.say("MAIL FROM:<ann@a.example>", 502)

    play(scene)


@pytest.mark.parametrize(
    ("command", "fetched"), [("ATRN", 2), ("ATRN d.example", 1), ("ATRN e.example,d.example", 2), ("ATRN E.EXAMPLE", 1)]
)
def test_atrn_fetches_the_domains_that_it_names_or_all(tmp_path: Path, command: str, fetched: int) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", "eva@e.example", "fox@f.example")
            async with dialled(depot) as client:
                await client.say(command, 250)
                assert len(await Taker(client).serve()) == fetched
            assert await depot.held("d.example") + await depot.held("e.example") == 2 - fetched

    play(scene)


@pytest.mark.parametrize(
    ("name", "command", "code"),
    [
        ("dave@p.example", "ATRN f.example", 450),
        ("dave@p.example", "ATRN d.example,f.example", 450),
        ("dave@p.example", "ATRN d.example", 453),
        ("eve@p.example", "ATRN", 453),
        ("eve@p.example", "ATRN d.example", 450),
        ("dave@p.example", "ATRN d..example", 501),
    ],
)
def test_each_refusal_of_atrn_has_its_code(tmp_path: Path, name: str, command: str, code: int) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot, dialled(depot, name) as client:
            await send(depot, "fox@f.example")
            await client.say(command, code)
            await client.say("NOOP", 250)

    play(scene)


def test_atrn_for_what_is_being_fetched_already_is_451(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with dialled(depot) as first, dialled(depot) as second:
                await first.say("ATRN", 250)
                await second.say("ATRN d.example", 451)
                assert len(await Taker(first).serve()) == 1
                await pass_time(1)
                await second.say("ATRN d.example", 453)

    play(scene)


# ---- what the owner's host says ------------------------------------------------------------------


def test_a_recipient_that_is_refused_goes_back_to_the_sender_and_the_others_are_delivered(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", "bea@d.example", sender="eve@p.example")
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                await Taker(client, refuse={"bob@": "550 5.1.1 no bob here"}).serve()

            async def told() -> bool:
                return bool(await depot.letters_of("eve"))

            await depot.until(told)
            (notification,) = await depot.letters_of("eve")
            assert b"no bob here" in notification
            assert b"bea@d.example" not in notification.partition(b"\r\n\r\n")[2].partition(b"Subject: a letter")[0]
            assert await depot.held("d.example") == 0
            assert await depot.store.reports("d.example", 10) == ()

    play(scene)


def test_a_recipient_that_is_put_off_waits_for_the_next_time(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", "bea@d.example")
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                await Taker(client, refuse={"bob@": "451 4.2.0 not now"}).serve()
            async with dialled(depot) as client:
                await pass_time(1)
                await client.say("ATRN", 250)
                ((_, recipients, _),) = await Taker(client).serve()
            assert recipients == ["RCPT TO:<bob@d.example>"]

    play(scene)


def test_success_that_was_asked_for_is_told_when_the_owner_has_it_and_not_before(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            async with calling(depot) as client:
                await client.say("MAIL FROM:<eve@p.example>", 250)
                await client.say("RCPT TO:<bob@d.example> NOTIFY=SUCCESS", 250)
                await client.say("DATA", 354)
                client.send("Subject: x", "", ".")
                await client.expect(250)
            await depot.is_quiet()
            assert await depot.letters_of("eve") == []
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                await Taker(client).serve()

            async def told() -> bool:
                return bool(await depot.letters_of("eve"))

            await depot.until(told)
            (notification,) = await depot.letters_of("eve")
            assert b"Action: relayed" in notification

    play(scene)


def test_an_owners_host_that_knows_notifications_is_left_to_send_them(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            async with calling(depot) as client:
                await client.say("MAIL FROM:<eve@p.example> ENVID=QQ1", 250)
                await client.say("RCPT TO:<bob@d.example> NOTIFY=SUCCESS ORCPT=rfc822;bob@d.example", 250)
                await client.say("DATA", 354)
                client.send("Subject: x", "", ".")
                await client.expect(250)
            await depot.is_quiet()
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                ((sender, recipients, _),) = await Taker(client).serve("250 DSN")
            assert "ENVID=QQ1" in sender
            assert "NOTIFY=SUCCESS" in recipients[0]
            assert "ORCPT=rfc822;bob@d.example" in recipients[0]
            await pass_time(300)
            assert await depot.letters_of("eve") == []

    play(scene)


def test_the_story_tells_of_the_hold_and_of_who_fetched_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example")
            async with dialled(depot) as client:
                await client.say("ATRN", 250)
                await Taker(client).serve()
            await pass_time(120)
            entries = await depot.ledger.find(depot.accepted[0].queue_id, 100)
            facts = [fact for entry in entries for fact in entry.facts]
            fates = [outcome.fate.value for fact in facts for outcome in getattr(fact, "outcomes", ())]
            assert fates == ["relayed"]
            (attempt,) = facts
            assert attempt.destination == "hold:d.example"  # type: ignore[union-attr]
            assert attempt.remote_name == "customer.example"  # type: ignore[union-attr]

    play(scene)


# ---- ETRN ----------------------------------------------------------------------------------------


def at_home(depot: Depot, domain: str = "d.example", address: str = "203.0.113.9") -> Peer:
    """The domain's own host, found by MX, with us as the backup."""
    name = f"home.{domain}"
    peer = Peer(name)
    depot.internet.network.host(address).listen(25, peer.connection)
    depot.internet.addresses[name] = (address,)
    depot.internet.mx[domain] = (MxRecord(10, name), MxRecord(20, depot.hostname))
    return peer


async def is_sent(depot: Depot, domain: str) -> None:
    async def empty() -> bool:
        return await depot.held(domain) == 0

    await depot.until(empty)


def test_etrn_has_the_hold_sent_to_the_domains_own_host(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            await send(depot, "bob@d.example")
            await send(depot, "bea@d.example")
            async with calling(depot) as client:
                assert "ETRN" in await client.say("EHLO c.example", 250)
                answer = await client.say("ETRN d.example", 253)
                assert "2 pending messages" in answer
                await client.say("NOOP", 250)
            await is_sent(depot, "d.example")
            assert len(home.mail) == 2

    play(scene)


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("d.example", 251),
        ("@example", 251),
        ("a.example", 459),
        ("p.example", 459),
        ("#queue", 459),
        ("", 501),
        ("d..example", 501),
        ("[192.0.2.1]", 501),
    ],
)
def test_each_refusal_of_etrn_has_its_code(tmp_path: Path, argument: str, code: int) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot, calling(depot) as client:
            await client.say(f"ETRN {argument}".strip(), code)

    play(scene)


def test_etrn_for_a_domain_and_all_below_it_starts_each(tmp_path: Path) -> None:
    async def scene() -> None:
        holds = (hold("d.example", "dave@p.example"), hold("x.d.example", "dave@p.example"))
        async with provider(tmp_path, holds) as depot:
            one, other = at_home(depot), at_home(depot, "x.d.example", "203.0.113.10")
            await send(depot, "bob@d.example", "xaver@x.d.example")
            async with calling(depot) as client:
                assert "2 pending" in await client.say("ETRN @d.example", 253)
            await is_sent(depot, "d.example")
            await is_sent(depot, "x.d.example")
            assert len(one.mail) == len(other.mail) == 1

    play(scene)


def test_etrn_while_the_hold_is_on_its_way_says_so_and_sends_nothing_twice(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            await send(depot, "bob@d.example")
            async with calling(depot) as client:
                client.send("ETRN d.example", "ETRN d.example")
                await client.expect(253)
                await client.expect(252)
            await is_sent(depot, "d.example")
            assert len(home.mail) == 1

    play(scene)


def test_a_hold_of_many_letters_is_sent_over_as_many_connections_as_it_takes(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)
            async with calling(depot) as client:
                for number in range(230):
                    await client.give(b"Subject: %d\r\n\r\n" % number, "bob@d.example")
                await depot.is_quiet()
                await client.say("ETRN d.example", 253)
            await is_sent(depot, "d.example")
            assert len(home.mail) == 230
            assert home.connections == 3

    play(scene)


def test_what_needs_tls_all_the_way_goes_only_where_it_is_to_be_had(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            home = at_home(depot)  # it has no TLS
            async with calling(depot, secure=True) as client:
                for parameter in ("", " REQUIRETLS"):
                    await client.say(f"MAIL FROM:<ann@a.example>{parameter}", 250)
                    await client.say("RCPT TO:<bob@d.example>", 250)
                    await client.say("DATA", 354)
                    client.send("Subject: x", "", ".")
                    await client.expect(250)
                await depot.is_quiet()
                await client.say("ETRN d.example", 253)
            await pass_time(60)
            assert len(home.mail) == 1
            assert await depot.held("d.example") == 1

    play(scene)


def test_a_host_that_does_not_answer_leaves_the_mail_where_it_is(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            depot.internet.mx["d.example"] = (MxRecord(10, "home.d.example"),)
            depot.internet.addresses["home.d.example"] = ("203.0.113.99",)
            await send(depot, "bob@d.example")
            async with calling(depot) as client:
                await client.say("ETRN d.example", 253)
            await pass_time(600)
            assert await depot.held("d.example") == 1
            (line, *_) = await depot.holds.summaries()
            assert "home.d.example" in str(line["last"])
            home = at_home(depot)
            async with calling(depot) as client:
                await client.say("ETRN d.example", 253)
            await is_sent(depot, "d.example")
            assert len(home.mail) == 1

    play(scene)


def test_etrn_makes_due_what_waits_in_the_queue_for_a_route(tmp_path: Path) -> None:
    async def scene() -> None:
        routes = (Route("r.example", "203.0.113.9", 25),)
        async with provider(tmp_path, routes=routes) as depot:
            async with calling(depot, ListenerRole.SUBMISSION, secure=True) as client:
                await log_in(client)
                await client.give(LETTER, "rob@r.example", sender="dave@p.example")
            await pass_time(200)
            home = Peer("home.r.example")
            depot.internet.network.host("203.0.113.9").listen(25, home.connection)
            async with calling(depot) as client:
                assert "1 pending" in await client.say("ETRN r.example", 253)
                await depot.is_quiet()
                await client.say("ETRN r.example", 251)
            assert len(home.mail) == 1

    play(scene)


def test_who_asks_too_often_is_told_to_wait(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot, calling(depot) as client:
            for _ in range(ETRN_OF_CLIENT):
                await client.say("ETRN d.example", 251)
            await client.say("ETRN d.example", 458)
            await pass_time(61)
            await client.say("ETRN d.example", 251)

    play(scene)


# ---- waited too long, and held no more -----------------------------------------------------------


def test_what_nobody_fetches_goes_back_to_its_sender_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path, (hold("d.example", "dave@p.example", days=2),)) as depot:
            await send(depot, "bob@d.example", "bea@d.example", sender="eve@p.example")
            await pass_time(1.9 * 86_400)
            assert await depot.held("d.example") == 1
            await pass_time(0.2 * 86_400)
            assert await depot.held("d.example") == 0
            (notification,) = await depot.letters_of("eve")
            assert b"nobody fetched it" in notification
            assert b"bob@d.example" in notification
            assert b"bea@d.example" in notification
            await pass_time(3 * 86_400)
            assert len(await depot.letters_of("eve")) == 1
            assert await depot.queue.keys("hold/", "", 10) == ()

    play(scene)


@pytest.mark.parametrize("mode", ["R", "N"])
def test_a_time_to_be_there_by_is_kept_while_it_is_held(tmp_path: Path, mode: str) -> None:
    async def scene() -> None:
        async with provider(tmp_path) as depot:
            async with calling(depot) as client:
                await client.say(f"MAIL FROM:<eve@p.example> BY=7200;{mode}", 250)
                await client.say("RCPT TO:<bob@d.example>", 250)
                await client.say("DATA", 354)
                client.send("Subject: urgent", "", ".")
                await client.expect(250)
            await depot.is_quiet()
            await pass_time(7000)
            assert await depot.letters_of("eve") == []
            await pass_time(400)
            (notification,) = await depot.letters_of("eve")
            assert (b"Action: failed" if mode == "R" else b"Action: delayed") in notification
            assert await depot.held("d.example") == (mode == "N")
            await pass_time(7200)
            assert len(await depot.letters_of("eve")) == 1

    play(scene)


def test_a_notification_that_nobody_fetches_disturbs_nobody(tmp_path: Path) -> None:
    async def scene() -> None:
        async with provider(tmp_path, (hold("d.example", "dave@p.example", days=1),)) as depot:
            await send(depot, "bob@d.example", sender="")
            await pass_time(1.1 * 86_400)
            assert await depot.held("d.example") == 0
            assert (await depot.queue.counts(depot.internet.clock.now()))["messages"] == 0

    play(scene)


def test_mail_of_a_domain_that_has_no_hold_any_more_goes_the_way_it_has_now(tmp_path: Path) -> None:
    async def before() -> None:
        async with provider(tmp_path) as depot:
            await send(depot, "bob@d.example", content=LARGE)
            await send(depot, "bea@d.example")

    async def after() -> None:
        async with provider(tmp_path, HOLDS[1:], keep_holds=False) as depot:
            home = at_home(depot)
            await depot.keeping.look()
            await depot.is_quiet()
            assert len(home.mail) == 2
            assert await depot.held("d.example") == 0
            await depot.keeping.look()
            assert await depot.queue.keys("held/", "", 10) == ()

    play(before)
    play(after)
