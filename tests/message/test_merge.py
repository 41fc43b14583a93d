"""One letter for each line of a table: gaps are filled, and what cannot be sent is told by its line."""

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.message.compose import Attachment
from postroad.message.merge import MergeLetter, Wording, parse
from postroad.message.merge_table import read_table

COLUMNS = ("email", "First name")
ANN = {"email": "ann@a.example", "first name": "Ann <3"}


def written(wording: Wording, values: dict[str, str]) -> EmailMessage:
    content = MergeLetter(wording, COLUMNS).write(values, "<1@x.example>").content
    message = email.message_from_bytes(content, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def test_text_html_subject_and_name_are_filled_each_in_its_own_way() -> None:
    wording = Wording(
        from_="news@x.example",
        to="{FIRST NAME} <{email}>",
        subject="For {First name}",
        text="Dear {first name},\n",
        html="<style>p{color:red}</style><p>Dear {First name}</p>\n",
        attachments=(Attachment("a.pdf", b"%PDF"),),
        list_unsubscribe="leave+1@x.example",
    )
    message = written(wording, ANN)
    assert message["To"].addresses[0].display_name == "Ann <3"
    assert message["Subject"] == "For Ann <3"
    assert message["List-Unsubscribe"] == "<mailto:leave+1@x.example>"
    assert message["Message-ID"] == "<1@x.example>"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert text.get_content() == "Dear Ann <3,\r\n"
    assert html is not None
    assert "<style>p{color:red}</style><p>Dear Ann &lt;3</p>" in html.get_content()
    assert [part.get_filename() for part in message.iter_attachments()] == ["a.pdf"]


def test_a_comma_in_a_name_makes_no_second_recipient() -> None:
    message = written(
        Wording(from_="n@x.example", to="{first name} <{email}>"), {**ANN, "first name": 'Lee, "Ann" \\ x@b.example'}
    )
    (one,) = message["To"].addresses
    assert one.addr_spec == "ann@a.example"


def test_an_empty_field_needs_a_word_instead() -> None:
    wording = Wording(from_="n@x.example", to="{email}", text="Dear {first name|friend}, {{email}}")
    assert written(wording, {**ANN, "first name": " "}).get_content() == "Dear friend, {email}\r\n"
    with pytest.raises(ValueError, match="first name is empty"):
        MergeLetter(Wording(from_="n@x.example", to="{email}", text="{first name}"), COLUMNS).write(
            {**ANN, "first name": ""}
        )


def test_a_gap_that_no_column_has_is_told_with_the_columns() -> None:
    with pytest.raises(ValueError, match=r"the text has \{nmae\}.*email, First name"):
        MergeLetter(Wording(from_="n@x.example", to="{email}", text="{nmae}"), COLUMNS)


def test_a_value_cannot_add_a_header_field() -> None:
    letter = MergeLetter(Wording(from_="n@x.example", to="{email}", subject="{first name}"), COLUMNS)
    with pytest.raises(ValueError, match="control character"):
        letter.write({**ANN, "first name": "x\r\nBcc: eve@e.example"})


@given(st.text())
def test_text_without_braces_stays_as_it_is(text: str) -> None:
    plain = text.replace("{", "(")
    assert parse(plain, COLUMNS, "the text").fill({}) == plain


# ---- the table -----------------------------------------------------------------------------------


def test_a_table_of_a_spreadsheet() -> None:
    table = read_table(b'\xef\xbb\xbfemail;First name\r\nann@a.example;"Lee; Ann"\r\n\r\nbob@b.example;Bob\r\n')
    assert table.columns == COLUMNS
    assert [(row.line, row.values["first name"]) for row in table.rows] == [(2, "Lee; Ann"), (4, "Bob")]
    assert table.problems == ()


def test_each_bad_line_is_told_and_the_others_are_read() -> None:
    table = read_table(
        "email,name\na@a.example,Ann\nb@b.example,J\u00f6rg\nc@c.example\nd@d.example,D,x\n".encode("latin-1")
    )
    assert [row.line for row in table.rows] == [2]
    assert [problem.line for problem in table.problems] == [3, 4, 5]
    assert "0xF6 at place 14" in table.problems[0].text
    assert "1 fields, and there are 2 columns" in table.problems[1].text
    assert [row.line for row in read_table(b"email\nx\xf6@a.example\n", "latin-1").rows] == [2]


@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "empty"),
        (b"ann@a.example,Ann\n", "must name the columns"),
        (b"email,email\n", "two columns"),
        (b"email,\n", "column 2 has no name"),
        (b"em\xffail\n", "line 1"),
    ],
)
def test_a_useless_table_is_refused_as_a_whole(octets: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_table(octets)


def test_an_open_quote_is_told() -> None:
    assert "quotes" in read_table(b'email\na@a.example\n"b@b.example\n').problems[0].text


@given(st.binary(max_size=300))
def test_no_octets_do_anything_else_than_being_read_or_refused(octets: bytes) -> None:
    try:
        table = read_table(octets)
    except ValueError:
        return
    assert all(len(row.values) == len(table.columns) for row in table.rows)
