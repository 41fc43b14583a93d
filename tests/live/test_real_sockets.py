"""Reception and POP3 on real sockets, real TLS, real SQLite and real passwords, met by Python's own clients."""

from __future__ import annotations

import asyncio
import os
import poplib
import smtplib
import socket
import ssl
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from postroad.contracts.directory import Account, Domain
from postroad.contracts.mailbox_store import Delivery
from postroad.contracts.network import ListenerHandle
from postroad.contracts.queue_store import NewMessage, QueueFilter
from postroad.rules.routing import group_recipients
from postroad.services.leads import lists_in
from postroad.services.pop3_service import Pop3Service, Pop3Settings, Pop3Stores
from postroad.services.reception import Onward, Reception, ReceptionSettings, Stores, Surroundings
from postroad.storage.sqlite.directory_store import SqliteDirectory
from postroad.storage.sqlite.mailbox_store import SqliteMailboxStore
from postroad.storage.sqlite.queue_store import SqliteQueueStore
from postroad.vocabulary.address import Mailbox
from postroad.vocabulary.listener import ListenerRole
from postroad.vocabulary.settings import DeliverySettings, LimitSettings, PlaintextLogin
from postroad.world.binding import bind_listener, bind_local
from postroad.world.clock import SystemClock
from postroad.world.passwords import Argon2Passwords
from postroad.world.tcp import RealNetwork
from postroad.world.tls import TlsIdentity, make_self_signed, write_identity
from tests.services.dns import Zone
from tests.services.houses import ALL_OFF, HERE, HOSTNAME, PASSWORD, Notebook
from tests.support.ports import pause

LETTER = b"From: ann@here.example\r\nSubject: hi\r\n\r\nHello\r\n.dot\r\n"
PATIENCE_S = 60.0
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Office:
    """A running house: ports by role, and what came in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = str(folder / "submit.sock")
        self.ports: dict[ListenerRole, int] = {}
        self.accepted: list[NewMessage] = []
        self.ledger = Notebook()
        self.queue: SqliteQueueStore
        self.mailboxes: SqliteMailboxStore
        self.reception: Reception
        self.ann: Account
        self.loop = asyncio.get_running_loop()

    def files(self) -> list[Path]:
        return [each for each in (self.folder / "queue" / "0").rglob("*") if each.is_file()]

    async def deliver(self, content: bytes) -> None:
        """As local delivery will."""
        now = SystemClock().now()
        queue_id = self.queue.new_id(now)
        delivery = Delivery(
            account_id=self.ann.id, key=f"{queue_id}/ann", queue_id=queue_id, head=b"", content=content, received_at=now
        )
        await self.mailboxes.deliver(delivery)


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Office]:
    office = Office(folder)
    write_identity(folder / "cert.pem", folder / "key.pem", make_self_signed(HOSTNAME))
    identity = TlsIdentity(folder / "cert.pem", folder / "key.pem")
    clock, passwords = SystemClock(), Argon2Passwords()
    directory = SqliteDirectory(folder / "directory.db")
    await directory.add_domain(Domain(name=HERE))
    office.queue = await SqliteQueueStore.open(folder / "queue", 0, clock_now=clock.now)
    office.mailboxes = SqliteMailboxStore(folder / "mail")
    stored = await passwords.hash(PASSWORD)
    office.ann = await directory.add_account(Account(id=0, address=Mailbox("ann", HERE), password=stored))
    delivery = DeliverySettings(hostname=HOSTNAME)
    listeners: list[ListenerHandle] = []
    async with (
        RealNetwork(identity) as network,
        Reception(
            settings=ReceptionSettings(
                hostname=HOSTNAME, limits=LimitSettings(exempt=("127.0.0.0/8",)), policy=ALL_OFF, tls_available=True
            ),
            stores=Stores(queue=office.queue, directory=directory, passwords=passwords, ledger=office.ledger),
            around=Surroundings(
                clock=clock,
                network=network,
                resolver=Zone(),
                free_bytes=lambda: 10**12,
                user_name=lambda uid: "me" if uid == os.getuid() else None,
            ),
            onward=Onward(
                routing=lambda recipients: group_recipients(
                    recipients, directory.domain, lists_in(directory), delivery
                ),
                accepted=office.accepted.append,
            ),
        ) as reception,
        Pop3Service(
            settings=Pop3Settings(
                hostname=HOSTNAME, plaintext_login=PlaintextLogin.LOOPBACK, tls_available=True, exempt=("127.0.0.0/8",)
            ),
            stores=Pop3Stores(
                mailboxes=office.mailboxes, directory=directory, passwords=passwords, ledger=office.ledger
            ),
            clock=clock,
            network=network,
        ) as pop3,
    ):
        office.reception = reception
        for role in ListenerRole:
            if role is ListenerRole.LOCAL:
                listeners.append(await network.listen(bind_local(office.socket), reception.connection(role)))
                continue
            service = pop3 if role in (ListenerRole.POP3, ListenerRole.POP3S) else reception
            [sock] = bind_listener("127.0.0.1:0")
            office.ports[role] = sock.getsockname()[1]
            listener: ListenerHandle = await network.listen(sock, service.connection(role), tls=role.implicit_tls)
            reception.overload.watch(listener)
            listeners.append(listener)
        yield office
        for each in listeners:
            await each.close()
        await reception.stop(5)
        await pop3.stop(5)
        assert reception.sessions == pop3.sessions == 0
    await office.queue.close()
    await office.mailboxes.close()
    await directory.close()
    await passwords.close()


def play(folder: Path, scene: Callable[[Office], object], loop: str = "uvloop") -> None:
    """Run the house in the loop and the scene, which may block, in a thread."""
    complaints: list[object] = []

    async def both() -> None:
        async with asyncio.timeout(PATIENCE_S), running(folder) as office:
            await asyncio.to_thread(scene, office)

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: complaints.append(context))
        runner.run(both())
    assert complaints == []


def trusting(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    context.check_hostname = False
    return context


@pytest.mark.parametrize("loop", LOOPS)
def test_a_letter_by_starttls_and_auth(tmp_path: Path, loop: str) -> None:
    def scene(office: Office) -> None:
        with smtplib.SMTP("127.0.0.1", office.ports[ListenerRole.SUBMISSION], timeout=20) as client:
            client.starttls(context=trusting(tmp_path))
            client.login(f"ann@{HERE}", PASSWORD)
            assert client.sendmail(f"ann@{HERE}", ["dan@elsewhere.example", f"ann@{HERE}"], LETTER) == {}
        (message,) = office.accepted
        assert isinstance(message.content, bytes)
        assert message.content.endswith(b"Subject: hi\r\n\r\nHello\r\n.dot\r\n")
        assert b"with ESMTPSA (TLSv1.3 " in message.content

    play(tmp_path, scene, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_letter_over_tls_from_the_first_octet_with_a_wrong_password_first(tmp_path: Path, loop: str) -> None:
    def scene(office: Office) -> None:
        port = office.ports[ListenerRole.SUBMISSIONS]
        with smtplib.SMTP_SSL("127.0.0.1", port, timeout=20, context=trusting(tmp_path)) as client:
            with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
                client.login(f"ann@{HERE}", "wrong", initial_response_ok=True)
            assert refused.value.smtp_code == 535
            client.login(f"ann@{HERE}", PASSWORD)
            client.sendmail(f"ann@{HERE}", f"ann@{HERE}", LETTER)
        assert len(office.accepted) == 1

    play(tmp_path, scene, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_many_letters_at_once_are_all_in_the_queue(tmp_path: Path, loop: str) -> None:
    letters, clients = 20, 10

    def send(office: Office) -> None:
        with smtplib.SMTP("127.0.0.1", office.ports[ListenerRole.SMTP], timeout=20) as client:
            for _ in range(letters):
                client.sendmail("cat@c.example", f"ann@{HERE}", LETTER)

    def scene(office: Office) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(clients) as pool:
            for done in [pool.submit(send, office) for _ in range(clients)]:
                done.result()
        assert len({message.queue_id for message in office.accepted}) == letters * clients

    play(tmp_path, scene, loop)


def test_a_local_user_hands_in_a_letter_by_the_unix_socket(tmp_path: Path) -> None:
    def scene(office: Office) -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(20)
            sock.connect(office.socket)
            with sock.makefile("rwb") as stream:

                def say(octets: bytes, code: bytes) -> None:
                    stream.write(octets)
                    stream.flush()
                    while (line := stream.readline())[3:4] == b"-":
                        pass
                    assert line.startswith(code), line

                say(b"", b"220")
                say(b"EHLO localhost\r\n", b"250")
                say(f"MAIL FROM:<me@{HOSTNAME}>\r\n".encode(), b"250")
                say(b"RCPT TO:<dan@elsewhere.example>\r\n", b"250")
                say(b"DATA\r\n", b"354")
                say(LETTER.replace(b"\r\n.", b"\r\n..") + b".\r\n", b"250 2.0.0 Ok: queued as ")
                say(b"QUIT\r\n", b"221")
        (fact,) = office.accepted[0].story.facts
        assert fact.peer.uid == os.getuid()  # type: ignore[union-attr]

    play(tmp_path, scene)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_large_letter_costs_little_memory(tmp_path: Path, loop: str) -> None:
    """25 MB come in, and at no moment is more than a few MB of them in memory."""
    block = (b"x" * 76 + b"\r\n") * 800
    blocks = 25_000_000 // len(block)

    def scene(office: Office) -> None:
        with smtplib.SMTP("127.0.0.1", office.ports[ListenerRole.SMTP], timeout=30) as client:
            client.ehlo("c.example")
            client.mail("cat@c.example")
            client.rcpt(f"ann@{HERE}")
            assert client.docmd("DATA")[0] == 354
            assert client.sock is not None
            tracemalloc.start()
            try:
                client.sock.sendall(b"Subject: large\r\n\r\n")
                for _ in range(blocks):
                    client.sock.sendall(block)
                client.sock.sendall(b".\r\n")
                assert client.getreply()[0] == 250
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert peak < 5_000_000
        content = office.accepted[0].content
        assert not isinstance(content, bytes)
        assert content.size_bytes > blocks * len(block)

    play(tmp_path, scene, loop)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cut_in_mid_data_leaves_no_row_and_no_file(tmp_path: Path, loop: str) -> None:
    def scene(office: Office) -> None:
        before = office.files()
        client = smtplib.SMTP("127.0.0.1", office.ports[ListenerRole.SMTP], timeout=20)
        client.ehlo("c.example")
        client.mail("cat@c.example")
        client.rcpt(f"ann@{HERE}")
        client.docmd("DATA")
        assert client.sock is not None
        client.sock.sendall(b"Subject: x\r\n\r\n" + b"y" * 76 + b"\r\n" * 200_000)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        # A later conversation is answered only after the cut was dealt with; a thread removes the file.
        end = time.monotonic() + 20
        with smtplib.SMTP("127.0.0.1", office.ports[ListenerRole.SMTP], timeout=20) as other:
            while office.reception.sessions > 1:
                other.noop()
        while office.files() != before:
            assert time.monotonic() < end, office.files()
            pause()
        assert office.accepted == []

    play(tmp_path, scene, loop)

    async def look() -> None:
        queue = await SqliteQueueStore.open(tmp_path / "queue", 0, clock_now=SystemClock().now)
        assert await queue.entries(QueueFilter(), 10) == ()
        await queue.close()

    asyncio.run(look())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("role", [ListenerRole.POP3, ListenerRole.POP3S])
def test_a_user_fetches_and_removes_letters(tmp_path: Path, loop: str, role: ListenerRole) -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 40_000

    def scene(office: Office) -> None:
        running_loop = office.loop
        for letter in (LETTER, large):
            asyncio.run_coroutine_threadsafe(office.deliver(letter), running_loop).result(20)
        port = office.ports[role]

        def connect() -> poplib.POP3:
            if role is ListenerRole.POP3S:
                return poplib.POP3_SSL("127.0.0.1", port, timeout=20, context=trusting(tmp_path))
            return poplib.POP3("127.0.0.1", port, timeout=20)

        client = connect()
        client.user(f"ann@{HERE}")
        client.pass_(PASSWORD)
        assert client.stat()[0] == 2
        assert b"\r\n".join(client.retr(1)[1]) + b"\r\n" == LETTER
        assert b"\r\n".join(client.retr(2)[1]) + b"\r\n" == large
        client.dele(1)
        client.quit()
        client = connect()
        client.user(f"ann@{HERE}")
        client.pass_(PASSWORD)
        assert client.stat()[0] == 1
        client.quit()

    play(tmp_path, scene, loop)
