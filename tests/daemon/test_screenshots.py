"""What people see in each state, wide and on a phone, in both languages, to look at.

The pictures go where ``LARKD_SCREENSHOTS`` names, else into the test's own folder: then
nobody looks at them, and one of each state is enough, in turn of each kind.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trio
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.daemon.test_commands import Chat, end, take, worker
from tests.kit.browser import Browser, open_browser
from tests.kit.daemon import open_daemon, open_platform
from tests.kit.ledger import wait_noted
from tests.kit.raw_proxy import RawProxy
from tests.kit.sizes import NIGHTLY

LONG = "".join(
    f"## Part {part}\n\nSome words about it, and code:\n\n```py\n"
    + "".join(f"value_{line} = {line} * {part}\n" for line in range(60))
    + "```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    for part in range(1, 12)
)


WIDE = f"""A long name: `actors.turns.card.CardPresenter.{"_continue_as_messages" * 3}`, \
and https://open.feishu.cn/document/{"cardkit-v1/" * 8}create

```py
first = {" + ".join(f"value_{number}" for number in range(16))}
```

| file | before | after | what has changed | who | when |
|---|---|---|---|---|---|
| `actors/turns/card.py` | 400 | 387 | text that hangs goes by another endpoint | Alice | today |

> quoted

1. one
   - inner
2. 下一步：把所有未完成的卡片恢复到最终状态，并核对每一条消息是否只出现一次。
"""

SCREENS: dict[str, dict[str, Any]] = {
    "wide": {"width": 1280, "height": 860, "deviceScaleFactor": 1, "mobile": False},
    "phone": {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True},
}


class Camera:
    """Takes pictures of the chat page in both languages, on both screens.

    Of each state *all_of_them*, or one: of one state on the one screen, of the next on the
    other, and so on.
    """

    def __init__(self, page: Browser, folder: Path, *, all_of_them: bool) -> None:
        self._page = page
        self._folder = folder
        self._all_of_them = all_of_them
        self._kinds = [(screen, language) for screen in SCREENS for language in ("en", "zh")]
        self.taken: list[Path] = []

    async def shoot(self, name: str, *needles: str, at: str = "") -> None:
        """Wait until the page shows all of the needles, then take the pictures.

        Of the end of the chat with its panels as they are; or with all open, and at the bottom
        the last text that *at* matches, in either language.
        """
        await trio.to_thread.run_sync(self._shoot, name, needles, at)

    async def press(self, button: str) -> None:
        """Press the last button of that name in the chat."""
        await trio.to_thread.run_sync(self._page.execute_script, PRESS, button)

    def _shoot(self, name: str, needles: tuple[str, ...], at: str) -> None:
        WebDriverWait(self._page, 60, poll_frequency=0.05).until(
            lambda page: all(
                needle in str(page.execute_script("return document.body.textContent"))
                for needle in needles
            ),
            f"{name}: not all of {needles}",
        )
        one = len(self.taken) % len(self._kinds)
        for screen, language in self._kinds if self._all_of_them else self._kinds[one : one + 1]:
            metrics = SCREENS[screen]
            self._page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            touch = {"enabled": metrics["mobile"]}
            self._page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", touch)
            switch = self._page.find_element(By.ID, "language")
            if language == "zh":
                switch.click()
            self._page.execute_async_script(SCROLL, at)
            path = self._folder / f"{name}-{screen}-{language}.png"
            self._page.save_screenshot(str(path))
            self.taken.append(path)
            if language == "zh":
                switch.click()


PRESS = """
const buttons = [...document.querySelectorAll("#messages button")];
buttons.findLast((one) => one.textContent.trim() === arguments[0]).click();
"""


SCROLL = """
const [at, done] = arguments;
const messages = document.getElementById("messages");
if (at) {
  for (const panel of messages.querySelectorAll("details")) panel.open = true;
  const found = [...messages.querySelectorAll("*")].filter(
    (one) => !one.children.length && new RegExp(at).test(one.textContent));
  found.at(-1).scrollIntoView({block: "end"});
} else {
  messages.scrollTo(0, 1e9);
}
requestAnimationFrame(() => requestAnimationFrame(done));
"""


async def test_each_state_in_both_languages(state_dir: Path, tmp_path: Path) -> None:
    looked_at = os.environ.get("LARKD_SCREENSHOTS")
    folder = Path(looked_at or tmp_path)
    all_of_them = looked_at is not None or NIGHTLY
    async with open_platform() as platform:
        chat = Chat(platform, await platform.chat())
        with open_browser() as page:
            await trio.to_thread.run_sync(page.get, platform.running.page_url)
            camera = Camera(page, folder, all_of_them=all_of_them)
            async with (
                open_daemon(platform, state_dir, admins=chat.chat["members"]) as daemon,
                worker(state_dir, "boss", "dispatcher") as boss,
            ):
                await photograph(camera, chat, boss, state_dir)
                await chat.send("and once more")
                turn = await take(boss)
                tool = {"name": "Write", "kind": "edit", "status": "error", "error": "rejected"}
                await boss.send(t="tool_event", turn_id=turn["turn_id"], call_id="w", **tool)
                await boss.send(t="delta", turn_id=turn["turn_id"], text="It was going well")
                await camera.shoot("13-before-a-kill", "It was going well")
                await wait_noted(state_dir, "It was going well")
                await daemon.kill()
            async with open_daemon(platform, state_dir, admins=chat.chat["members"]):
                await camera.shoot("14-repaired", "Interrupted by a restart.")
    assert len(camera.taken) == (76 if all_of_them else 19)
    assert all(path.stat().st_size > 5_000 for path in camera.taken)


async def photograph(camera: Camera, chat: Chat, boss: RawProxy, state_dir: Path) -> None:
    await running(camera, chat, boss)
    await ended(camera, chat, boss)
    await detailed(camera, chat, boss)
    await asked(camera, chat, boss)
    await lost(camera, chat, state_dir)
    await chat.ask("/help")
    await camera.shoot("commands", "/replymode")
    await chat.ask_skipping_notices("/use boss")
    await questioned(camera, chat, boss)
    await plain(camera, chat, boss)


async def questioned(camera: Camera, chat: Chat, boss: RawProxy) -> None:
    options = [{"label": "SQLite", "description": "one file"}, {"label": "PostgreSQL"}]
    questions = [
        {"question": "Where do the rows go?", "header": "Store", "options": options},
        {"question": "And the logs?", "options": options, "multiple": True},
    ]
    asked = await boss.tool("ask", chat_id=chat.chat["chat_id"], questions=questions)
    assert asked["ok"], asked
    await camera.shoot("11-question", "Where do the rows go?")


async def plain(camera: Camera, chat: Chat, boss: RawProxy) -> None:
    """A turn without a card: as it comes, with its tools and its end."""
    await chat.platform.post("scopes", missing=["cardkit:card:write"])
    await chat.send("plainly, please")
    turn = await take(boss)
    tool = {"name": "Read", "kind": "read", "status": "success", "summary": "a.py"}
    await boss.send(t="tool_event", turn_id=turn["turn_id"], call_id="c", **tool)
    await end(boss, turn, text="First **this**.\n\n```py\nx = 1\n```\n\nThen that.")
    await camera.shoot("12-static", "Then that.", "Done · ")
    await chat.platform.post("scopes", missing=[])


async def running(camera: Camera, chat: Chat, boss: RawProxy) -> None:
    await chat.send("please do it")
    turn = await take(boss)
    await camera.shoot("1-thinking", "Processing...")
    of_turn: dict[str, Any] = {"turn_id": turn["turn_id"]}
    await boss.send(t="delta", text="It may be the cache.", channel="reasoning", **of_turn)
    tool = {"name": "Read", "kind": "read", "status": "success", "summary": "a.py"}
    await boss.send(t="tool_event", call_id="c", **tool, **of_turn)
    entries = [
        {"content": "look", "status": "completed"},
        {"content": "fix it", "status": "in_progress"},
    ]
    await boss.send(t="plan", entries=entries, **of_turn)
    await boss.send(t="delta", text="I looked at **a.py**:\n\n```py\nx = 1\n```\n", **of_turn)
    await camera.shoot("2-streaming", "x = 1", "Plan (1/2)")
    await end(boss, turn, text="\n| a | b |\n|---|---|\n| 1 | 2 |\n\nDone, with 漢字 and 🎉.")
    await camera.shoot("3-complete", "漢字", "Done · ")


async def ended(camera: Camera, chat: Chat, boss: RawProxy) -> None:
    await chat.send("and this")
    turn = await take(boss)
    await boss.send(t="delta", turn_id=turn["turn_id"], text="half of it")
    await camera.shoot("4-half", "half of it")
    await chat.send("stop")
    await boss.until("cancel")
    await end(boss, turn, "aborted")
    await camera.shoot("5-stopped", "🛑 Stopped")
    await chat.send("fail, please")
    await end(boss, await take(boss), "error", text="I tried.", error="the disk is full")
    await camera.shoot("6-error", "❌ Error", "the disk is full")
    await chat.send("write a lot")
    turn = await take(boss)
    for at in range(0, len(LONG), 2_000):
        await boss.send(t="delta", turn_id=turn["turn_id"], text=LONG[at : at + 2_000])
    await end(boss, turn)
    await camera.shoot("7-long", "Part 11", "Continued below")
    await camera.shoot("7-sealed", "Part 11", at="Continued below|下接")


async def detailed(camera: Camera, chat: Chat, boss: RawProxy) -> None:
    """All panels open, and what is wider than a phone."""
    await chat.send("in detail")
    turn = await take(boss)
    of_turn: dict[str, Any] = {"t": "tool_event", "turn_id": turn["turn_id"]}
    tests = {"name": "Bash", "kind": "execute", "summary": "python -m pytest -q tests/actors"}
    output = "\n".join(f"tests/actors/turns/test_turns.py::test_{n} PASSED" for n in range(4))
    await boss.send(call_id="t", status="success", output=output, **tests, **of_turn)
    write = {"name": "Write", "kind": "edit", "status": "error", "error": "The disk is full."}
    await boss.send(call_id="w", summary="actors/turns/card.py", **write, **of_turn)
    await boss.send(call_id="s", name="Grep", kind="search", status="running", **of_turn)
    reasoning = "It may be the cache: the sessions of 会话 are compared before they are loaded."
    delta: dict[str, Any] = {"t": "delta", "turn_id": turn["turn_id"]}
    await boss.send(text=reasoning, channel="reasoning", **delta)
    await camera.shoot("2-open", "Tool calls (3)", at="Processing|处理中")
    await boss.send(text=WIDE, **delta)
    usage = {"input_tokens": 1_200, "output_tokens": 800, "used": 12_000, "size": 200_000}
    await boss.send(t="usage", turn_id=turn["turn_id"], **usage)
    await end(boss, turn)
    await camera.shoot("3-wide", "下一步", "ctx 12k/200k", at="ctx 12k/200k")


async def asked(camera: Camera, chat: Chat, boss: RawProxy) -> None:
    await chat.send("is it allowed?")
    turn = await take(boss)
    await boss.send(
        t="permission_request",
        request_id="r1",
        turn_id=turn["turn_id"],
        title="Run a command",
        detail="rm -rf build && make all",
        options=[
            {"id": "y", "label": "Allow once", "kind": "allow_once"},
            {"id": "n", "label": "Reject", "kind": "reject_once"},
        ],
    )
    await camera.shoot("8-permission", "rm -rf build && make all", "Allow once")
    await camera.press("Allow once")
    await boss.until("permission_verdict")
    await camera.shoot("8-allowed", "✅ Allow once", "@Alice")
    await end(boss, turn)


async def lost(camera: Camera, chat: Chat, state_dir: Path) -> None:
    async with worker(state_dir, "helper") as helper:
        await chat.ask_skipping_notices("/use helper")
        await chat.send("help me")
        turn = await take(helper)
        await helper.send(t="delta", turn_id=turn["turn_id"], text="I begin with the tests, and")
        await camera.shoot("9-begun", "I begin with the tests")
    await camera.shoot("10-lost", "❌ Error")
