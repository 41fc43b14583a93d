"""kill -9 of everything at moments drawn by chance, with eight clients at work."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from faults.count import Book, Row
from faults.house import LARGE, SMALL
from faults.walks import died, house_with_peer
from tests.support.ports import pause

_CLIENTS = 8


def moments(folder: Path, library: Path, *, rounds: int = 20) -> tuple[Row, str]:
    """The clients go on until the server is killed; then it is started again, and they with it."""
    chance = random.Random(1821)
    book = Book()
    with house_with_peer(folder, library) as (house, peer):
        for _ in range(rounds):
            over = threading.Event()

            def work(numbers: Iterable[int], over: threading.Event = over) -> None:
                for number in numbers:
                    if over.is_set():
                        return
                    recipient = "bob@here.example" if number % 2 else "bob@there.example"
                    house.hand_in(book, recipient, LARGE if number % 5 == 0 else SMALL)

            clients = [threading.Thread(target=work, args=(count(first),), daemon=True) for first in range(_CLIENTS)]
            for client in clients:
                client.start()
            pause(chance.uniform(0.05, 0.8))
            over.set()
            died(house, peer, book)
            for client in clients:
                client.join(60)
            house.start()
            house.wait_until_idle()
        return house.row("kill -9 of all processes at any moment, eight clients at work", book), f"{rounds} kills"
