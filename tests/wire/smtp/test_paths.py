"""Paths of MAIL and RCPT (RFC 5321 section 4.1.2)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.address import Mailbox
from postroad.wire.smtp.paths import PathRefused, parse_mailbox, split_path


@pytest.mark.parametrize(
    ("path", "mailbox"),
    [
        (b"<ann@a.example>", Mailbox("ann", "a.example")),
        (b"<Ann.B@A.Example>", Mailbox("Ann.B", "a.example")),
        (b"<a@b>", Mailbox("a", "b")),
        (b"<!#$%&'*+-/=?^_`{|}~@a.example>", Mailbox("!#$%&'*+-/=?^_`{|}~", "a.example")),
        (b"<@a,@b:u@c>", Mailbox("u", "c")),
        (b'<"a b"@c>', Mailbox("a b", "c")),
        (b'<"a\\"@b"@c>', Mailbox('a"@b', "c")),
        (b'<"a>b"@c>', Mailbox("a>b", "c")),
        (b'<"ann"@c>', Mailbox("ann", "c")),
        (b'<""@c>', Mailbox("", "c")),
        (b"<u%other@here>", Mailbox("u%other", "here")),
        (b"<other!u@here>", Mailbox("other!u", "here")),
        (b"<|cmd@here>", Mailbox("|cmd", "here")),
        (b"</etc/x@here>", Mailbox("/etc/x", "here")),
        (b"<a@[127.0.0.1]>", Mailbox("a", "[127.0.0.1]")),
        (b"<a@[IPv6:::1]>", Mailbox("a", "[IPv6:::1]")),
        (b"<a@[ipv6:2001:DB8:0:0::1]>", Mailbox("a", "[IPv6:2001:db8::1]")),
        (b"<" + b"a" * 64 + b"@b>", Mailbox("a" * 64, "b")),
    ],
)
def test_a_path_is_read(path: bytes, mailbox: Mailbox) -> None:
    inner, rest = split_path(path + b" SIZE=1")
    assert rest == b" SIZE=1"
    assert parse_mailbox(inner) == mailbox


@pytest.mark.parametrize(
    "inner",
    [
        b"",
        b"ann",
        b"@a.example",
        b"ann@",
        b"a@@b",
        b"a@b@c",
        b".a@b",
        b"a.@b",
        b"a..b@c",
        b"a b@c",
        b"a\tb@c",
        b"a@b c",
        b"a@-b",
        b"a@b-.c",
        b"a@b..c",
        b"a@.b",
        b"a@b.",
        b"a@b_c",
        b"a@" + b"b" * 64,
        b"a@" + b"b." * 127 + b"bb",
        b"a" * 65 + b"@b",
        b'"' + b"a" * 63 + b'"@b',
        b'"a@b',
        b'"a"b@c',
        b'"a\\',
        b'"a\x01"@b',
        b'"a\\\x00"@b',
        b"a\x00@b",
        b"@a,b:u@c",
        b"@a:",
        b"@[127.0.0.1]:u@c",
        b"a@[127.0.0.256]",
        b"a@[127.0.0]",
        b"a@[IPv6:::g]",
        b"a@[IPv6:fe80::1%eth0]",
        b"a@[x-tag:y]",
        b"a@[",
        b"a@[127.0.0.1",
    ],
)
def test_what_is_no_mailbox_is_refused(inner: bytes) -> None:
    with pytest.raises(PathRefused):
        parse_mailbox(inner)
    with pytest.raises(PathRefused):
        parse_mailbox(inner, smtputf8=True)


@pytest.mark.parametrize("argument", [b"", b"a@b", b"<a@b", b'<"a@b>', b"<" + b"a" * 300 + b">"])
def test_a_path_has_its_brackets_and_its_size(argument: bytes) -> None:
    with pytest.raises(PathRefused):
        split_path(argument)


def test_a_path_of_256_octets_with_its_brackets_is_the_longest() -> None:
    octets = b"<" + b"a" * 254 + b">"
    assert split_path(octets) == (b"a" * 254, b"")
    with pytest.raises(PathRefused):
        split_path(b"<" + b"a" * 255 + b">")


def test_an_internationalised_address_needs_smtputf8() -> None:
    """RFC 6531 section 3.3: its domain is then kept as A-labels."""
    inner = "jöran@bücher.example".encode()
    with pytest.raises(PathRefused) as refused:
        parse_mailbox(inner)
    assert refused.value.needs_smtputf8
    assert parse_mailbox(inner, smtputf8=True) == Mailbox("jöran", "xn--bcher-kva.example")
    assert parse_mailbox("a@BÜCHER.example".encode(), smtputf8=True).domain == "xn--bcher-kva.example"


@pytest.mark.parametrize(
    "inner",
    [
        b"a\xff@b",
        b"a\xc0\x80@b",
        b"a\xed\xa0\x80@b",
        "a\u202eb@c".encode(),
        "a\u200bb@c".encode(),
        "a\u2066b@c".encode(),
        "a\x85b@c".encode(),
        "a\u00a0b@c".encode(),
        '"a\u2028b"@c'.encode(),
        "a@b\u200b.c".encode(),
        "a@\u0661a.example".encode(),
    ],
)
def test_what_nobody_can_see_is_refused_with_smtputf8_too(inner: bytes) -> None:
    with pytest.raises(PathRefused) as refused:
        parse_mailbox(inner, smtputf8=True)
    assert not refused.value.needs_smtputf8


@given(st.binary(max_size=80), st.booleans())
def test_any_octets_are_a_mailbox_or_refused(octets: bytes, smtputf8: bool) -> None:
    for argument in (octets, b"<" + octets + b">"):
        try:
            inner, _ = split_path(argument)
            parse_mailbox(inner, smtputf8=smtputf8)
        except PathRefused:
            continue


LOCAL_PARTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30) | st.text(
    st.characters(categories=["Ll", "Lu", "Lo", "Nd", "So"]), min_size=1, max_size=12
)
DOMAINS = st.sampled_from(["a.example", "b", "[192.0.2.1]", "[IPv6:2001:db8::1]", "xn--bcher-kva.example"])


@given(LOCAL_PARTS, DOMAINS)
def test_a_mailbox_written_down_and_read_again_is_the_same(local_part: str, domain: str) -> None:
    mailbox = Mailbox(local_part, domain)
    inner, rest = split_path(f"<{mailbox}> BODY=7BIT".encode())
    assert rest == b" BODY=7BIT"
    assert parse_mailbox(inner, smtputf8=True) == mailbox
