"""A message written by us can be read by anyone, and travels over any line."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.compose import Attachment, Draft, compose


def parsed(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def travels(octets: bytes) -> bool:
    proper = octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    return proper and b"\0" not in octets and max(map(len, octets.split(b"\r\n"))) <= 998


def test_a_plain_message() -> None:
    draft = Draft(from_="Ann Lee <ann@a.example>", to=("bob@b.example",), subject="Hello", text="Hi Bob\n.\nAnn\n")
    got = compose(draft)
    assert got.content == (
        b"From: Ann Lee <ann@a.example>\r\nTo: bob@b.example\r\nSubject: Hello\r\n"
        b'Content-Type: text/plain; charset="utf-8"\r\nContent-Transfer-Encoding: 7bit\r\nMIME-Version: 1.0\r\n'
        b"\r\nHi Bob\r\n.\r\nAnn\r\n"
    )
    assert (got.sender, got.recipients, got.smtputf8) == ("ann@a.example", ("bob@b.example",), False)


def test_recipients_are_taken_once_from_to_and_cc() -> None:
    got = compose(
        Draft(from_="ann@a.example", to=("b@b.example, c@c.example",), cc=('"C, the" <c@c.example>', "d@d.example"))
    )
    assert got.recipients == ("b@b.example", "c@c.example", "d@d.example")
    assert parsed(got.content)["cc"] == '"C, the" <c@c.example>, d@d.example'


def test_every_script_travels_as_ascii() -> None:
    subject = "Grüße 世界 " * 20
    got = compose(Draft(from_="Änn <ann@a.example>", to=("bob@b.example",), subject=subject, text="世界\n" * 5))
    assert got.content.isascii()
    assert travels(got.content)
    message = parsed(got.content)
    assert message["subject"] == subject
    assert message["from"].addresses[0].display_name == "Änn"
    assert message.get_content() == "世界\r\n" * 5


def test_an_international_address_needs_smtputf8() -> None:
    got = compose(Draft(from_="ann@a.example", to=("jörg@b.example",)))
    assert got.smtputf8
    assert "To: jörg@b.example\r\n".encode() in got.content


def test_attachments_come_out_as_they_went_in() -> None:
    octets = bytes(range(256)) * 100
    text = "see below\n--=_postroad_part\n"
    draft = Draft(
        from_="ann@a.example", to=("bob@b.example",), text=text,
        attachments=(Attachment("../etc/räport.pdf", octets), Attachment("x", b""), Attachment("notes.txt", b"a\nb")),
    )  # fmt: skip
    content = compose(draft).content
    assert travels(content)
    assert content.isascii()
    message = parsed(content)
    body = message.get_body()
    assert isinstance(body, EmailMessage)
    assert body.get_content().replace("\r\n", "\n") == text
    parts = list(message.iter_attachments())
    assert [(part.get_filename(), part.get_content_type()) for part in parts] == [
        ("räport.pdf", "application/pdf"),
        ("x", "application/octet-stream"),
        ("notes.txt", "text/plain"),
    ]
    assert [part.get_payload(decode=True) for part in parts] == [octets, b"", b"a\nb"]


def test_the_same_draft_is_the_same_message() -> None:
    draft = Draft(from_="ann@a.example", to=("bob@b.example",), attachments=(Attachment("x", b"y"),))
    assert compose(draft) == compose(draft)


def test_date_and_message_id_are_written_when_given() -> None:
    date = "Thu, 01 Jan 2026 00:00:00 +0000"
    content = compose(Draft(from_="a@a.example", to=("b@b.example",), date=date, message_id="<1@a.example>")).content
    assert b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n" in content
    assert b"Message-ID: <1@a.example>\r\n" in content
    assert b"Date" not in compose(Draft(from_="a@a.example", to=("b@b.example",))).content


@pytest.mark.parametrize(
    "bad",
    ["", "bob", "<>", "a b@c", "@x", "bob@", "a@b>", "a@b\r\nBcc: c@d", "a..b@c", "a@b c@d", "Ann <a@b> x", "<<a@b>>"],
)
def test_what_is_no_address_is_named(bad: str) -> None:
    with pytest.raises(ValueError, match=r"^To: "):
        compose(Draft(from_="ann@a.example", to=(bad,)))


def test_there_is_one_sender_and_at_least_one_recipient() -> None:
    with pytest.raises(ValueError, match=r"^From: "):
        compose(Draft(from_="a@a.example, b@b.example", to=("c@c.example",)))
    with pytest.raises(ValueError, match=r"^To: "):
        compose(Draft(from_="a@a.example", to=()))


@pytest.mark.parametrize("bad", ["a\r\nBcc: x@y", "a\nb", "a\0", "\x1b[31m"])
def test_control_characters_never_enter_the_header(bad: str) -> None:
    with pytest.raises(ValueError):
        compose(Draft(from_="ann@a.example", to=("bob@b.example",), subject=bad))
    with pytest.raises(ValueError):
        compose(Draft(from_="ann@a.example", to=("bob@b.example",), attachments=(Attachment(bad, b""),)))


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=300
)


@given(WORDS, st.lists(WORDS, max_size=5).map("\n".join), st.binary(max_size=300))
def test_any_words_travel_and_arrive(subject: str, text: str, octets: bytes) -> None:
    draft = Draft(
        from_="ann@a.example", to=("bob@b.example",), subject=subject, text=text,
        attachments=(Attachment("a.bin", octets),),
    )  # fmt: skip
    content = compose(draft).content
    assert content.isascii()
    assert travels(content)
    message = parsed(content)
    body = message.get_body()
    assert isinstance(body, EmailMessage)
    assert message["subject"] == subject
    assert body.get_content().rstrip("\r\n").replace("\r\n", "\n") == text.rstrip("\n")
    assert [part.get_payload(decode=True) for part in message.iter_attachments()] == [octets]


@given(WORDS.filter(lambda text: text.strip(" ")))
def test_any_display_name_arrives(name: str) -> None:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    content = compose(Draft(from_=f'"{quoted}" <ann@a.example>', to=("bob@b.example",))).content
    assert content.isascii()
    assert travels(content)
    assert parsed(content)["from"].addresses[0].addr_spec == "ann@a.example"
