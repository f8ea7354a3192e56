"""A stream as a peer's reads give it: cut anywhere."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def pieces(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return *stream* cut at each of *cuts*, taken modulo one more than its length."""
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(places)]
