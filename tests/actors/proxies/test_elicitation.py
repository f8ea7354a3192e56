"""What an agent elicits, seen by people and by an agent on the official SDK."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.actors.proxies.test_acp import Setup, setup
from tests.kit.daemon import Platform
from tests.kit.raw_proxy import session

Map = dict[str, Any]
AGENT = (sys.executable, str(Path(__file__).parent / "clients" / "eliciting_agent.py"))
FORM = {"text_0": "1.2.0", "choice_1": "1", "text_2": "3", "choice_3": "1"}


class Asked:
    """The newest card with a question in a chat."""

    def __init__(self, platform: Platform, chat: Map, message_id: str) -> None:
        self._platform = platform
        self._chat = chat
        self._message_id = message_id

    async def press(self, button: str, form_value: Map | None = None) -> str:
        """Press; return the text of the toast."""
        pressed: Map = await self._platform.post(
            "click",
            message_id=self._message_id,
            element_id=button,
            **({} if form_value is None else {"form_value": form_value}),
        )
        text: str = pressed["toast"]["content"]
        return text

    async def shown(self, *needles: str) -> str:
        """Return the card once it shows all of that, and no button any more."""
        with trio.fail_after(60):
            while True:
                text = str((await cards(self._platform, self._chat))[self._message_id])
                if '"button"' not in text and all(one in text for one in needles):
                    return text
                await trio.sleep(0.02)


async def cards(platform: Platform, chat: Map) -> dict[str, str]:
    return {one["message_id"]: one["content"] for one in await platform.messages(chat)}


async def asked(home: Setup, *needles: str) -> Asked:
    return await asked_in(home.platform, home.chat, *needles)


async def asked_in(platform: Platform, chat: Map, *needles: str) -> Asked:
    """Return the open question of a chat that shows all of that."""
    with trio.fail_after(60):
        while True:
            for message_id, content in (await cards(platform, chat)).items():
                if '"larkd":"answer"' in content.replace(" ", "") and all(
                    one in content for one in needles
                ):
                    return Asked(platform, chat, message_id)
            await trio.sleep(0.02)


@asynccontextmanager
async def eliciting(state_dir: Path, tmp_path: Path) -> AsyncIterator[Setup]:
    async with setup(state_dir, tmp_path, *AGENT) as home:
        yield home


async def answered(home: Setup, word: str, *needles: str) -> None:
    await home.platform.wait_cards(1, f"{word} got ", *needles, "Done · ")


async def test_a_form_is_a_card_and_its_answer_is_in_the_protocol_s_types(
    state_dir: Path, tmp_path: Path
) -> None:
    async with eliciting(state_dir, tmp_path) as home:
        await home.send("form")
        card = await asked(home, "About the release", "Version", "stable", "Copies", "Notify")
        wrong = await card.press("submit", FORM | {"text_0": "1", "text_2": "3"})
        assert wrong == "Version: number of characters, 3 or more"
        wrong = await card.press("submit", FORM | {"text_2": "many"})
        assert wrong == "Copies: a whole number is needed, from 1 to 9"
        assert await card.press("submit", FORM) == "Answered"
        await answered(home, "form", '\\"version\\":\\"1.2.0\\"', '\\"channel\\":\\"beta\\"')
        await answered(
            home, "form", '\\"copies\\":3', '\\"notify\\":false', '\\"action\\":\\"accept\\"'
        )
        assert "<at id=" in await card.shown("Answered", "1.2.0", "beta", "No")

        await home.send("again")
        card = await asked(home, "About the release")
        assert await card.press("decline") == "Declined"
        await answered(home, "again", '\\"action\\":\\"decline\\"')
        await card.shown("Declined")


async def test_a_question_of_a_turn_that_is_stopped_is_closed(
    state_dir: Path, tmp_path: Path
) -> None:
    async with eliciting(state_dir, tmp_path) as home:
        await home.send("form")
        card = await asked(home, "About the release")
        await home.send("stop")
        await home.platform.wait_cards(1, "🛑 Stopped")
        await card.shown("No longer asked.")
        await home.send("odd")  # the same agent goes on: its request was answered
        await answered(
            home, "odd", "-32602", "property 'point' has the type '_point'; it can't be asked"
        )


async def test_an_address_is_shown_whole_and_opened_or_done(
    state_dir: Path, tmp_path: Path
) -> None:
    async with eliciting(state_dir, tmp_path) as home:
        await home.send("link")
        card = await asked(home, "Log in first", "https://login.example/start?a=1", "open_url")
        assert await card.press("open") == "Opened"
        await answered(home, "link", '{\\"action\\":\\"accept\\"}')
        await card.shown("Opened")

        await home.send("done")
        card = await asked(home, "Log in", "open_url")
        (tmp_path / "done").touch()
        await answered(home, "done", '{\\"action\\":\\"accept\\"}')
        await card.shown("No longer asked.")


async def test_an_answer_that_nobody_waits_for_any_more_is_a_message(
    state_dir: Path, tmp_path: Path
) -> None:
    """The proxy is killed over the question; the session's next run is given the answer."""
    async with setup(state_dir, tmp_path, *AGENT, options=("--session-id", "kept")) as home:
        await home.send("form")
        card = await asked(home, "About the release")
        home.process.kill()
        await home.process.wait()
        await home.platform.wait_cards(1, "❌ Error", "session disconnected")
        assert await card.press("submit", FORM) == "Answered"
        await card.shown("Answered", "1.2.0")
        async with session(state_dir, "kept", "dispatcher", capabilities=["turns"]) as next_run:
            deliver = await next_run.until("deliver")
        assert deliver["meta"]["kind"] == "answer"
        assert deliver["content"].splitlines() == [
            "About the release",
            "Version: 1.2.0",
            "Channel: beta",
            "Copies: 3",
            "Notify: No",
        ]
