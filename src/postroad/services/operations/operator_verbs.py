"""What a group of verbs is: names, and what answers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from postroad.services.operations.performer import PlainObject

Verbs = Mapping[str, Callable[[PlainObject], Awaitable[list[PlainObject]]]]
