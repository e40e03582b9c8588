"""How patient a download is, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a download puts up with.

    Attributes
    ----------
    timeout
        Seconds without a single byte, also while connecting.
    attempts
        How often in a row it may fail; what brings it at least `headway` bytes further than ever
        before counts anew.
    headway
        Bytes.
    pause, longest_pause
        Seconds before the second attempt, doubled for each further one up to the longest; a
        server may ask for another pause up to that.
    pace_seconds, pace_bytes
        Fewer bytes than that in so many seconds are a stall.
    redirects
        How many in a row are followed.
    sync_bytes, sync_seconds
        How much may be lost when the machine stops: then the disk is waited for.
    allow_http
        For tests alone: go without TLS.
    """

    timeout: float = 30.0
    attempts: int = 5
    headway: int = 1 << 20
    pause: float = 1.0
    longest_pause: float = 60.0
    pace_seconds: float = 60.0
    pace_bytes: int = 1 << 14
    redirects: int = 5
    sync_bytes: int = 1 << 26
    sync_seconds: float = 10.0
    allow_http: bool = False
