"""Whatever octets a name server sends, reading them ends in an answer or in BadReply, and soon."""

from hypothesis import given
from hypothesis import strategies as st

from postroad.contracts.resolver import MxRecord
from postroad.vocabulary.limits import DNS_NEGATIVE_TTL_MAX_S, DNS_RECORDS, DNS_TTL_MAX_S
from postroad.vocabulary.zone import Record, RecordType, cname, mx
from postroad.world.dns_server import DnsServer
from postroad.world.dns_wire import BadReply, Found, Query

QUERY = Query("c.example", RecordType.MX, 4711)


def reply_to(query: Query, zones: dict[str, list[Record]]) -> bytes:
    reply = DnsServer(zones)._answer(query.wire, None)
    assert reply is not None
    return reply


GOOD = reply_to(QUERY, {"c.example": [mx("c.example", 10, "mx.c.example")]})


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=8), st.binary(max_size=40))
def test_a_damaged_reply_never_raises_anything_else(damage: list[tuple[int, int]], tail: bytes) -> None:
    octets = bytearray(GOOD)
    for place, value in damage:
        octets[place] = value
    reply = bytes(octets) + tail
    if not QUERY.is_answered_by(reply):
        return
    try:
        found = QUERY.read(reply)
    except BadReply:
        return
    assert found.alias.isascii()
    assert all(isinstance(record, MxRecord) and record.host.isprintable() for record in found.records)


@given(st.binary(max_size=300))
def test_octets_that_answer_nothing_are_not_ours(octets: bytes) -> None:
    assert not QUERY.is_answered_by(b"\0\0" + octets)


def test_a_good_reply_is_read() -> None:
    assert QUERY.is_answered_by(GOOD)
    assert QUERY.read(GOOD) == Found((MxRecord(10, "mx.c.example"),), True, 300)


def test_lifetimes_are_bounded_and_the_shortest_of_a_chain_counts() -> None:
    long = reply_to(QUERY, {"c.example": [mx("c.example", 10, "mx.c.example", ttl_s=2_000_000_000)]})
    assert QUERY.read(long).ttl_s == DNS_TTL_MAX_S
    chain = reply_to(
        QUERY, {"c.example": [cname("c.example", "d.c.example", ttl_s=7), mx("d.c.example", 10, "mx.c.example")]}
    )
    assert QUERY.read(chain) == Found((MxRecord(10, "mx.c.example"),), True, 7)
    soa = Record("c.example", RecordType.SOA, "ns.c.example. h.c.example. 1 3600 600 86400 999999", ttl_s=999_999)
    assert QUERY.read(reply_to(QUERY, {"c.example": [soa]})) == Found((), True, DNS_NEGATIVE_TTL_MAX_S)


def test_an_alias_out_of_the_zone_is_to_be_asked_next() -> None:
    reply = reply_to(QUERY, {"c.example": [cname("c.example", "elsewhere.example")]})
    assert QUERY.read(reply) == Found((), True, 300, alias="elsewhere.example")


def test_the_records_of_one_answer_are_bounded() -> None:
    reply = reply_to(QUERY, {"c.example": [mx("c.example", 1, f"m{n}.c.example") for n in range(DNS_RECORDS + 50)]})
    assert len(QUERY.read(reply).records) == DNS_RECORDS
