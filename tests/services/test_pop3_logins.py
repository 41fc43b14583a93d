"""Users log in to their maildrop by AUTH and APOP, and say what they can read (RFC 5034, RFC 1939, RFC 6856)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from postroad.contracts.mailbox_store import Delivery
from postroad.message.surrogate import plan_surrogate
from postroad.vocabulary.credentials import scram_keys
from postroad.vocabulary.limits import AUTH_FAILURES, CONTENT_IN_ROW_BYTES
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.queue_id import QueueId
from postroad.vocabulary.settings import PlaintextLogin
from tests.services.houses import HERE, PASSWORD, Client, House, play
from tests.support.scram import ScramClient, in_base64

ANN = f"ann@{HERE}"
KEYS = scram_keys(PASSWORD, b"salt of sixteen!", 4096)
PLAIN = in_base64(f"\0{ANN}\0{PASSWORD}".encode())
HEAD = "Return-Path: <grün@a.example>\r\n".encode()
SMALL = "From: Jøran <jøran@a.example>\r\nSubject: Grüße\r\n\r\n.Grüße\r\n".encode()
LARGE = SMALL + ("ü" * 30 + "\r\n").encode() * (CONTENT_IN_ROW_BYTES // 50)


@asynccontextmanager
async def _office(folder: Path, letters: tuple[bytes, ...] = (b"Subject: x\r\n\r\nx\r\n",)) -> AsyncIterator[House]:
    async with House.open(folder) as house, house.pop3(PlaintextLogin.LOOPBACK, apop=True):
        house.channel_binding = b"b" * 32
        await house.directory.change_account(msgspec.structs.replace(house.ann, scram=KEYS, cram_secret=PASSWORD))
        for n, letter in enumerate(letters):
            plan = plan_surrogate(HEAD + letter)
            await house.mailboxes.deliver(
                Delivery(
                    account_id=house.ann.id,
                    key=f"{n:012}/{ANN}",
                    queue_id=QueueId(f"{n:012}"),
                    head=HEAD,
                    content=letter,
                    received_at=house.clock.now(),
                    surrogate=plan.edits if plan else b"",
                    surrogate_growth=plan.growth_bytes if plan else 0,
                )
            )
        yield house


async def _ask(client: Client, command: str) -> str:
    client.send(command)
    return (await client.line()).decode()


async def _lines(client: Client, command: str) -> list[bytes]:
    assert (await _ask(client, command)).startswith("+OK")
    lines: list[bytes] = []
    while (line := await client.line()) != b".":
        lines.append(line.removeprefix(b"."))
    return lines


async def _greeted(house: House, role: ListenerRole = ListenerRole.POP3) -> tuple[Client, str]:
    client = await house.connect(role)
    return client, (await client.line()).decode()


def test_a_user_logs_in_by_scram_in_clear_where_no_password_may_be_sent(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client, _ = await _greeted(house)
            assert (await _ask(client, f"AUTH PLAIN {PLAIN}")).startswith("-ERR ")
            scram = ScramClient(ANN, PASSWORD)
            first = await _ask(client, f"AUTH SCRAM-SHA-256 {in_base64(scram.first())}")
            final = await _ask(client, in_base64(scram.final(base64.b64decode(first[2:]))))
            assert scram.believes(base64.b64decode(final[2:]))
            assert (await _ask(client, "")).startswith("+OK 1 messages")
            assert house.passwords.checks == 0

    play(scene)


@pytest.mark.parametrize(("seen", "welcome"), [(b"b" * 32, "+OK"), (b"x" * 32, "-ERR [AUTH]")])
def test_scram_plus_is_for_who_sees_the_same_certificate(tmp_path: Path, seen: bytes, welcome: str) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client, _ = await _greeted(house, ListenerRole.POP3S)
            scram = ScramClient(ANN, PASSWORD, binding=seen)
            first = await _ask(client, f"AUTH SCRAM-SHA-256-PLUS {in_base64(scram.first())}")
            answer = await _ask(client, in_base64(scram.final(base64.b64decode(first[2:]))))
            if answer.startswith("+ "):
                answer = await _ask(client, "")
            assert answer.startswith(welcome)

    play(scene)


def test_a_user_logs_in_by_plain_inside_tls_and_acts_for_nobody_else(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client, _ = await _greeted(house, ListenerRole.POP3S)
            other = in_base64(f"bob@{HERE}\0{ANN}\0{PASSWORD}".encode())
            assert (await _ask(client, f"AUTH PLAIN {other}")).startswith("-ERR [AUTH]")
            assert (await _ask(client, f"AUTH PLAIN {PLAIN}")).startswith("+OK 1 messages")

    play(scene)


def _digest(greeting: str) -> str:
    stamp = greeting[greeting.index("<") :]
    return hashlib.md5((stamp + PASSWORD).encode()).hexdigest()


def test_apop_is_for_accounts_that_keep_such_a_secret(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client, greeting = await _greeted(house)
            assert (await _ask(client, f"APOP {ANN} {_digest(greeting)}")).startswith("+OK 1 messages")
            await _ask(client, "QUIT")
            account = msgspec.structs.replace(house.ann, scram=KEYS, cram_secret="")
            await house.directory.change_account(account)
            client, greeting = await _greeted(house)
            assert (await _ask(client, f"APOP {ANN} {_digest(greeting)}")).startswith("-ERR [AUTH]")

    play(scene)


def test_a_digest_that_was_overheard_opens_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client, greeting = await _greeted(house)
            overheard = f"APOP {ANN} {_digest(greeting)}"
            await _ask(client, overheard)
            await _ask(client, "QUIT")
            for _ in range(AUTH_FAILURES):
                thief, _ = await _greeted(house)
                assert await _ask(thief, overheard) == "-ERR [AUTH] Wrong name or password"
                thief.transport.close()
            refused = house.ledger.refusals()
            assert {(each.stage, each.subject) for each in refused} == {("APOP", ANN)}

    play(scene)


def test_wrong_proofs_count_as_wrong_passwords_do(tmp_path: Path) -> None:
    async def scene() -> None:
        async with _office(tmp_path) as house:
            client, _ = await _greeted(house)
            began = house.clock.now()
            for _ in range(AUTH_FAILURES):
                assert (await _ask(client, f"APOP {ANN} {'0' * 32}")).startswith("-ERR [AUTH]")
            await client.until_closed()
            assert (house.clock.now() - began).total_seconds() > 10

    play(scene)


@pytest.mark.parametrize("letter", [SMALL, LARGE], ids=["small", "large"])
def test_who_has_not_said_utf8_gets_a_surrogate_and_all_sizes_agree(tmp_path: Path, letter: bytes) -> None:
    async def scene() -> None:
        async with _office(tmp_path, (letter,)) as house:
            for utf8 in (False, True):
                client, _ = await _greeted(house, ListenerRole.POP3S)
                if utf8:
                    assert (await _ask(client, "UTF8")).startswith("+OK")
                await _ask(client, f"AUTH PLAIN {PLAIN}")
                whole = b"".join(line + b"\r\n" for line in await _lines(client, "RETR 1"))
                header, _, body = whole.partition(b"\r\n\r\n")
                assert body == letter.partition(b"\r\n\r\n")[2]
                assert (whole == HEAD + letter) == utf8
                assert header.isascii() != utf8
                assert await _lines(client, "TOP 1 0") == [*header.split(b"\r\n"), b""]
                assert await _ask(client, "STAT") == f"+OK 1 {len(whole)}"
                assert await _ask(client, "LIST 1") == f"+OK 1 {len(whole)}"
                assert await _ask(client, "RETR 1") == f"+OK {len(whole)} octets"
                client.transport.close()
                await client.until_closed()

    play(scene)
