"""POP3 sessions, as dialogues: what a client says, what it is told, and what our own side is asked."""

import time
from collections.abc import Callable
from itertools import pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroad.vocabulary.endpoint import TlsFacts
from postroad.vocabulary.limits import (
    DISCARD_BYTES,
    POP3_BAD_COMMANDS,
    POP3_COMMANDS_WITHOUT_MAIL,
    POP3_IDLE_S,
    POP3_OUTPUT_BYTES,
    TLS_HANDSHAKE_S,
)
from postroad.wire.pop3.events import (
    CredentialsGiven,
    MaildropReleased,
    MessageAsked,
    OutputDue,
    Pop3Event,
    UpdateAsked,
)
from postroad.wire.pop3.server import Pop3Profile, Pop3Session
from postroad.wire.pop3.states import COMMANDS, TRANSITIONS, Said, State, next_state
from postroad.wire.session import Wait

FACTS = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
PLAIN = Pop3Profile(hostname="mx.a.example", plaintext_login_allowed=True)
STLS = Pop3Profile(hostname="mx.a.example", tls_available=True)
POP3S = Pop3Profile(hostname="mx.a.example", tls_available=True, tls_active=True)
GREETING = "+OK mx.a.example POP3 server ready\r\n"
MESSAGES = (b"Subject: one\r\n\r\nline 1\r\n.line 2\r\nline 3\r\n", b"Subject: two\r\n\r\n", b"A: b\r\n\r\nno end")
LOGIN = b"USER ann@a.example\r\nPASS secret\r\n"
LOGGED_IN = "+OK Now the password\r\n+OK 3 messages (71 octets)\r\n"


class House:
    """The outside of a session: one account and its maildrop. Answers every question at once, in chunks of 7 octets."""

    def __init__(self, profile: Pop3Profile = PLAIN, messages: tuple[bytes, ...] = MESSAGES) -> None:
        self.session = Pop3Session(profile)
        self.messages = messages
        self.events: list[Pop3Event] = []
        self.removed: tuple[int, ...] | None = None
        self.update_works = True
        self.wait: Wait = Wait.NEED_DATA
        self.said = self.take()

    def take(self) -> str:
        return self.session.data_to_send().decode("latin-1")

    def hear(self, data: bytes) -> str:
        """What the client is told for these octets."""
        self.session.receive_data(data)
        return self.run()

    def run(self) -> str:
        while not isinstance(event := self.session.next_event(), Wait):
            self.events.append(event)
            self.answer(event)
        self.wait = event
        out = self.take()
        self.said += out
        return out

    def answer(self, event: Pop3Event) -> None:
        session = self.session
        match event:
            case CredentialsGiven(password="secret"):
                session.opened([len(m) for m in self.messages], [f"7:{n}" for n in range(len(self.messages))])
            case CredentialsGiven():
                session.refuse("Wrong name or password", "AUTH")
            case MessageAsked(number=number):
                session.send_message()
                content = self.messages[number - 1]
                for at in range(0, len(content), 7):
                    if session.wants_more:
                        session.send_chunk(content[at : at + 7])
                session.end_message()
            case UpdateAsked(numbers=numbers) if self.update_works:
                self.removed = numbers
                session.updated()
            case UpdateAsked():
                session.refuse("Some messages could not be removed", "SYS/TEMP")
            case MaildropReleased() | OutputDue():
                pass


def logged_in(messages: tuple[bytes, ...] = MESSAGES) -> House:
    house = House(messages=messages)
    house.hear(LOGIN)
    return house


# ---- dialogues ------------------------------------------------------------------------------------


def test_a_whole_session_in_one_segment() -> None:
    house = House()
    house.hear(
        LOGIN + b"STAT\r\nLIST\r\nLIST 2\r\nUIDL\r\nUIDL 3\r\nRETR 1\r\nDELE 1\r\nSTAT\r\nNOOP\r\nQUIT\r\nSTAT\r\n"
    )
    assert house.said == (
        GREETING + LOGGED_IN + "+OK 3 71\r\n"
        "+OK 3 messages (71 octets)\r\n1 41\r\n2 16\r\n3 14\r\n.\r\n"
        "+OK 2 16\r\n"
        "+OK\r\n1 7:0\r\n2 7:1\r\n3 7:2\r\n.\r\n"
        "+OK 3 7:2\r\n"
        "+OK 41 octets\r\nSubject: one\r\n\r\nline 1\r\n..line 2\r\nline 3\r\n.\r\n"
        "+OK Message 1 will be removed at QUIT\r\n"
        "+OK 2 30\r\n"
        "+OK\r\n"
        "+OK Goodbye\r\n"
    )
    assert (house.removed, house.wait) == ((1,), Wait.CLOSED)
    assert not any(isinstance(event, MaildropReleased) for event in house.events)


def test_top_shows_some_lines() -> None:
    house = logged_in()
    assert house.hear(b"TOP 1 2\r\n") == "+OK\r\nSubject: one\r\n\r\nline 1\r\n..line 2\r\n.\r\n"
    assert (
        house.hear(b"TOP 3 0\r\nRETR 3\r\n") == "+OK\r\nA: b\r\n\r\n.\r\n+OK 14 octets\r\nA: b\r\n\r\nno end\r\n.\r\n"
    )


def test_deleted_messages_are_gone_from_every_answer_until_rset() -> None:
    house = logged_in()
    house.hear(b"DELE 2\r\n")
    assert (
        house.hear(b"LIST\r\nUIDL\r\n")
        == "+OK 2 messages (55 octets)\r\n1 41\r\n3 14\r\n.\r\n+OK\r\n1 7:0\r\n3 7:2\r\n.\r\n"
    )
    for command in (b"RETR 2", b"TOP 2 0", b"LIST 2", b"UIDL 2", b"DELE 2"):
        assert house.hear(command + b"\r\n") == "-ERR No such message\r\n"
    assert house.hear(b"RSET\r\nLIST 2\r\n") == "+OK 3 messages (71 octets)\r\n+OK 2 16\r\n"


def test_commands_may_be_written_in_any_case_with_spaces_behind() -> None:
    house = House()
    assert house.hear(b"uSeR ann@a.example \r\npass secret\r\nstat \r\n") == LOGGED_IN + "+OK 3 71\r\n"


def test_a_password_may_hold_spaces() -> None:
    house = House()
    house.hear(b"USER ann\r\nPASS  two words \r\n")
    assert house.events == [CredentialsGiven("USER", "", "ann", " two words ")]


@pytest.mark.parametrize("argument", [b"", b"\xff\xfe", b"a\0b"])
def test_a_password_that_can_be_none_is_refused_without_asking(argument: bytes) -> None:
    house = House()
    house.hear(b"USER ann\r\n")
    assert house.hear(b"PASS " + argument + b"\r\n") == "-ERR [AUTH] Wrong name or password\r\n"
    assert house.events == []


def test_after_a_wrong_password_the_name_is_asked_again() -> None:
    house = House()
    assert house.hear(b"USER ann\r\nPASS wrong\r\nPASS secret\r\n" + LOGIN) == (
        "+OK Now the password\r\n-ERR [AUTH] Wrong name or password\r\n-ERR USER comes first\r\n" + LOGGED_IN
    )


def test_nothing_of_the_maildrop_is_answered_before_login() -> None:
    house = House()
    for command in ("STAT", "LIST", "UIDL", "RETR 1", "TOP 1 1", "DELE 1", "RSET", "NOOP"):
        assert house.hear(f"{command}\r\n".encode()) == "-ERR Log in first: USER, then PASS\r\n"
    assert house.events == []


def test_quit_before_login_asks_nobody() -> None:
    house = House()
    assert house.hear(b"QUIT\r\nUSER ann\r\n") == "+OK Goodbye\r\n"
    assert (house.events, house.wait) == ([], Wait.CLOSED)


def test_the_service_s_words_and_code_reach_the_client() -> None:
    session = House().session
    session.receive_data(LOGIN)
    assert isinstance(session.next_event(), CredentialsGiven)
    assert session.next_event() is Wait.NEED_ANSWER
    session.data_to_send()
    session.refuse("Another session has it\r\n+OK hello", "IN-USE")
    assert session.data_to_send() == b"-ERR [IN-USE] Another session has it??+OK hello\r\n"
    assert session.state is State.AUTHORIZATION


# ---- capabilities and TLS ---------------------------------------------------------------------------


def capabilities(house: House) -> set[str]:
    first, *tags, dot, rest = house.hear(b"CAPA\r\n").split("\r\n")
    assert first.startswith("+OK")
    assert (dot, rest) == (".", "")
    return set(tags)


ALWAYS = {"TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "LANG"}
ALWAYS |= {"IMPLEMENTATION Postroad"}
LOGIN_IS_OPEN = ALWAYS | {"USER", "UTF8 USER"}


def test_a_capability_is_announced_only_where_it_is_true() -> None:
    assert capabilities(House(PLAIN)) == LOGIN_IS_OPEN
    assert capabilities(House(POP3S)) == LOGIN_IS_OPEN
    assert capabilities(House(Pop3Profile(hostname="h"))) == ALWAYS | {"UTF8"}
    house = House(STLS)
    assert capabilities(house) == ALWAYS | {"UTF8", "STLS"}
    house.hear(b"STLS\r\n")
    house.session.tls_started(FACTS)
    assert capabilities(house) == LOGIN_IS_OPEN
    both = House(Pop3Profile(hostname="h", tls_available=True, plaintext_login_allowed=True))
    assert capabilities(both) == LOGIN_IS_OPEN | {"STLS"}
    both.hear(LOGIN)
    assert capabilities(both) == LOGIN_IS_OPEN


def test_a_name_in_the_clear_is_refused_with_the_way_out() -> None:
    assert House(STLS).hear(b"USER ann\r\n") == (
        "-ERR Passwords are taken over an encrypted connection only: use STLS first\r\n"
    )
    house = House(Pop3Profile(hostname="h"))
    assert "connect to the TLS port" in house.hear(LOGIN)
    assert house.events == []


def test_what_came_behind_stls_is_never_executed() -> None:
    house = House(Pop3Profile(hostname="h", tls_available=True, plaintext_login_allowed=True))
    assert house.hear(b"USER ann\r\nSTLS\r\nPASS secret\r\nCAPA\r\n") == "+OK Now the password\r\n+OK Begin TLS\r\n"
    assert house.wait is Wait.NEED_TLS
    assert house.session.patience_s == TLS_HANDSHAKE_S
    assert house.hear(b"CAPA\r\n") == ""
    house.session.tls_started(FACTS)
    assert (house.run(), house.events, house.session.buffered_bytes) == ("", [], 0)
    # The name that was given in the clear is forgotten too.
    assert house.hear(b"PASS secret\r\n") == "-ERR USER comes first\r\n"
    assert house.hear(b"STLS\r\n") == "-ERR The connection is encrypted already\r\n"
    assert house.hear(LOGIN) == LOGGED_IN


def test_stls_has_its_time_and_no_argument() -> None:
    assert House(STLS).hear(b"STLS now\r\n") == "-ERR Syntax: STLS\r\n"
    assert House(PLAIN).hear(b"STLS\r\n") == "-ERR There is no TLS here\r\n"
    assert logged_in().hear(b"STLS\r\n") == "-ERR STLS comes before USER and PASS, not after\r\n"


def test_a_client_that_leaves_in_the_handshake_leaves_nothing() -> None:
    house = House(STLS)
    house.hear(b"STLS\r\n")
    assert house.hear(b"") == ""
    assert (house.wait, house.events) == (Wait.CLOSED, [])


# ---- hostile numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["RETR", "DELE", "LIST", "UIDL"])
@pytest.mark.parametrize(
    "argument", ["0", "4", "2147483648", "99999999999999999999", "-1", "+1", "1 1", "1x", "0x1", "\u0661", "1" * 400]
)
def test_a_number_that_is_none_ends_nothing(command: str, argument: str) -> None:
    house = logged_in()
    for _ in range(POP3_BAD_COMMANDS * 2):
        said = house.hear(f"{command} {argument}\r\n".encode())
        assert said == "-ERR No such message\r\n" or said.startswith(f"-ERR Syntax: {command} ")
    assert house.hear(b"STAT\r\n") == "+OK 3 71\r\n"


@pytest.mark.parametrize("argument", ["1", "1 -1", "1 1 1", "", "1 ", "x 1", "1 x"])
def test_top_needs_two_numbers(argument: str) -> None:
    assert logged_in().hear(f"TOP {argument}\r\n".encode()) == "-ERR Syntax: TOP message-number lines\r\n"


def test_top_of_more_lines_than_there_are_is_the_whole() -> None:
    house = logged_in()
    assert house.hear(b"TOP 1 99999999999\r\n").split("\r\n")[1:] == house.hear(b"RETR 1\r\n").split("\r\n")[1:]


@pytest.mark.parametrize("command", ["STAT", "RSET", "NOOP"])
def test_a_command_without_argument_takes_none(command: str) -> None:
    assert logged_in().hear(f"{command} 1\r\n".encode()) == f"-ERR Syntax: {command}\r\n"


# ---- the end of a session ---------------------------------------------------------------------------


def test_without_quit_nothing_is_removed() -> None:
    house = logged_in()
    house.hear(b"DELE 1\r\nDELE 2\r\n")
    assert house.hear(b"") == ""
    assert house.events[-1] == MaildropReleased("the client closed the connection")
    assert (house.removed, house.wait) == (None, Wait.CLOSED)


def test_commands_before_the_end_of_the_stream_are_obeyed() -> None:
    house = House()
    house.session.receive_data(LOGIN + b"DELE 3\r\nQUIT\r\n")
    house.session.receive_data(b"")
    house.run()
    assert (house.removed, house.wait) == ((3,), Wait.CLOSED)


def test_silence_ends_a_session_without_a_word_and_without_update() -> None:
    house = logged_in()
    house.hear(b"DELE 1\r\n")
    assert house.session.patience_s == POP3_IDLE_S >= 600
    house.session.timed_out()
    assert house.run() == ""
    assert house.events[-1] == MaildropReleased("the client was silent for too long")
    assert (house.removed, house.wait) == (None, Wait.CLOSED)


def test_a_failed_update_is_told() -> None:
    house = logged_in()
    house.update_works = False
    assert house.hear(b"DELE 1\r\nQUIT\r\n").endswith("-ERR [SYS/TEMP] Some messages could not be removed\r\n")
    assert house.wait is Wait.CLOSED
    assert not any(isinstance(event, MaildropReleased) for event in house.events)


def test_a_message_that_breaks_off_is_cut_and_not_ended() -> None:
    house = logged_in()
    session = house.session
    session.receive_data(b"RETR 1\r\nSTAT\r\n")
    assert session.next_event() == MessageAsked(number=1, lines=None)
    session.send_message()
    session.send_chunk(b"Subject: o")
    session.break_off("the store failed")
    assert session.next_event() == MaildropReleased("the store failed")
    assert session.next_event() is Wait.CLOSED
    assert session.data_to_send() == b"+OK 41 octets\r\nSubject: o"


def test_a_message_may_be_refused() -> None:
    session = logged_in().session
    session.receive_data(b"RETR 1\r\nNOOP\r\n")
    session.next_event()
    session.refuse("The message cannot be read now", "SYS/TEMP")
    assert session.next_event() is Wait.NEED_DATA
    assert session.data_to_send() == b"-ERR [SYS/TEMP] The message cannot be read now\r\n+OK\r\n"


def test_a_session_ended_while_the_maildrop_was_opened_gives_it_back() -> None:
    session = House().session
    session.receive_data(LOGIN)
    assert isinstance(session.next_event(), CredentialsGiven)
    session.lost()
    assert not session.owes_answer
    assert session.next_event() is Wait.CLOSED
    session.opened([1], ["1"])
    assert isinstance(session.next_event(), MaildropReleased)
    assert session.next_event() is Wait.CLOSED


def test_answers_that_come_too_late_change_nothing() -> None:
    session = logged_in().session
    session.receive_data(b"RETR 1\r\n")
    session.next_event()
    session.send_message()
    session.lost()
    session.data_to_send()
    assert not session.wants_more
    session.send_chunk(b"x")
    session.end_message()
    session.send_message()
    session.refuse("no")
    session.updated()
    session.timed_out()
    assert isinstance(session.next_event(), MaildropReleased)
    assert session.next_event() is Wait.CLOSED
    assert session.data_to_send() == b""


def test_a_server_that_stops_says_so_where_it_can_be_understood() -> None:
    house = logged_in()
    house.session.shut_down("The server is being stopped")
    assert house.run() == "-ERR [SYS/TEMP] The server is being stopped\r\n"
    assert (house.wait, type(house.events[-1])) == (Wait.CLOSED, MaildropReleased)
    session = logged_in().session
    session.receive_data(b"RETR 1\r\n")
    session.next_event()
    session.send_message()
    session.shut_down("The server is being stopped")
    assert session.data_to_send() == b"+OK 41 octets\r\n"


def test_an_update_under_way_is_finished_when_the_server_stops() -> None:
    session = logged_in().session
    session.receive_data(b"DELE 1\r\nQUIT\r\n")
    assert session.next_event() == UpdateAsked(numbers=(1,))
    session.shut_down("The server is being stopped")
    session.updated()
    assert session.next_event() is Wait.CLOSED
    assert session.data_to_send().endswith(b"+OK Goodbye\r\n")


def test_an_update_whose_client_is_gone_is_not_given_back_twice() -> None:
    session = logged_in().session
    session.receive_data(b"QUIT\r\n")
    assert session.next_event() == UpdateAsked(numbers=())
    session.lost()
    session.updated()
    assert session.next_event() is Wait.CLOSED


# ---- bounds -------------------------------------------------------------------------------------------


def test_bad_commands_end_the_session() -> None:
    house = logged_in()
    house.hear(b"XYZZY\r\n" * POP3_BAD_COMMANDS + b"STAT\r\n")
    assert house.said.endswith("-ERR Unknown command XYZZY\r\n-ERR Too many errors: goodbye\r\n")
    assert (house.wait, type(house.events[-1])) == (Wait.CLOSED, MaildropReleased)


@pytest.mark.parametrize("words", [b"NOOP\r\n", b"STAT\r\n", b"LIST\r\n", b"DELE 1\r\nRSET\r\n", b"TOP 1 0\r\n"])
def test_a_million_commands_that_fetch_nothing_end_the_session(words: bytes) -> None:
    house = logged_in()
    house.hear(words * 1_000_000)
    assert house.said.endswith("-ERR [SYS/TEMP] Too many commands without any mail: goodbye\r\n")
    assert (house.wait, type(house.events[-1])) == (Wait.CLOSED, MaildropReleased)
    assert house.said.count("\r\n") < 12 * POP3_COMMANDS_WITHOUT_MAIL


def test_a_message_that_is_fetched_lets_the_client_ask_on() -> None:
    house = logged_in()
    for _ in range(3):
        house.hear(b"NOOP\r\n" * (POP3_COMMANDS_WITHOUT_MAIL - 10))
        assert house.hear(b"RETR 1\r\n").startswith("+OK")
    house.hear(b"NOOP\r\n" * (POP3_COMMANDS_WITHOUT_MAIL - 10))
    assert house.hear(b"QUIT\r\n").startswith("+OK")


def test_guessing_passwords_ends_the_session() -> None:
    house = House()
    house.hear(b"USER ann\r\nPASS wrong\r\n" * 1000)
    assert len(house.events) == POP3_BAD_COMMANDS
    assert house.wait is Wait.CLOSED


def test_a_line_ended_by_lf_alone_is_never_a_command() -> None:
    house = logged_in()
    assert house.hear(b"DELE 1\nSTAT\r\n") == "-ERR Lines end with CR LF\r\n+OK 3 71\r\n"


def test_a_line_too_long_is_refused_and_an_endless_one_ends_the_session() -> None:
    house = House()
    assert house.hear(b"USER " + b"a" * 65_000) == ""
    assert house.session.buffered_bytes <= 65_536
    assert house.hear(b"\r\nUSER ann\r\n") == "-ERR The line is too long\r\n+OK Now the password\r\n"
    assert house.hear(b"a" * (DISCARD_BYTES + 1)) == "-ERR The line does not end\r\n"
    assert house.wait is Wait.CLOSED


def test_an_unknown_command_is_repeated_harmlessly() -> None:
    assert House().hear(b"\x1b[31m\xff\0 x\r\n") == "-ERR Unknown command ?[31M??\r\n"


def test_pipelined_listings_do_not_pile_up() -> None:
    house = House(messages=(b"",) * 60_000)
    house.hear(LOGIN)
    session = house.session
    session.receive_data(b"LIST\r\n" * 50)
    largest = 0
    told = 0
    while not isinstance(event := session.next_event(), Wait):
        assert isinstance(event, OutputDue)
        told += 1
        largest = max(largest, len(session.data_to_send()))
    assert told > 5
    assert largest < POP3_OUTPUT_BYTES + 1_000_000


def test_a_hundred_thousand_messages_are_listed_at_once() -> None:
    house = House()
    house.session.receive_data(LOGIN)
    house.session.next_event()
    house.session.opened([4096] * 100_000, [f"1700000000:{n}" for n in range(100_000)])
    started = time.process_time()
    out = house.hear(b"DELE 7\r\nLIST\r\nUIDL\r\n")
    assert time.process_time() - started < 2.0
    assert out.count("\r\n") == 1 + 1 + 99_999 + 1 + 1 + 99_999 + 1 + 2


# ---- misuse and the table -----------------------------------------------------------------------------


LOGINS = ("PASS", "AUTH", "APOP")
MISUSES: list[Callable[[Pop3Session], None]] = [
    lambda session: session.updated(),
    lambda session: session.refuse("x"),
    lambda session: session.opened([], []),
    lambda session: session.send_message(),
    lambda session: session.send_chunk(b"x"),
    lambda session: session.end_message(),
    lambda session: session.tls_started(FACTS),
]


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_by_our_own_code_is_found(misuse: Callable[[Pop3Session], None]) -> None:
    with pytest.raises(AssertionError):
        misuse(logged_in().session)


def test_every_state_can_be_left_and_only_quit_reaches_the_update() -> None:
    assert {command for _, command in TRANSITIONS} == COMMANDS
    for state, command in TRANSITIONS:
        for said in Said:
            after = next_state(state, command, said)
            assert after is not State.TRANSACTION or state is State.TRANSACTION or command in LOGINS
            assert after is not State.CLOSED or command == "QUIT"


def test_all_orders_of_commands_keep_the_state_and_the_maildrop_together() -> None:
    commands = [b"USER ann", b"PASS secret", b"PASS wrong", b"STLS", b"DELE 1", b"RSET", b"RETR 1", b"QUIT", b"CAPA"]
    profile = Pop3Profile(hostname="h", tls_available=True, plaintext_login_allowed=True)
    seen = set()
    for row in product(commands, repeat=4):
        house = House(profile)
        for command in row:
            house.hear(command + b"\r\n")
            if house.wait is Wait.NEED_TLS:
                house.session.tls_started(FACTS)
                house.run()
            seen.add(house.session.snapshot())
        opened = sum(isinstance(event, CredentialsGiven) and event.password == "secret" for event in house.events)
        closed = house.removed is not None
        assert (house.session.state is State.TRANSACTION) == (opened == 1 and not closed)
        assert opened <= 1
        if house.session.tls_active and opened:
            assert b"USER ann" in row[row.index(b"STLS") :]
    assert len(seen) > 30


# ---- any octets ---------------------------------------------------------------------------------------

COMMAND_LINES = (
    "USER ann,PASS secret,PASS x,STAT,LIST,LIST 1,UIDL,RETR 1,RETR 3,TOP 1 1,DELE 1,RSET,NOOP,CAPA,STLS,QUIT,"
    "AUTH PLAIN,APOP a b"
)
PIECES = [
    *(command.encode() + b"\r\n" for command in COMMAND_LINES.split(",")),
    *(b"\r\n", b"\n", b"\r", b" ", b"\0", b"\xff", b"a" * 600, b"RETR"),
]
SOUP = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join)


def outcome(chunks: list[bytes], *, logged: bool) -> tuple[str, list[Pop3Event], Wait, tuple[object, ...]]:
    house = logged_in() if logged else House()
    for chunk in chunks:
        if chunk:
            house.hear(chunk)
    return house.said, house.events, house.wait, house.session.snapshot()


@given(SOUP, st.lists(st.integers(0, 400), max_size=10), st.booleans())
def test_the_split_of_the_octets_does_not_matter(soup: bytes, cuts: list[int], logged: bool) -> None:
    edges = [0, *sorted(cut for cut in cuts if cut < len(soup)), len(soup)]
    chunks = [soup[a:b] for a, b in pairwise(edges)]
    assert outcome(chunks, logged=logged) == outcome([soup], logged=logged)


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=60) | SOUP, max_size=6), st.booleans(), st.booleans())
def test_no_octets_raise_and_the_maildrop_always_comes_back(chunks: list[bytes], logged: bool, silent: bool) -> None:
    house = logged_in() if logged else House()
    for chunk in chunks:
        house.hear(chunk)
        assert house.session.state is not State.HANDSHAKE
        hash(house.session.snapshot())
    if silent:
        house.session.timed_out()
    else:
        house.session.receive_data(b"")
    house.run()
    assert house.wait is Wait.CLOSED
    opened = sum(isinstance(event, CredentialsGiven) and event.password == "secret" for event in house.events)
    released = sum(isinstance(event, MaildropReleased) for event in house.events)
    assert opened == released + (house.removed is not None)
    for line in house.said.split("\r\n"):
        assert len(line) <= 510
