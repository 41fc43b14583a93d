"""How a way through the virtual network behaves: what real networks do to mail, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """The state of the way to one address, for connections made from now on.

    latency_s       one way, in seconds
    segment_bytes   at most so many octets reach a protocol at once; 0: what was written at once comes at once
    ragged          segments are of random length up to `segment_bytes`, by the network's seed
    refused         a connection is refused although somebody listens
    unreachable     there is no route
    black_hole      nothing answers: connecting waits until its time is up
    cut_after       after so many octets from the client, or
    cut_after_reply after so many from the server, both ends lose the connection
    mute_after      after so many octets from the client, or
    mute_after_reply after so many from the server, nothing arrives any more in either direction, and nobody is told
    """

    latency_s: float = 0.001
    segment_bytes: int = 0
    ragged: bool = False
    refused: bool = False
    unreachable: bool = False
    black_hole: bool = False
    cut_after: int | None = None
    cut_after_reply: int | None = None
    mute_after: int | None = None
    mute_after_reply: int | None = None

    def __post_init__(self) -> None:
        if self.latency_s < 0 or self.segment_bytes < 0:
            raise ValueError(f"{self}: neither latency nor segments can be negative")
        if self.ragged and not self.segment_bytes:
            raise ValueError("ragged needs segment_bytes, the length of the longest")


FAIR = Weather()
