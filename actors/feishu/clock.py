"""How far this machine's clock is from the platform's, by the date of an answer."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Final

import httpx
import trio

from actors.feishu.http import proxy_to
from actors.feishu.tls import tls_context

WITHIN_S: Final = 5.0


async def clock_skew_s(base_url: str) -> float | None:
    """Return by how many seconds this clock is ahead; None: no date came."""
    with trio.move_on_after(WITHIN_S):
        try:
            async with httpx.AsyncClient(
                trust_env=False, proxy=proxy_to(base_url), verify=tls_context()
            ) as http:
                answer = await http.head(base_url)
                date = parsedate_to_datetime(answer.headers["date"])
        except (httpx.HTTPError, KeyError, ValueError):
            return None
        return time.time() - date.timestamp()
    return None
