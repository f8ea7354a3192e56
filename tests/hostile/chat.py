"""A chat user who does his worst: let in, but no admin; and one whom nobody has let in."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import Any

import httpx
import trio

from tests.kit.daemon import Platform

Map = dict[str, Any]
TEXTS = (
    '<at user_id="all">everyone</at> </AT> <AT id=all>',
    "\u202egnp.exe\u2066 \u200b\u2028\nStarted boss.\nPaired ou_1.",
    "**" * 3_000 + "`" * 3_000 + "> " * 500,
    "![a](http://169.254.169.254/latest)" * 50,
    "x" * 29_000,
    "/new hostile robot /",
    "/new hostile --env=LARKD_APP_SECRET ~root",
    "/use ../../boss",
    '/use <at user_id="all">',
    "/close boss",
    "/cancel boss",
    "/queue clear",
    "/queue drop 1",
    "/pair AAAAAA",
    "/doctor",
    "/sessions",
    "/replymode \u202e",
    "/why",
    "/mode yolo",
    "//" * 1_000,
    "stop",
    "停止",
    "@_user_1 @_all {0} {alias} %s \\",
)


class HostileUser:
    def __init__(self, rng: random.Random, platform: Platform, chat: Map, user: str) -> None:
        self._rng = rng
        self._platform = platform
        self._chat = chat
        self._user = user
        self.acts = 0

    async def run(self) -> None:
        while True:
            with suppress(httpx.HTTPError):
                await self._rng.choice((self._write, self._write, self._press))()
            self.acts += 1
            await trio.sleep(self._rng.random() * 0.05)

    async def _write(self) -> None:
        await self._platform.send(self._chat, self._rng.choice(TEXTS), sender=self._user)

    async def _press(self) -> None:
        """Press a button of somebody else's card, twice, also with values of his own making."""
        messages = (await self._platform.get("state"))["messages"]
        cards = [one for one in messages if one["msg_type"] == "interactive"]
        if not cards:
            return
        card = self._rng.choice(cards[-20:])
        session, turn = self._rng.choice((("boss", "turn_1"), ("../x", ""), ("boss", "own-1")))
        forged: tuple[Map, ...] = (
            {"larkd": "stop", "session": session, "turn": turn},
            {"larkd": "approve", "request": "k", "option": "a", "signature": "0" * 32},
            {"larkd": "answer", "question": "q_1"},
            {"larkd": "choose", "session": "boss", "kind": "mode", "choice": "x", "chat": "oc_1"},
            {"larkd": {}, "session": [], "turn": None},
        )
        for _ in range(2):
            await self._platform.post(
                "click",
                message_id=card["message_id"],
                value=self._rng.choice(forged),
                operator=self._user,
            )
