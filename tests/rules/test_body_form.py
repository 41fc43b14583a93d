"""In which form a message goes to a next hop (rules/body_form)."""

import pytest

from postroad.rules.body_form import Ask, ContentNeeds, Form, form_for
from postroad.rules.replies import Lacking
from postroad.vocabulary.envelope import BodyType

SEVEN, EIGHT, BINARY = BodyType.SEVEN_BIT, BodyType.EIGHT_BIT_MIME, BodyType.BINARY_MIME
NEITHER: dict[str, str] = {}
EIGHT_BIT = {"8BITMIME": ""}


def form(
    extensions: dict[str, str], body: BodyType, needs: BodyType | None, *, utf8: bool = False, header: bool = False
) -> Form | Lacking | None:
    return form_for(
        extensions,
        size_bytes=1000,
        body=body,
        smtputf8=utf8,
        addresses_are_ascii=True,
        needs=None if needs is None else ContentNeeds(needs, header),
    )


@pytest.mark.parametrize("body", [SEVEN, EIGHT])
def test_a_server_that_takes_what_is_declared_gets_it_as_it_is_and_nobody_looks_at_it(body: BodyType) -> None:
    assert form(EIGHT_BIT, body, None) == Form(body, False)


def test_what_a_message_needs_is_looked_at_only_when_the_server_lacks_what_it_declares() -> None:
    assert form(NEITHER, EIGHT, None) is None
    assert form(EIGHT_BIT, BINARY, None) is None
    assert form(EIGHT_BIT, EIGHT, None, utf8=True) is None


def test_less_is_declared_where_less_is_needed() -> None:
    assert form(NEITHER, EIGHT, SEVEN) == Form(SEVEN, False)
    assert form(NEITHER, BINARY, SEVEN) == Form(SEVEN, False)
    assert form(EIGHT_BIT, BINARY, EIGHT) == Form(EIGHT, False)
    assert form(EIGHT_BIT, EIGHT, EIGHT, utf8=True) == Form(EIGHT, False)


def test_more_is_never_declared_than_the_sender_did() -> None:
    assert form(NEITHER, EIGHT, BINARY) == Form(EIGHT, False, Ask(False, False), Lacking.EIGHT_BIT)


def test_the_rest_is_to_be_converted() -> None:
    assert form(NEITHER, EIGHT, EIGHT) == Form(EIGHT, False, Ask(False, False), Lacking.EIGHT_BIT)
    assert form(NEITHER, BINARY, EIGHT) == Form(EIGHT, False, Ask(False, False), Lacking.EIGHT_BIT)
    assert form(NEITHER, BINARY, BINARY) == Form(BINARY, False, Ask(True, False), Lacking.BINARY)
    assert form(EIGHT_BIT, BINARY, BINARY) == Form(BINARY, False, Ask(True, True), Lacking.BINARY)


def test_internationalised_headers_cannot_be_converted() -> None:
    assert form(EIGHT_BIT, EIGHT, EIGHT, utf8=True, header=True) is Lacking.UTF8


def test_a_message_that_is_too_large_is_not_looked_at() -> None:
    assert form({"SIZE": "999"}, BINARY, None) is Lacking.SIZE
