"""A thread for work on octets (`contracts.aside`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


async def in_a_thread(function: Callable[[A], R], argument: A) -> R:
    """In one of the loop's own threads; who asks bounds how many are asked for at once."""
    return await asyncio.get_running_loop().run_in_executor(None, function, argument)
