"""How long a server is waited for, reply by reply (RFC 5321 section 4.5.3.2), and what is said to who knows us."""

from postroad.vocabulary.limits import (
    CLIENT_COMMAND_S,
    CLIENT_CONTENT_S,
    CLIENT_DATA_S,
    CLIENT_END_OF_DATA_S,
    CLIENT_GREETING_S,
    SERVER_CONTENT_S,
)
from postroad.wire.smtp.client_core import ClientProfile
from postroad.wire.smtp.server_profile import ServerProfile
from tests.wire.smtp.test_client import EHLO, FACTS, TLS_EHLO, Client, connected


def test_nobody_is_given_up_sooner_than_the_standard_says() -> None:
    minute = 60
    assert 5 * minute <= CLIENT_GREETING_S
    assert 5 * minute <= CLIENT_COMMAND_S
    assert 2 * minute <= CLIENT_DATA_S
    assert 3 * minute <= CLIENT_CONTENT_S
    assert 10 * minute <= CLIENT_END_OF_DATA_S
    assert 3 * minute <= SERVER_CONTENT_S
    assert ServerProfile(hostname="mx.example.org").command_s >= 5 * minute


def test_each_reply_has_a_time_of_its_own() -> None:
    client = Client()
    waits = [client.session.patience_s]
    client.hear(b"220 mx.b.example\r\n")
    waits.append(client.session.patience_s)
    client.hear(b"250-mx.b.example\r\n250 SIZE\r\n")
    client.begin()
    for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
        waits.append(client.session.patience_s)
        client.hear(answer)
    waits.append(client.session.patience_s)
    command = CLIENT_COMMAND_S
    assert waits == [CLIENT_GREETING_S, command, command, command, CLIENT_DATA_S, CLIENT_END_OF_DATA_S]


def test_a_pipelined_group_is_waited_for_reply_by_reply() -> None:
    client = connected()
    client.begin()
    waits = []
    for answer in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
        waits.append(client.session.patience_s)
        client.hear(answer)
    assert waits == [CLIENT_COMMAND_S, CLIENT_COMMAND_S, CLIENT_DATA_S]


def test_who_knows_us_hears_that_we_vouch_for_no_submitter() -> None:
    """RFC 4954 section 5; who does not know us hears nothing of it."""
    client = Client(ClientProfile(helo_name="a.example", credentials=("ann", "secret")))
    client.hear(b"220 mx.b.example ESMTP\r\n")
    client.hear(TLS_EHLO)
    client.hear(b"220 go\r\n")
    client.session.tls_started(FACTS)
    client.settle()
    client.hear(EHLO.replace(b"SIZE 1000", b"AUTH PLAIN"))
    client.hear(b"235 ok\r\n")
    assert client.begin().startswith(b"MAIL FROM:<ann@a.example> AUTH=<>\r\n")
    stranger = connected(EHLO.replace(b"SIZE 1000", b"AUTH PLAIN"))
    assert stranger.begin().startswith(b"MAIL FROM:<ann@a.example>\r\n")
