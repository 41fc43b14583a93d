"""Users log in without sending their password, or by sending it; and nobody learns from a refusal who is there."""

from __future__ import annotations

import asyncio
import base64
import hmac
from functools import cache
from pathlib import Path

import msgspec
import pytest

from postroad.contracts.directory import Account
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.credentials import ScramKeys, scram_keys
from postroad.vocabulary.limits import AUTH_FAILURES, AUTH_FAILURES_OF_CLIENT, AUTH_MEMORY_S, SCRAM_ITERATIONS
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import AccountLimits, LimitSettings
from tests.services.houses import HERE, PASSWORD, Client, House, pass_time, play
from tests.support.scram import ScramClient, in_base64

ANN, BOB, NOBODY = f"ann@{HERE}", f"bob@{HERE}", f"nobody@{HERE}"
SALT = b"salt of sixteen!"
BINDING = b"b" * 32


@cache
def keys(password: str = PASSWORD) -> ScramKeys:
    return scram_keys(password, SALT)


async def give_keys(house: House, address: str = ANN, password: str = PASSWORD) -> Account:
    local_part, _, domain = address.partition("@")
    account = house.directory.account(Mailbox(local_part, domain))
    assert account is not None
    account = msgspec.structs.replace(account, password=password, scram=keys(password))
    await house.directory.change_account(account)
    return account


async def greeted(house: House, address: str = "198.51.100.7") -> Client:
    client = await house.connect(ListenerRole.SUBMISSIONS, address)
    await client.expect(220)
    await client.say("EHLO c.example", 250)
    return client


async def by_scram(client: Client, scram: ScramClient, mechanism: str = "SCRAM-SHA-256") -> str:
    """The whole exchange; the last reply."""
    client.send(f"AUTH {mechanism} {in_base64(scram.first())}")
    reply = await client.reply()
    if not reply.startswith("334 "):
        return reply
    client.send(in_base64(scram.final(base64.b64decode(reply[4:]))))
    reply = await client.reply()
    if not reply.startswith("334 "):
        return reply
    assert scram.believes(base64.b64decode(reply[4:]))
    client.send("")
    return await client.reply()


def test_a_user_logs_in_by_scram_and_may_send_as_itself(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            await give_keys(house)
            client = await greeted(house)
            assert (await by_scram(client, ScramClient(ANN, PASSWORD))).startswith("235 2.7.0")
            await client.say(f"MAIL FROM:<eve@{HERE}>", 553, "5.7.1")
            await client.say(f"MAIL FROM:<{ANN}>", 250)
            assert house.passwords.checks == 0

    play(scene)


@pytest.mark.parametrize(("ours", "theirs"), [(BINDING, BINDING), (BINDING, b"x" * 32), (b"", BINDING)])
def test_scram_plus_is_for_those_who_see_the_same_certificate(tmp_path: Path, ours: bytes, theirs: bytes) -> None:
    """RFC 5802 section 6: somebody between us, with a certificate of its own, is found out."""

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            house.channel_binding = ours
            await give_keys(house)
            client = await greeted(house)
            client.send("EHLO c.example")
            assert ("SCRAM-SHA-256-PLUS" in await client.reply()) == bool(ours)
            reply = await by_scram(client, ScramClient(ANN, PASSWORD, binding=theirs), "SCRAM-SHA-256-PLUS")
            assert reply.startswith("235" if ours == theirs else "535" if ours else "504")

    play(scene)


def test_a_wrong_password_by_scram_is_wrong_and_waits_as_any_other(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            await give_keys(house)
            client = await greeted(house)
            waits = []
            for _ in range(AUTH_FAILURES - 1):
                began = house.clock.now()
                assert (await by_scram(client, ScramClient(ANN, "wrong"))).startswith("535 5.7.8")
                waits.append((house.clock.now() - began).total_seconds())
            assert waits == sorted(waits)
            assert waits[-1] > 2 * waits[0] > 0
            assert (await by_scram(client, ScramClient(ANN, "wrong"))).startswith("421 4.7.0")
            assert [fact.stage for fact in house.ledger.refusals()] == ["AUTH"] * AUTH_FAILURES

    play(scene)


@pytest.mark.parametrize("name", [NOBODY, BOB, f"postmaster@{HERE}", "ann", f"ann@{HERE}", f"eve=,@{HERE}"])
def test_a_name_without_keys_looks_like_one_that_has_them(tmp_path: Path, name: str) -> None:
    """Nobody of that name, a disabled account that has keys, one that keeps none: each with a salt that stays."""

    async def scene() -> None:
        async with House.open(tmp_path) as house:
            await give_keys(house, BOB)
            salts = []
            for password in ("guess", PASSWORD):
                async with house.reception():
                    client = await greeted(house)
                    scram = ScramClient(name, password)
                    assert (await by_scram(client, scram)).startswith("535 5.7.8")
                    assert scram.iterations == SCRAM_ITERATIONS
                    assert len(scram.salt) == len(SALT)
                    salts.append(scram.salt)
            assert salts[0] == salts[1] != SALT

    play(scene)


def test_salts_of_names_without_keys_differ_by_name_and_by_installation(tmp_path: Path) -> None:
    async def scene() -> None:
        salts = set()
        for folder in ("one", "two"):
            async with House.open(tmp_path / folder) as house, house.reception():
                for name in (NOBODY, f"noone@{HERE}"):
                    scram = ScramClient(name, "x")
                    await by_scram(await greeted(house), scram)
                    salts.add(scram.salt)
        assert len(salts) == 4

    play(scene)


def test_a_guesser_by_scram_is_turned_away_before_a_proof_is_looked_at(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            await give_keys(house)
            # One that has its salt already when the others have guessed too often.
            early = await greeted(house)
            scram = ScramClient(ANN, PASSWORD)
            early.send(f"AUTH SCRAM-SHA-256 {in_base64(scram.first())}")
            challenge = await early.expect(334)

            async def guess() -> None:
                for n in range(AUTH_FAILURES_OF_CLIENT // 10):
                    client = await greeted(house)
                    wrong = ScramClient(ANN, "wrong")
                    await (client.log_in(password="wrong") if n else by_scram(client, wrong))
                    client.transport.close()

            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(guess())
            assert (await by_scram(await greeted(house), ScramClient(ANN, PASSWORD))).startswith("421 4.7.0")
            early.send(in_base64(scram.final(base64.b64decode(challenge[4:]))))
            await early.expect(334)
            assert (await early.say("", 421, "4.7.0")).startswith("421")
            assert (await by_scram(await greeted(house, "203.0.113.5"), ScramClient(ANN, PASSWORD))).startswith("235")
            await pass_time(AUTH_MEMORY_S)
            assert (await by_scram(await greeted(house), ScramClient(ANN, PASSWORD))).startswith("235")

    play(scene)


def test_guessers_of_one_network_are_shut_out_together(tmp_path: Path) -> None:
    async def guess(house: House, address: str) -> None:
        for _ in range(AUTH_FAILURES_OF_CLIENT):
            client = await greeted(house, address)
            await client.log_in(password="wrong")
            client.transport.close()

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            async with asyncio.TaskGroup() as group:
                for host in range(1, 5):
                    group.create_task(guess(house, f"198.51.100.{host}"))
            assert (await (await greeted(house, "198.51.100.5")).log_in()).startswith("421 4.7.0")
            assert (await (await greeted(house, "198.51.101.5")).log_in()).startswith("235")

    play(scene)


def test_the_longer_somebody_guesses_the_longer_the_answers_take_also_on_new_connections(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            waits = []
            for _ in range(8):
                client = await greeted(house)
                began = house.clock.now()
                assert (await client.log_in(password="wrong")).startswith("535")
                waits.append(round((house.clock.now() - began).total_seconds()))
                client.transport.close()
            assert waits == sorted(waits)
            assert waits[-1] == waits[-2] == 8

    play(scene)


def test_a_new_password_is_the_only_one_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            await give_keys(house)
            assert (await by_scram(await greeted(house), ScramClient(ANN, PASSWORD))).startswith("235")
            await give_keys(house, password="a new password")
            assert (await by_scram(await greeted(house), ScramClient(ANN, PASSWORD))).startswith("535")
            assert (await (await greeted(house)).log_in()).startswith("535")
            assert (await by_scram(await greeted(house), ScramClient(ANN, "a new password"))).startswith("235")

    play(scene)


def test_an_account_disabled_between_challenge_and_proof_does_not_log_in(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            account = await give_keys(house)
            client, scram = await greeted(house), ScramClient(ANN, PASSWORD)
            client.send(f"AUTH SCRAM-SHA-256 {in_base64(scram.first())}")
            challenge = await client.expect(334)
            await house.directory.change_account(msgspec.structs.replace(account, disabled=True))
            client.send(in_base64(scram.final(base64.b64decode(challenge[4:]))))
            await client.expect(334)
            await client.say("", 535, "5.7.8")

    play(scene)


@pytest.mark.parametrize(("whom", "code"), [("", "235"), (ANN, "235"), (NOBODY, "535"), (BOB, "535")])
def test_nobody_acts_for_another(tmp_path: Path, whom: str, code: str) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            await give_keys(house)
            scram = ScramClient(ANN, PASSWORD, authorization_id=whom)
            assert (await by_scram(await greeted(house), scram)).startswith(code)

    play(scene)


def test_a_directory_that_fails_is_no_wrong_password(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await greeted(house)
            await house.directory.close()
            assert (await by_scram(client, ScramClient(ANN, PASSWORD))).startswith("454 4.7.0")
            assert (await client.log_in()).startswith("454 4.7.0")

    play(scene)


def test_a_response_by_cram_md5_is_for_accounts_that_chose_to_keep_its_secret(tmp_path: Path) -> None:
    """Only where mail is fetched by ATRN is it offered at all."""

    def response(challenge: str, password: str) -> str:
        digest = hmac.digest(password.encode(), base64.b64decode(challenge[4:]), "md5").hex()
        return in_base64(f"{ANN} {digest}".encode())

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await greeted(house)
            client.send("EHLO c.example")
            assert "CRAM-MD5" not in await client.reply()
            await client.say("AUTH CRAM-MD5", 504)
            account = house.ann
            for secret, code in (("", 535), ("another", 535), (PASSWORD, 235)):
                account = msgspec.structs.replace(account, cram_secret=secret)
                await house.directory.change_account(account)
                async with house.client(ListenerRole.ODMR) as fetcher:
                    await fetcher.say("EHLO c.example", 250)
                    challenge = await fetcher.say("AUTH CRAM-MD5", 334)
                    await fetcher.say(response(challenge, PASSWORD), code)

    play(scene)


def test_an_account_has_so_many_sessions_and_no_more(tmp_path: Path) -> None:
    async def scene() -> None:
        limits = LimitSettings(account=AccountLimits(connections=2))
        async with House.open(tmp_path) as house, house.reception(limits=limits):
            await give_keys(house)
            first, second = await greeted(house), await greeted(house, "203.0.113.5")
            assert (await first.log_in()).startswith("235")
            assert (await by_scram(second, ScramClient(ANN, PASSWORD))).startswith("235")
            third = await greeted(house)
            assert (
                await third.log_in() == "421 4.7.0 Your account has too many connections open, close some and try again"
            )
            await third.until_closed()
            assert house.ledger.refusals()[-1].verdicts[0].rule == "connections_of_account"
            first.transport.close()
            await pass_time(1)
            assert (await (await greeted(house)).log_in()).startswith("235")
            assert (await (await greeted(house)).log_in()).startswith("421")
            account = msgspec.structs.replace(house.ann, connections=0)
            await house.directory.change_account(account)
            for _ in range(5):
                assert (await (await greeted(house)).log_in()).startswith("235")

    play(scene)
