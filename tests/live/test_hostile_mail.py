"""Hostile mail at real sockets, in clear and inside TLS: addresses, parameters, sizes, chunks and headers; the exact
octets, and the exact answer."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator

import pytest

from tests.support.careless_sink import CarelessSink, careless_sink
from tests.support.doors import DOORS, Door, delivered_unharmed, fetched
from tests.support.server import Server
from tests.support.wire import Wire

MESSAGE_BYTES, RECIPIENTS = 100_000, 100
TOO_LARGE = b"552 5.3.4 The message is larger than this server takes\r\n"
MAIL_FIRST = b"503 5.5.1 Send MAIL first\r\n"

pytestmark = pytest.mark.xdist_group("hostile")
both_doors = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.role)


@pytest.fixture(scope="module")
def sink() -> Iterator[CarelessSink]:
    with careless_sink() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, sink: CarelessSink) -> Iterator[Server]:
    """With low limits; what is not for here goes to the sink."""
    sections = f'bare_newline = "normalise"\n[delivery]\nsmarthost = "127.0.0.1:{sink.port}"\nsmarthost_tls = "none"\n'
    running = Server(tmp_path_factory.mktemp("hostile-mail"), sections=sections)
    limits = f"[limits]\nmessage_bytes = {MESSAGE_BYTES}\nrecipients = {RECIPIENTS}\n"
    running.configuration.write_text(running.configuration.read_text().replace("[limits]\n", limits))
    running.start()
    yield running
    delivered_unharmed(running)
    assert not any(message.startswith(b"Return-Path: <evil") for message in fetched(running, "bob"))
    assert "unexpected" not in running.log()
    assert running.stop() == 0


# ---- 2. what leaves us -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\n"], ids=repr)
def test_a_careless_server_sees_one_message_of_ours_whatever_is_in_it(
    server: Server, sink: CarelessSink, end: bytes
) -> None:
    before = len(sink.contents)
    with DOORS[1].greeted(server) as wire:
        wire.ask(b"MAIL FROM:<ann@here.example>")
        wire.ask(b"RCPT TO:<cat@away.example>")
        wire.ask(b"DATA")
        said = wire.ask(b"Subject: x\r\n\r\nhello" + end + b"MAIL FROM:<evil@x>\r\nDATA\r\nevil\r\n.")
        assert said.startswith(b"250 2.0.0 Ok: queued as ")
    server.wait_until_delivered()
    [content] = sink.contents[before:]
    assert content.count(b"\r\n") == content.count(b"\r") == content.count(b"\n")
    assert content.endswith(b"MAIL FROM:<evil@x>\r\nDATA\r\nevil\r\n.\r\n")


# ---- 13. BDAT --------------------------------------------------------------------------------------


def chunked(door: Door, server: Server) -> Wire:
    """In a transaction, where BDAT is announced."""
    wire = door.greeted(server)
    assert b"CHUNKING" in wire.ask(b"EHLO client.example")
    return wire


@both_doors
def test_a_chunk_without_mail_is_swallowed_to_the_octet(server: Server, door: Door) -> None:
    with chunked(door, server) as wire:
        wire.say(b"BDAT 28\r\nMAIL FROM:<evil@a.example>\r\nNOOP\r\n")
        assert wire.reply() == MAIL_FIRST
        assert wire.reply() == b"250 2.0.0 OK\r\n"
        assert wire.ask(b"RCPT TO:<bob@here.example>") == MAIL_FIRST


@both_doors
@pytest.mark.parametrize("size", [b"18446744073709551616", b"-1", b"0x10", b"1e9", b"", b"1 FIRST", b"+1"], ids=repr)
def test_a_chunk_without_a_size_ends_the_connection(server: Server, door: Door, size: bytes) -> None:
    with chunked(door, server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        wire.ask(b"RCPT TO:<bob@here.example>")
        wire.say(b"BDAT " + size + b"\r\nMAIL FROM:<evil@a.example>\r\n")
        said = wire.reply()
        assert said.startswith((b"501 5.5.4 ", b"552 5.3.4 ")), said
        assert wire.ended()


@both_doors
def test_data_and_bdat_do_not_mix(server: Server, door: Door) -> None:
    with chunked(door, server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        wire.ask(b"RCPT TO:<bob@here.example>")
        wire.say(b"BDAT 3\r\nA: ")
        assert wire.reply().startswith(b"250 2.0.0 ")
        assert wire.ask(b"DATA").startswith(b"503 5.5.1 ")
        wire.say(b"BDAT 16 LAST\r\nb\r\n\r\nc\r\n.\r\nd\r\n\r\n")
        assert wire.reply().startswith(b"250 2.0.0 Ok: queued as ")


@both_doors
def test_chunks_over_the_size_are_refused_and_swallowed(server: Server, door: Door) -> None:
    with chunked(door, server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        wire.ask(b"RCPT TO:<bob@here.example>")
        wire.say(b"BDAT %d LAST\r\n" % (MESSAGE_BYTES + 1) + b"MAIL F\r\n" * 12_500 + b"x" + b"NOOP\r\n")
        assert wire.reply() == TOO_LARGE
        assert wire.reply() == b"250 2.0.0 OK\r\n"
        assert wire.ask(b"BDAT 0 LAST") == MAIL_FIRST


@both_doors
def test_a_million_chunks_are_not_taken(server: Server, door: Door) -> None:
    with chunked(door, server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        wire.ask(b"RCPT TO:<bob@here.example>")
        answers = set()
        for _ in range(30):
            wire.say_what_is_taken(b"BDAT 1\r\n\rBDAT 1\r\n\n" * 500)
            answers |= {wire.reply()[:9] for _ in range(1000)}
        assert answers == {b"250 2.0.0", b"421 4.7.0", b""}


@both_doors
@pytest.mark.parametrize("ending", [b"RSET\r\n", b"BDAT 10\r\nxx"], ids=["RSET", "cut"])
def test_of_chunks_without_a_last_one_nothing_is_kept(server: Server, door: Door, ending: bytes) -> None:
    with chunked(door, server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        wire.ask(b"RCPT TO:<bob@here.example>")
        wire.say(b"BDAT 14\r\nSubject: evil\n" + ending)
        wire.reply()
        if ending == b"RSET\r\n":
            assert wire.reply() == b"250 2.0.0 OK\r\n"
            assert wire.ask(b"BDAT 0 LAST") == MAIL_FIRST
    assert server.queued() == 0


@both_doors
def test_a_bare_newline_in_a_chunk_is_refused_without_binarymime(server: Server, door: Door) -> None:
    with chunked(door, server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        wire.ask(b"RCPT TO:<bob@here.example>")
        wire.say(b"BDAT 8 LAST\r\na: b\n\nc\n")
        assert wire.reply().startswith(b"550 5.6.0 ")


# ---- 14. sizes -------------------------------------------------------------------------------------


@both_doors
def test_who_lies_about_the_size_is_read_to_the_true_end(server: Server, door: Door) -> None:
    with door.greeted(server) as wire:
        assert wire.ask(b"MAIL FROM:<%b> SIZE=1" % door.sender) == b"250 2.1.0 Sender OK\r\n"
        wire.ask(b"RCPT TO:<bob@here.example>")
        wire.ask(b"DATA")
        wire.say(b"A: b\r\n\r\n" + b"MAIL FROM:<evil@a.example>\r\n" * 5000 + b".\r\nNOOP\r\n")
        assert wire.reply() == TOO_LARGE
        assert wire.reply() == b"250 2.0.0 OK\r\n"


SIZES = {
    b"99999999999999999999": TOO_LARGE,
    b"100001": TOO_LARGE,
    b"-1": b"501 5.5.4 ",
    b"1K": b"501 5.5.4 ",
    b"": b"501 5.5.4 ",
    b"123456789012345678901": b"501 5.5.4 ",
}


@both_doors
@pytest.mark.parametrize("size", SIZES, ids=repr)
def test_a_size_that_cannot_be_is_refused_at_mail(server: Server, door: Door, size: bytes) -> None:
    with door.greeted(server) as wire:
        assert wire.ask(b"MAIL FROM:<%b> SIZE=%b" % (door.sender, size)).startswith(SIZES[size])


# ---- 15. recipients --------------------------------------------------------------------------------


@both_doors
def test_a_hundred_recipients_pass_and_one_more_is_told_to_come_again(server: Server, door: Door) -> None:
    with door.greeted(server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        for number in range(RECIPIENTS):
            name = b"bob+%d" % number if door.in_tls else b"bob"
            said = wire.ask(b"RCPT TO:<%b@%b>" % (name, b"away.example" if door.in_tls else b"here.example"))
            assert said == b"250 2.1.5 Recipient OK\r\n"
        said = wire.ask(b"RCPT TO:<bob@here.example>")
        assert said == b"452 4.5.3 Too many recipients in one transaction\r\n"
        assert wire.ask(b"RSET") == b"250 2.0.0 OK\r\n"


@both_doors
def test_the_same_recipient_a_hundred_times_is_one_delivery(server: Server, door: Door) -> None:
    before = len(fetched(server, "bob"))
    with door.greeted(server) as wire:
        wire.say(b"MAIL FROM:<%b>\r\n" % door.sender + b"RCPT TO:<bob@here.example>\r\n" * RECIPIENTS + b"DATA\r\n")
        answers = [wire.reply()[:3] for _ in range(RECIPIENTS + 2)]
        assert answers == [b"250"] * (RECIPIENTS + 1) + [b"354"]
        assert wire.ask(b"Subject: once\r\n\r\nonce\r\n.").startswith(b"250 ")
    server.wait_until_delivered()
    assert len(fetched(server, "bob")) == before + 1


def test_who_guesses_recipients_is_slowed_down(server: Server) -> None:
    """From an address of its own: guesses are held against it over all its connections."""
    with DOORS[0].greeted(server, source="127.0.0.99") as wire:
        wire.ask(b"MAIL FROM:<cat@a.example>")
        for number in range(20):
            said = wire.ask(b"RCPT TO:<guess%d@here.example>" % number)
            assert said == b"550 5.1.1 No such mailbox here\r\n"
        wire.say(b"RCPT TO:<guess@here.example>\r\n")
        assert wire.hears_nothing_for(0.5)
        assert wire.reply() == b"550 5.1.1 No such mailbox here\r\n"


# ---- 16. addresses ---------------------------------------------------------------------------------

UNKNOWN = b"550 5.1.1 No such mailbox here\r\n"
RECIPIENT_ANSWERS: dict[bytes, bytes] = {
    b"<@a.example,@b.example:bob@here.example>": b"250 2.1.5 ",
    b'<"a b"@here.example>': UNKNOWN,
    b'<"a\\"@b"@here.example>': b"550 5.7.1 ",
    b"<a@@here.example>": b"501 5.1.3 ",
    b"<a@here.example>c": b"501 5.5.4 ",
    b"<bob%other@here.example>": b"550 5.7.1 Routing inside the address is refused\r\n",
    b"<other!bob@here.example>": b"550 5.7.1 Routing inside the address is refused\r\n",
    b"<" + b"a" * 65 + b"@here.example>": b"501 5.1.3 ",
    b"<a@" + b"b." * 130 + b"example>": b"501 5.1.3 ",
    b"<" + b"@a.example," * 30 + b"@b.example:bob@here.example>": b"501 5.1.3 ",
    b"<>": b"501 5.1.3 ",
    b"bob@here.example": b"501 5.",
    "<b\u00fcb@here.example>".encode(): b"553 5.6.7 ",
    b"<b\xffb@here.example>": b"501 5.1.3 ",
    "<bob\u200b@here.example>".encode(): b"501 5.1.3 ",
    "<\u202ebob@here.example>".encode(): b"501 5.1.3 ",
    b"<|cmd@here.example>": UNKNOWN,
    b"</etc/passwd@here.example>": UNKNOWN,
    b"<../../x@here.example>": b"501 5.1.3 ",
    b"<$(id)@here.example>": b"501 5.1.3 ",
    b"<%s%n@here.example>": b"550 5.7.1 ",
    b" <bob@here.example>": b"250 2.1.5 ",
    b"<bob @here.example>": b"501 5.1.3 ",
    b"<bob@here.example\0>": b"501 5.1.3 ",
    b"<bob@-here.example>": b"501 5.1.3 ",
}


@both_doors
@pytest.mark.parametrize("path", RECIPIENT_ANSWERS, ids=lambda path: repr(path[:40]))
def test_an_address_is_what_the_grammar_says_and_never_an_order(server: Server, door: Door, path: bytes) -> None:
    with door.greeted(server) as wire:
        assert wire.ask(b"MAIL FROM:<%b>" % door.sender) == b"250 2.1.0 Sender OK\r\n"
        said = wire.ask(b"RCPT TO:" + path)
        assert said.startswith(RECIPIENT_ANSWERS[path]), said
        assert wire.ask(b"RCPT TO:<Bob@HERE.example>") == b"250 2.1.5 Recipient OK\r\n"


def test_postmaster_and_address_literals(server: Server) -> None:
    with DOORS[0].greeted(server) as wire:
        assert wire.ask(b"MAIL FROM:<>") == b"250 2.1.0 Sender OK\r\n"
        assert wire.ask(b"RCPT TO:<Postmaster>")[:3] in (b"250", b"550")
        assert wire.ask(b"RCPT TO:<bob@[127.0.0.1]>") == UNKNOWN
        assert wire.ask(b"RCPT TO:<bob@[IPv6:::1]>") == b"550 5.7.1 Relay access denied\r\n"
        assert wire.ask(b"RCPT TO:<bob@[127.0.0.256]>").startswith(b"501 5.1.3 ")
        assert wire.ask(b"RCPT TO:<bob@elsewhere.example>") == b"550 5.7.1 Relay access denied\r\n"


# ---- 17. parameters --------------------------------------------------------------------------------

MAIL_PARAMETERS: dict[bytes, bytes] = {
    b"FOO=bar": b"555 5.5.4 Parameter FOO not recognized\r\n",
    b"FOO": b"555 5.5.4 Parameter FOO not recognized\r\n",
    b"SIZE=1 SIZE=1": b"501 5.5.4 ",
    b"SIZE=1 size=2": b"501 5.5.4 ",
    b"BODY=": b"501 5.5.4 ",
    b"BODY=9BIT": b"501 5.5.4 ",
    b"RET=ALL": b"501 5.5.4 ",
    b"ENVID=a+00": b"501 5.5.4 ",
    b"ENVID=a+0D+0ABcc:x": b"501 5.5.4 ",
    b"SMTPUTF8=1": b"501 5.5.4 ",
    b"SMTPUTF8 BODY=8BITMIME AUTH=<> RET=HDRS ENVID=a+2Bb SIZE=10": b"250 2.1.0 ",
    b"AUTH=evil@x.example": b"250 2.1.0 ",
    b" ".join(b"A%d=b" % number for number in range(30)): b"501 5.5.4 ",
}
RCPT_PARAMETERS: dict[bytes, bytes] = {
    b"NOTIFY=NEVER,DELAY": b"501 5.5.4 ",
    b"NOTIFY=": b"501 5.5.4 ",
    b"NOTIFY=SUCCESS,SUCCESS": b"250 2.1.5 ",
    b"NOTIFY=SOMETIMES": b"501 5.5.4 ",
    b"ORCPT=rfc822;a+0D+0ABcc:x": b"501 5.5.4 ",
    b"ORCPT=bob": b"501 5.5.4 ",
    b"SIZE=1": b"555 5.5.4 Parameter SIZE not recognized\r\n",
    b"NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;bob+2Bx@here.example": b"250 2.1.5 ",
}


@both_doors
@pytest.mark.parametrize("given", MAIL_PARAMETERS, ids=lambda given: repr(given[:40]))
def test_a_parameter_of_mail_is_obeyed_or_refused(server: Server, door: Door, given: bytes) -> None:
    with door.greeted(server) as wire:
        said = wire.ask(b"MAIL FROM:<%b> " % door.sender + given)
        assert said.startswith(MAIL_PARAMETERS[given]), said


@both_doors
@pytest.mark.parametrize("given", RCPT_PARAMETERS, ids=lambda given: repr(given[:40]))
def test_a_parameter_of_rcpt_is_obeyed_or_refused(server: Server, door: Door, given: bytes) -> None:
    with door.greeted(server) as wire:
        wire.ask(b"MAIL FROM:<%b>" % door.sender)
        said = wire.ask(b"RCPT TO:<bob@here.example> " + given)
        assert said.startswith(RCPT_PARAMETERS[given]), said


def test_what_tls_alone_can_promise_is_no_parameter_in_clear(server: Server) -> None:
    with DOORS[0].greeted(server) as wire:
        said = wire.ask(b"MAIL FROM:<cat@a.example> REQUIRETLS")
        assert said == b"555 5.5.4 Parameter REQUIRETLS not recognized\r\n"


# ---- 18. headers -----------------------------------------------------------------------------------

HEADERS: dict[str, tuple[bytes, bytes]] = {
    "one field of everything": (b"Subject: " + (b"x" * 900 + b"\r\n ") * 105 + b"\r\n\r\nx\r\n", b"250 "),
    "many fields": (b"".join(b"X%d: y\r\n" % n for n in range(8000)) + b"\r\nx\r\n", b"250 "),
    "no header": (b"\r\nevil\r\n", b"250 "),
    "no empty line": (b"Subject: x\r\n", b"250 "),
    "nothing at all": (b"", b"250 "),
    "lines of spaces": (b"Subject: x\r\n" + b" \r\n" * 10_000 + b"\r\nx\r\n", b"250 "),
    "an envelope line": (b"From evil@x Mon Jan 1 00:00:00 2026\r\nSubject: x\r\n\r\nx\r\n", b"250 "),
    "a hundred hops with ours": (b"Received: x\r\n" * 99 + b"\r\nx\r\n", b"250 "),
    "more hops": (b"Received: x\r\n" * 100 + b"\r\nx\r\n", b"554 5.4.6 Too many hops: this message runs in a loop\r\n"),
    "a NUL": (b"Subject: a\0b\r\n\r\nx\r\n", b"550 5.6.0 A NUL octet in the content\r\n"),
    "a long line": (
        b"Subject: " + b"x" * 1000 + b"\r\n\r\n",
        b"554 5.6.0 A line of the content is longer than 998 octets\r\n",
    ),
}


@both_doors
@pytest.mark.parametrize("name", HEADERS)
def test_any_header_is_taken_or_refused(server: Server, door: Door, name: str) -> None:
    content, answer = HEADERS[name]
    with door.in_content(server) as wire:
        said = wire.ask(content + b".")
        assert said.startswith(answer), said


@both_doors
def test_what_speaks_in_our_name_is_taken_out_and_nothing_else(server: Server, door: Door) -> None:
    server.wait_until_delivered()
    forged = b"Authentication-Results: mx.here.example; spf=pass\r\nReturn-Path: <evil@x>\r\n"
    kept = b"Authentication-Results: mx.other.example; spf=pass\r\nSubject: forged %b\r\n\r\nx\r\n" % door.role.encode()
    with door.in_content(server) as wire:
        assert wire.ask(forged + kept + b".").startswith(b"250 ")
    server.wait_until_delivered()
    [message] = [each for each in fetched(server, "bob") if b"Subject: forged %b\r\n" % door.role.encode() in each]
    assert message.endswith(kept)
    assert b"spf=pass" not in message.removesuffix(kept)
    assert message.count(b"Return-Path:") == 1
    assert message.startswith(b"Return-Path: <%b>\r\n" % door.sender)


def test_smtplib_agrees_that_the_server_is_well(server: Server) -> None:
    with smtplib.SMTP(server.address, server.ports["smtp"]) as client:
        assert client.noop()[0] == 250
