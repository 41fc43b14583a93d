"""What verbs are given by people: read where it has a meaning, refused with a sentence where it has none."""

from __future__ import annotations

import pytest

from postroad.services.operations.arguments import host_and_port
from postroad.services.operations.performer import OperationFailed


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("mx.example.org:2525", "mx.example.org:2525"),
        ("MX.Example.org", "mx.example.org"),
        ("192.0.2.1:25", "192.0.2.1:25"),
        ("[2001:DB8::1]:25", "[2001:db8::1]:25"),
        ("[2001:db8::1]", "[2001:db8::1]"),
        ("bücher.example:25", "xn--bcher-kva.example:25"),
    ],
)
def test_a_host_with_or_without_a_port_is_read(text: str, meant: str) -> None:
    assert host_and_port(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no place",
        ":25",
        "mx.example.org:",
        "mx.example.org:0",
        "mx.example.org:99999",
        "mx.example.org:smtp",
        "mx.example.org:٢٥",
        "[::1",
        "[::1:25",
        "::1:25",
        "[mx.example.org]:25",
        "a@b.example:25",
    ],
)
def test_what_is_no_host_is_refused_in_words(text: str) -> None:
    with pytest.raises(OperationFailed, match="host:port") as failed:
        host_and_port(text)
    assert failed.value.exit_status == 2
