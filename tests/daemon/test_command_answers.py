"""What each command answers, in both languages.

Where nobody is, among sessions, in a group, and where those are away. The platform takes
four messages a second for one chat, so what does not build on each other is asked in several.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from tests.daemon.test_commands import Chat, worker
from tests.kit.daemon import open_daemon, open_platform

Answers = Sequence[tuple[str, str, str]]
"""A command, and its answer in English and Chinese."""
NAMES = ("Alice", "Carol", "Dave", "Erin")

_NO_SESSION = (
    "This chat is on no session yet. Send /sessions to see all.",
    "当前聊天还没有会话。发 /sessions 看看有哪些。",
)
_NOT_OURS = (
    "{0} was not started from a chat; end it where it runs.",
    "{0} 不是从聊天中启动的，请在其运行处结束它。",
)
_USE = (
    "Usage: /use <alias>, or /use - to go back to the channel's owner. /sessions lists them.",
    "用法：/use <别名>，或 /use - 回到频道所有者。发 /sessions 查看会话。",
)
_QUEUE = (
    "Usage: /queue, /queue drop <n>, or /queue clear",
    "用法：/queue、/queue drop <序号> 或 /queue clear",
)
_NOTHING = ("Nothing is running.", "当前没有正在执行的任务。")
_NONE_WAITS = ("Nothing is waiting.", "队列为空。")
_ADMINS = ("Only an admin can start or close agents.", "只有管理员可以启动或关闭 agent。")


def unknown(query: str) -> tuple[str, str]:
    return (
        f'No session matching "{query}". Send /sessions to see all.',
        f"没有匹配「{query}」的会话。发 /sessions 看看有哪些。",
    )


def switched(alias: str, previous: str) -> tuple[str, str]:
    return (f"Switched to {alias} (previous: {previous})", f"已切到 {alias}（上一个：{previous}）")


def named(texts: tuple[str, str], alias: str) -> tuple[str, str]:
    return texts[0].format(alias), texts[1].format(alias)


NOBODY: Answers = [
    ("/sessions", "No sessions yet.", "还没有会话。"),
    ("/SS", "No sessions yet.", "还没有会话。"),
    ("/use", *_USE),
    ("/use x", *unknown("x")),
    ("/cancel x", *unknown("x")),
    ("/use -", "Switched to none (previous: none)", "已切到 无（上一个：无）"),
    (
        "/status",
        "This chat: none\nChannel owner: none\nLease epoch: 0\nQueue: 0 waiting, 0 on their way",
        "本聊天：无\n频道所有者：无\n租约 epoch：0\n队列：0 条等待，0 条投递中",
    ),
    *[
        (command, *_NO_SESSION)
        for command in (
            *("/replymode", "/replymode final", "/close", "/resume", "/resume 1"),
            *("/mode", "/model x", "/effort", "/commands"),
        )
    ],
    ("/queue", *_NONE_WAITS),
    ("/queue clear", *_NONE_WAITS),
    (
        "/queue drop 1",
        "There is no number 1 in the queue. Send /queue to see it.",
        "队列中没有第 1 条。发 /queue 查看。",
    ),
    (
        "/why",
        "Nothing is known of that message: it never arrived, or is older than 30 days.",
        "没有这条消息的记录：它没有到达，或已超过 30 天。",
    ),
    ("stop", *_NOTHING),
    ("/stop", *_NOTHING),
    (
        "/new",
        "Usage: /new <agent> [alias] [directory]. Agents: none.",
        "用法：/new <agent> [别名] [目录]。可用 agent：无。",
    ),
    (
        "/new nope",
        "No agent nope is configured. Known: none.",
        "没有配置名为 nope 的 agent，可用：无。",
    ),
    ("/pair", "Usage: /pair <code>", "用法：/pair <配对码>"),
    (
        "/pair ABC234",
        "No pairing code ABC234 is waiting. Codes are valid for an hour.",
        "没有等待批准的配对码 ABC234，配对码一小时内有效。",
    ),
]

AMONG_SESSIONS: Answers = [
    (
        "/sessions",
        (
            "Sessions:\n- boss (claude @ /w/boss) [current]\n- api-1 (claude @ /w/api-1)\n"
            "- api-2 (claude @ /w/api-2)"
        ),
        (
            "会话列表：\n- boss (claude @ /w/boss) [当前]\n- api-1 (claude @ /w/api-1)\n"
            "- api-2 (claude @ /w/api-2)"
        ),
    ),
    *[
        (
            f"/{command} api",
            '"api" matches multiple sessions, please specify:\n• api-1\n• api-2',
            "「api」匹配到多个会话，请指定：\n• api-1\n• api-2",
        )
        for command in ("use", "cancel", "close")
    ],
]

CHOSEN: Answers = [("/Use API-1", *switched("api-1", "boss"))]

ON_THE_CHOSEN: Answers = [
    ("/mode", "api-1 offers no modes.", "api-1 没有可选的模式。"),
    ("/mode plan", "api-1 offers no modes.", "api-1 没有可选的模式。"),
    ("/model", "api-1 offers no models.", "api-1 没有可选的模型。"),
    ("/effort high", "api-1 offers no effort levels.", "api-1 没有可选的推理强度。"),
    ("/commands", "api-1 offers no commands.", "api-1 没有自己的命令。"),
    ("/resume x", "Usage: /resume, or /resume <n>", "用法：/resume 或 /resume <序号>"),
    ("/close", *named(_NOT_OURS, "api-1")),
    ("/close bo", *named(_NOT_OURS, "boss")),
    ("/cancel api-2", *_NOTHING),
    ("/queue drop", *_QUEUE),
    ("/queue foo", *_QUEUE),
    (
        "/replymode a b",
        "Usage: /replymode stream, final, verbose or reset",
        "用法：/replymode stream、final、verbose 或 reset",
    ),
]

OF_ONE: Answers = [
    ("/replymode", "Current reply mode: verbose", "当前 reply mode：verbose"),
    ("/replymode Stream", "Reply mode set to: stream", "已设置 reply mode：stream"),
    ("/replymode reset", "Reply mode set to: verbose", "已设置 reply mode：verbose"),
    (
        "/status",
        (
            "This chat: api-1 (chosen by /use)\nChannel owner: boss\nLease epoch: 1\n"
            "Queue: 0 waiting, 0 on their way"
        ),
        (
            "本聊天：api-1（由 /use 指定）\n频道所有者：boss\n租约 epoch：1\n"
            "队列：0 条等待，0 条投递中"
        ),
    ),
]

LEFT: Answers = [("/ss -", *switched("boss", "api-1"))]

OF_NO_ADMIN_IN_A_GROUP: Answers = [
    ("/new fake", *_ADMINS),
    ("/close api-1", *_ADMINS),
    ("/doctor", "Only an admin can ask for this.", "只有管理员可以查看。"),
    (
        "/resume",
        "Only who started it, or an admin, can resume its conversations.",
        "只有启动者或管理员可以恢复其对话。",
    ),
    (
        "/pair ABC234",
        "Only an admin can approve a pairing, in a direct chat with me.",
        "只有管理员能批准配对，请在与我的单聊中发送。",
    ),
    ("/use api-1", *switched("api-1", "boss")),
    ("/use -", *switched("boss", "api-1")),
]

AWAY: Answers = [
    ("/use api-2", *switched("api-2", "boss")),
    ("/resume", "api-2 is offline; start it first.", "api-2 已离线，请先启动它。"),
    ("/mode", "api-2 offers no modes.", "api-2 没有可选的模式。"),
    ("/cancel api-2", *_NOTHING),
    ("/close", *named(_NOT_OURS, "api-2")),
    (
        "/status",
        (
            "This chat: api-2 (offline) (chosen by /use)\nChannel owner: boss\nLease epoch: 1\n"
            "Queue: 0 waiting, 0 on their way"
        ),
        (
            "本聊天：api-2（离线）（由 /use 指定）\n频道所有者：boss\n租约 epoch：1\n"
            "队列：0 条等待，0 条投递中"
        ),
    ),
]


class Asking:
    """Asks in chats, and compares with the answer in the daemon's language."""

    def __init__(self, chats: Sequence[Chat], language: str) -> None:
        self._chats = chats
        self._language = language

    @property
    def first(self) -> Chat:
        return self._chats[0]

    async def one_after_another(self, chat: Chat, answers: Answers, **more: str | bool) -> None:
        for command, english, chinese in answers:
            answer = await chat.ask(command, **more)
            wanted = english if self._language == "en" else chinese
            if command == "/status":  # counts what is asked in other chats at the same time
                with trio.move_on_after(60):
                    while answer != wanted:
                        answer = await chat.ask(command, **more)
            assert (command, answer) == (command, wanted)

    async def in_each(self, answers: Answers) -> None:
        async with trio.open_nursery() as nursery:
            for chat in self._chats:
                nursery.start_soon(self.one_after_another, chat, answers)

    async def spread(self, answers: Answers) -> None:
        """Ask each once, in whichever chat."""
        async with trio.open_nursery() as nursery:
            for at, chat in enumerate(self._chats):
                share = answers[at :: len(self._chats)]
                nursery.start_soon(self.one_after_another, chat, share)


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_every_answer(state_dir: Path, language: str) -> None:
    async with open_platform() as platform:
        chats = [await platform.chat(name=name) for name in NAMES]
        bob = (await platform.chat(name="Bob"))["members"][0]
        asking = Asking([Chat(platform, chat) for chat in chats], language)
        group = Chat(platform, await platform.chat("group", "Team"))
        of_bob = functools.partial(asking.one_after_another, sender=bob, mention_bot=True)
        admins = [one for chat in chats for one in chat["members"]]
        async with open_daemon(platform, state_dir, language=language, admins=admins):
            await asking.spread(NOBODY)
            async with worker(state_dir, "boss", "dispatcher"):
                async with worker(state_dir, "api-1"), worker(state_dir, "api-2"):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(of_bob, group, OF_NO_ADMIN_IN_A_GROUP)
                        await asking.spread(AMONG_SESSIONS)
                        await asking.in_each(CHOSEN)
                        await asking.spread(ON_THE_CHOSEN)
                        await asking.one_after_another(asking.first, OF_ONE)
                        await asking.in_each(LEFT)
                chat = asking.first
                away = " (offline)" if language == "en" else "（离线）"
                left = [f"- api-{number} (claude @ /w/api-{number}){away}" for number in (1, 2)]
                with trio.fail_after(60):
                    while sorted((await chat.ask("/sessions")).splitlines()[2:]) != left:
                        await trio.lowlevel.checkpoint()
                await asking.one_after_another(chat, AWAY)
