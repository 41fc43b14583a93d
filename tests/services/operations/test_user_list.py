"""Lists of users as people write them: what is understood, and the words for what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.services.operations.performer import OperationFailed
from postroad.services.operations.user_list import Line, read, written


def test_a_list_is_read_with_its_columns_in_any_order() -> None:
    text = "name,address,quota,forward,aliases,disabled,keep_copy,password\n"
    text += '"Lee, Ann",Ann@Here.example,2G,x@y.example z@y.example,sales@here.example,no,no,secret word\n\n'
    (ann,) = read(text.encode())
    assert ann == Line(
        2,
        "Ann@here.example",
        {
            "display_name": "Lee, Ann",
            "password": "secret word",
            "disabled": False,
            "keeps_copy": False,
            "quota_bytes": 2 * 1024**3,
            "forward_to": ["x@y.example", "z@y.example"],
            "aliases": ["sales@here.example"],
        },
    )


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_separators_line_ends_and_marks_of_spreadsheets_are_borne(separator: str, end: str, mark: bytes) -> None:
    text = separator.join(("Address", "Name")) + end + separator.join(("ann@here.example", "Zoë")) + end
    assert read(mark + text.encode()) == [Line(2, "ann@here.example", {"display_name": "Zoë"})]


def test_an_empty_cell_says_nothing_and_a_dash_ends_forwarding() -> None:
    first, second = read(b"address,name,quota,forward\na@b.example,,,\nc@b.example,,default,-\n")
    assert first.row == {}
    assert second.row == {"quota_bytes": None, "forward_to": []}


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("nobody,x,yes,1", "no address"),
        ("ann@,x,yes,1", "no address"),
        ("a b@here.example,x,yes,1", "no address"),
        (",x,yes,1", "no address"),
        ("ann@here.example,x,perhaps,1", 'neither "yes" nor "no"'),
        ("ann@here.example,x,yes,much", "no size"),
        ("ann@here.example,x,yes,-1", "no size"),
        ("ann@here.example,x,yes", "4 cells are expected, here are 3"),
        ("ann@here.example,x,yes,1,2", "4 cells are expected, here are 5"),
    ],
)
def test_a_line_that_is_wrong_is_told_and_the_others_are_read(line: str, word: str) -> None:
    text = f"address,name,disabled,quota\nbob@here.example,,,\n{line}\ncat@here.example,,,\n"
    bob, wrong, cat = read(text.encode())
    assert (bob.wrong, wrong.number, cat.wrong) == ("", 3, "")
    assert word in wrong.wrong


def test_an_address_that_comes_twice_is_taken_once() -> None:
    first, second = read(b"address\nann@here.example\nANN@here.example\n")
    assert first.wrong == ""
    assert second.wrong == "the address stands in line 2 already"


@pytest.mark.parametrize(
    ("octets", "word"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (b"name,password\n", "none called address"),
        (b"adress,name\n", "did you mean address"),
        (b"address,shoe size\n", "there are address"),
        (b"address,name,Name\n", "twice"),
        (b"address,name\nann@here.example,Zo\xeb\n", "line 2 is not utf-8: it has the octet 0xEB"),
        ("address\nann@here.example\n".encode("utf-16"), "UTF-16"),
        (b"PK\x03\x04...", "a spreadsheet"),
        (b"address\nann\0@here.example\n", "NUL"),
        (b'address\n"ann@here.example\n', "line 2: not CSV"),
    ],
)
def test_what_is_no_list_is_refused_with_what_to_do(octets: bytes, word: str) -> None:
    with pytest.raises(OperationFailed) as refused:
        read(octets)
    assert word in str(refused.value)
    assert refused.value.exit_status == 2


def test_another_encoding_is_read_when_it_is_named() -> None:
    (ann,) = read("address,name\nann@here.example,Zoë\n".encode("latin-1"), "latin-1")
    assert ann.row == {"display_name": "Zoë"}
    with pytest.raises(OperationFailed, match="no encoding"):
        read(b"address\n", "klingon")


def test_what_is_written_can_be_read_again() -> None:
    ann = {
        "address": "ann@here.example",
        "display_name": 'Ann "A", Lee',
        "disabled": True,
        "quota_bytes": 5000,
        "forward_to": ["x@y.example"],
        "keeps_copy": False,
    }
    bob = {**ann, "address": "bob@here.example", "quota_bytes": None, "forward_to": [], "display_name": ""}
    aliases = [{"address": "sales@here.example", "targets": ["Ann@here.example"]}]
    first, second = read(written([ann, bob], aliases).encode())
    assert first.row == {
        "display_name": 'Ann "A", Lee',
        "disabled": True,
        "quota_bytes": 5000,
        "forward_to": ["x@y.example"],
        "keeps_copy": False,
        "aliases": ["sales@here.example"],
    }
    assert second.row == {"disabled": True, "quota_bytes": None, "forward_to": [], "keeps_copy": False}


@given(st.binary(max_size=200), st.sampled_from([b"", b"address,name,quota,forward\n"]))
def test_whatever_is_given_is_read_or_refused_with_a_word(octets: bytes, before: bytes) -> None:
    try:
        lines = read(before + octets)
    except OperationFailed:
        return
    assert all(line.wrong or "@" in line.address for line in lines)
