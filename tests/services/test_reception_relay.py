"""Who may send to whom: strangers, our users, the users of the machine."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.limits import REFUSED_CLIENT_LINES, REFUSED_CLIENT_S
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import PolicySettings, Severity, WhoMayAsk
from tests.services.houses import ALL_OFF, CLIENT, HERE, HOSTNAME, SERVER, SERVER_UID, Client, House, play

LETTER = b"Subject: hi\r\n\r\nHello\r\n"


@pytest.mark.parametrize(
    ("recipient", "answer"),
    [
        (f"ann@{HERE}", "250 2.1.5"),
        (f"ANN@{HERE}", "250 2.1.5"),
        ("someone@b.example", "250 2.1.5"),
        ("postmaster", "250 2.1.5"),
        ("PostMaster", "250 2.1.5"),
        (f"postmaster@{HERE}", "250 2.1.5"),
        (f"postmaster@[{SERVER}]", "250 2.1.5"),
        (f"ann@[{SERVER}]", "550 5.1.1"),
        ("postmaster@[192.0.2.99]", "550 5.7.1"),
        (f"nobody@{HERE}", "550 5.1.1"),
        (f"bob@{HERE}", "550 5.2.1"),
        ("dan@elsewhere.example", "550 5.7.1"),
        (f"dan%elsewhere.example@{HERE}", "550 5.7.1"),
        (f"elsewhere.example!dan@{HERE}", "550 5.7.1"),
        (f'"dan@elsewhere.example"@{HERE}', "550 5.7.1"),
        ("dan%elsewhere.example@b.example", "550 5.7.1"),
        (f'"|cmd"@{HERE}', "550 5.1.1"),
        (f"|cmd@{HERE}", "550 5.1.1"),
        (f"/etc/passwd@{HERE}", "550 5.1.1"),
        (f"../../x@{HERE}", "501 5.1.3"),
        (f"@a.example,@b.example:ann@{HERE}", "250 2.1.5"),
    ],
)
def test_a_stranger_may_send_to(tmp_path: Path, recipient: str, answer: str) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("EHLO c.example", 250)
            await client.say("MAIL FROM:<cat@c.example>", 250)
            client.send(f"RCPT TO:<{recipient}>")
            assert (await client.reply()).startswith(answer)
            refused = [fact for fact in house.ledger.refusals() if fact.stage == "RCPT"]
            assert len(refused) == (answer[0] == "5" and not answer.startswith("501"))

    play(scene)


@pytest.mark.parametrize("spelling", ["postmaster", f"postmaster@[{SERVER}]"])
def test_mail_for_the_bare_postmaster_goes_to_a_mailbox(tmp_path: Path, spelling: str) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client() as client:
            await client.say("HELO c.example", 250)
            await client.give(LETTER, spelling)
            (group,) = house.accepted[0].groups
            assert str(group.destination) == "mailbox"
            assert group.recipients[0].forward_path == Mailbox("postmaster", "")

    play(scene)


def test_a_trusted_network_may_relay_and_skips_the_rules_about_strangers(tmp_path: Path) -> None:
    async def scene() -> None:
        policy = PolicySettings(
            reverse_dns=Severity.REJECT, sender_domain=Severity.REJECT, trusted_networks=(f"{CLIENT}/32",)
        )
        async with House.open(tmp_path) as house, house.reception(policy=policy), house.client() as client:
            await client.say("EHLO c.example", 250)
            assert (await client.give(LETTER, "dan@elsewhere.example", f"ann@{HERE}")).startswith("250 ")
            await client.say("MAIL FROM:<x@y.example>", 250)
            await client.say(f"RCPT TO:<nobody@{HERE}>", 550, "5.1.1")

    play(scene)


async def _logged_in(house: House) -> Client:
    client = await house.connect(ListenerRole.SUBMISSIONS)
    await client.expect(220)
    await client.say("EHLO laptop.example", 250)
    assert (await client.log_in()).startswith("235 2.7.0")
    return client


def test_mail_without_a_login_is_refused_on_the_submission_port(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(), house.client(ListenerRole.SUBMISSION) as client:
            await client.say("EHLO laptop.example", 250)
            await client.say(f"MAIL FROM:<ann@{HERE}>", 530, "5.7.0")

    play(scene)


@pytest.mark.parametrize(
    ("reverse_path", "answer"),
    [
        (f"ann@{HERE}", "250 2.1.0"),
        (f"Ann@{HERE}", "250 2.1.0"),
        (f"sales@{HERE}", "250 2.1.0"),
        ("", "250 2.1.0"),
        (f"bob@{HERE}", "553 5.7.1"),
        ("ann@elsewhere.example", "553 5.7.1"),
        (f"postmaster@{HERE}", "250 2.1.0"),
    ],
)
def test_a_user_may_send_as(tmp_path: Path, reverse_path: str, answer: str) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await _logged_in(house)
            client.send(f"MAIL FROM:<{reverse_path}>")
            assert (await client.reply()).startswith(answer)

    play(scene)


def test_a_user_may_write_to_everybody_but_to_nobody_here(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await _logged_in(house)
            await client.say(f"MAIL FROM:<ann@{HERE}>", 250)
            await client.say("RCPT TO:<dan@elsewhere.example>", 250)
            await client.say("RCPT TO:<dan%x@elsewhere.example>", 250)
            await client.say(f"RCPT TO:<nobody@{HERE}>", 550, "5.1.1")
            await client.say("DATA", 354)
            client.transport.write(LETTER + b".\r\n")
            await client.expect(250)
            content = (await house.content()).decode()
            assert "with ESMTPSA (" in content
            # RFC 6409 section 8: what a mail program left out is added.
            assert "\r\nDate: " in content
            assert f"\r\nMessage-ID: <{house.accepted[0].queue_id}@{HOSTNAME}>\r\n" in content

    play(scene)


def test_an_account_that_is_disabled_after_its_login_sends_no_more(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await _logged_in(house)
            await client.say(f"MAIL FROM:<ann@{HERE}>", 250)
            await client.say("RSET", 250)
            await house.directory.change_account(msgspec.structs.replace(house.ann, disabled=True))
            await client.say(f"MAIL FROM:<ann@{HERE}>", 530, "5.7.0")
            await client.say("MAIL FROM:<>", 530, "5.7.0")

    play(scene)


@pytest.mark.parametrize(
    ("uid", "reverse_path", "answer"),
    [
        (0, f"anything@{HERE}", "250"),
        (0, f"cron@{HOSTNAME}", "250"),
        (0, "ann@elsewhere.example", "553 5.7.1"),
        (SERVER_UID, f"anything@{HERE}", "250"),
        (1001, f"ann@{HOSTNAME}", "250"),
        (1001, f"ann@{HERE}", "250"),
        (1001, f"sales@{HERE}", "250"),
        (1001, f"root@{HOSTNAME}", "553 5.7.1"),
        (1001, f"bob@{HERE}", "553 5.7.1"),
        (1002, f"guest@{HOSTNAME}", "250"),
        (1002, f"guest@{HERE}", "553 5.7.1"),
        (1002, f"ann@{HERE}", "553 5.7.1"),
        (4711, f"4711@{HOSTNAME}", "250"),
        (1002, "", "250"),
    ],
)
def test_a_unix_user_may_send_as(tmp_path: Path, uid: int, reverse_path: str, answer: str) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect_local(uid)
            await client.expect(220)
            await client.say("EHLO localhost", 250)
            client.send(f"MAIL FROM:<{reverse_path}>")
            assert (await client.reply()).startswith(answer)

    play(scene)


def test_the_uid_of_a_local_sender_is_in_the_story_and_in_received(tmp_path: Path) -> None:
    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception():
            client = await house.connect_local(1002)
            await client.expect(220)
            await client.say("EHLO localhost", 250)
            await client.give(LETTER, "dan@elsewhere.example", sender=f"guest@{HOSTNAME}")
            assert b"(uid 1002)" in await house.content()
            (fact,) = house.accepted[0].story.facts
            assert fact.peer.uid == 1002  # type: ignore[union-attr]

    play(scene)


def test_blocked_senders_and_clients_are_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        policy = PolicySettings(
            reverse_dns=Severity.OFF, helo=Severity.OFF, sender_domain=Severity.OFF, own_sender=Severity.OFF,
            block_senders=("spam@c.example", "evil.example"), block_clients=("203.0.113.0/24", "bad.example"),
        )  # fmt: skip
        async with House.open(tmp_path) as house, house.reception(policy=policy):
            async with house.client() as client:
                await client.say("EHLO c.example", 250)
                await client.say("MAIL FROM:<Spam@c.example>", 550, "5.7.1")
                await client.say("MAIL FROM:<x@evil.example>", 550, "5.7.1")
                await client.say("MAIL FROM:<x@fine.example>", 250)
            async with house.client() as client:
                await client.say("EHLO bad.example", 250)
                await client.say("MAIL FROM:<x@fine.example>", 250)
                await client.say(f"RCPT TO:<ann@{HERE}>", 554, "5.7.1")
            blocked = await house.connect(address="203.0.113.9")
            await blocked.expect(554, "5.7.1")
            await blocked.say("EHLO blocked.example", 503, "5.5.1")
            await blocked.say("QUIT", 221, "2.0.0")
            assert await blocked.until_closed() == b""
            assert house.ledger.refusals()[-1].stage == "connect"

    play(scene)


@pytest.mark.parametrize(
    ("vrfy", "argument", "answer"),
    [
        (WhoMayAsk.ANYONE, f"ann@{HERE}", f"250 2.1.5 Ann Author <ann@{HERE}>"),
        (WhoMayAsk.ANYONE, f"<ann@{HERE}>", f"250 2.1.5 Ann Author <ann@{HERE}>"),
        (WhoMayAsk.ANYONE, f"nobody@{HERE}", "550 5.1.1"),
        (WhoMayAsk.ANYONE, "dan@elsewhere.example", "551 5.1.6"),
        (WhoMayAsk.AUTHENTICATED, f"ann@{HERE}", "252 2.1.5"),
        (WhoMayAsk.NEVER, f"nobody@{HERE}", "252 2.1.5"),
    ],
)
def test_vrfy_tells_a_stranger_what_the_policy_allows(
    tmp_path: Path, vrfy: WhoMayAsk, argument: str, answer: str
) -> None:
    async def scene() -> None:
        policy = msgspec.structs.replace(ALL_OFF, vrfy=vrfy)
        async with House.open(tmp_path) as house, house.reception(policy=policy), house.client() as client:
            await client.say("EHLO c.example", 250)
            client.send(f"VRFY {argument}")
            assert (await client.reply()).startswith(answer)

    play(scene)


def test_a_refused_client_that_says_nothing_or_too_much_is_not_waited_for(tmp_path: Path) -> None:
    """RFC 5321 section 3.1 has us wait for its QUIT; section 4.5.3.2 does not have us wait for ever."""
    policy = PolicySettings(block_clients=("203.0.113.0/24",))

    async def scene() -> None:
        async with House.open(tmp_path) as house, house.reception(policy=policy):
            silent = await house.connect(address="203.0.113.9")
            chatty = await house.connect(address="203.0.113.10")
            for client in (silent, chatty):
                await client.expect(554, "5.7.1")
            for _ in range(REFUSED_CLIENT_LINES):
                await chatty.say("NOOP", 503, "5.5.1")
            assert await chatty.until_closed() == b""
            begin = asyncio.get_running_loop().time()
            assert await silent.until_closed() == b""
            assert 0 < asyncio.get_running_loop().time() - begin <= REFUSED_CLIENT_S + 1

    play(scene)
