"""The PROXY protocol, both versions: what is a header, what is none, and that it is read the same however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroad.vocabulary.endpoint import Endpoint
from postroad.vocabulary.limits import PROXY_TEXT_BYTES, PROXY_TLV_BYTES
from postroad.wire.proxy import SIGNATURE, ProxyFault, ProxyHeader, ProxyReader
from tests.wire.cutting import cut, split

A, B = Endpoint("192.0.2.1", 56_324), Endpoint("198.51.100.7", 25)
A6, B6 = Endpoint("2001:db8::1", 1), Endpoint("2001:db8::2", 65_535)
TCP4 = bytes([192, 0, 2, 1, 198, 51, 100, 7]) + (56_324).to_bytes(2, "big") + (25).to_bytes(2, "big")
TCP6 = bytes.fromhex("20010db800000000000000000000000120010db80000000000000000000000020001ffff")


def binary(command: int, family: int, octets: bytes, *, version: int = 2) -> bytes:
    return SIGNATURE + bytes([version << 4 | command, family]) + len(octets).to_bytes(2, "big") + octets


def read(chunks: list[bytes]) -> tuple[ProxyHeader | ProxyFault | None, bytes]:
    """The result, and all that followed it."""
    reader = ProxyReader()
    for n, chunk in enumerate(chunks):
        result = reader.feed(chunk)
        if result is not None:
            return result, reader.rest + b"".join(chunks[n + 1 :])
    return None, b""


HEADERS = {
    b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 25\r\n": ProxyHeader(A, B),
    b"PROXY TCP6 2001:db8::1 2001:DB8:0::2 1 65535\r\n": ProxyHeader(A6, B6),
    b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.7 56324 25\r\n": ProxyHeader(A, B),
    b"PROXY UNKNOWN\r\n": ProxyHeader(),
    b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535\r\n": ProxyHeader(),
    binary(1, 0x11, TCP4): ProxyHeader(A, B),
    binary(1, 0x21, TCP6): ProxyHeader(A6, B6),
    binary(1, 0x11, TCP4 + b"\x04\x00\x01x" * 20): ProxyHeader(A, B),
    binary(1, 0x21, TCP6 + b"\0" * (PROXY_TLV_BYTES - 36)): ProxyHeader(A6, B6),
    binary(0, 0x00, b""): ProxyHeader(is_local=True),
    binary(0, 0x11, TCP4): ProxyHeader(is_local=True),
    binary(1, 0x00, b""): ProxyHeader(),
    binary(1, 0x12, TCP4): ProxyHeader(),
    binary(1, 0x31, b"/run/x".ljust(216, b"\0")): ProxyHeader(),
}


@pytest.mark.parametrize(("octets", "header"), HEADERS.items())
@pytest.mark.parametrize("by_octet", [False, True])
def test_a_header_is_read_and_what_follows_is_left(octets: bytes, header: ProxyHeader, by_octet: bool) -> None:
    sent = octets + b"EHLO x\r\n"
    assert read(split(sent) if by_octet else [sent]) == (header, b"EHLO x\r\n")


@pytest.mark.parametrize("octets", HEADERS)
def test_half_a_header_is_waited_for(octets: bytes) -> None:
    for n in range(len(octets)):
        assert ProxyReader().feed(octets[:n]) is None


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO x\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.7 56324 25\r\n",
        b"\x16\x03\x01",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 25 7\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.7 56324 25\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.7 56324 25\r\n",
        b"PROXY TCP4 192.0.2.300 198.51.100.7 56324 25\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.7 56324 25\r\n",
        b"PROXY TCP6 fe80::1%lo fe80::2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 65536 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 -1 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 01 25\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 1 \xff\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.7 1 25\n" + b" " * 100,
        b"PROXY " + b"x" * PROXY_TEXT_BYTES,
        binary(1, 0x11, TCP4, version=1),
        binary(2, 0x11, TCP4),
        binary(1, 0x11, TCP4[:-1]),
        binary(1, 0x21, TCP4),
        binary(1, 0x11, b"x" * (PROXY_TLV_BYTES + 1)),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header_ends_it(octets: bytes) -> None:
    whole, by_octet = read([octets])[0], read(split(octets))[0]
    assert isinstance(whole, ProxyFault)
    assert isinstance(by_octet, ProxyFault)
    assert whole.reason == by_octet.reason
    assert whole.reason.isprintable()


def test_a_header_in_text_has_its_bound_wherever_it_is_cut() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * (PROXY_TEXT_BYTES - 16) + b"\r\n"
    assert len(longest) == PROXY_TEXT_BYTES
    assert read(split(longest))[0] == ProxyHeader()
    longer = longest[:-2] + b"x\r\n"
    assert isinstance(read([longer])[0], ProxyFault)
    assert isinstance(read(split(longer))[0], ProxyFault)


PIECES = st.sampled_from(
    [b"PROXY ", b"TCP4 ", b"1.2.3.4 ", b"25", b" ", b"\r\n", SIGNATURE, b"\x21\x11", b"\0\x0c", TCP4]
)


@given(st.lists(PIECES | st.binary(max_size=20), max_size=12), st.lists(st.integers(0, 200), max_size=8))
def test_any_octets_are_read_alike_however_they_are_cut(pieces: list[bytes], cuts: list[int]) -> None:
    octets = b"".join(pieces)
    results = [read(chunks) for chunks in ([octets] if octets else [], cut(octets, cuts), split(octets))]
    assert len({repr(result) if isinstance(result, ProxyHeader) else type(result) for result, _ in results}) == 1
    if isinstance(results[0][0], ProxyHeader):
        assert results[0] == results[1] == results[2]
