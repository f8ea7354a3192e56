"""``larkd acp`` over the real daemon: an agent's turns as people see them."""

from __future__ import annotations

import base64
import html
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from tests.daemon.test_approvals import approval_card, press
from tests.daemon.test_choosing import choices
from tests.daemon.test_commands import Chat
from tests.kit import preloaded
from tests.kit.daemon import Platform, environment, open_daemon, open_platform, open_served
from tests.kit.stdio_process import larkd

Map = dict[str, Any]
AGENT = Path(__file__).parents[2] / "fakes" / "acp_agent.py"


class Setup:
    def __init__(self, platform: Platform, chat: Map, process: preloaded.ForkedProcess) -> None:
        self.platform = platform
        self.chat = chat
        self.process = process

    async def send(self, text: str) -> Map:
        return await self.platform.send(self.chat, text)

    async def card(self, *needles: str) -> Map:
        (card,) = (await self.platform.wait_cards(1, *needles))[:1]
        return card


@asynccontextmanager
async def setup(
    state_dir: Path, tmp_path: Path, *agent: str, options: tuple[str, ...] = (), **env: str
) -> AsyncIterator[Setup]:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(open_platform())
        chat = await platform.chat()
        daemon = open_daemon(platform, state_dir, allowFrom=chat["members"])
        await stack.enter_async_context(daemon)
        command = agent or (sys.executable, str(AGENT))
        process = await preloaded.start(
            "actors.cli",
            [
                "acp",
                "--state-dir",
                str(state_dir),
                "--role",
                "dispatcher",
                "--alias",
                "robot",
                "--cwd",
                str(tmp_path),
                *options,
                "--",
                *command,
            ],
            environment() | env,
        )
        try:
            yield Setup(platform, chat, process)
        finally:
            if process.returncode is None:
                process.terminate()
            with trio.move_on_after(60, shield=True) as scope:
                await process.wait()
                process.close()
            if scope.cancelled_caught:
                process.kill()
                raise AssertionError("larkd acp did not end by SIGTERM")


async def test_an_agent_answers_through_a_card(state_dir: Path, tmp_path: Path) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("hello")
        card = await home.card(
            "Hello there.", "let me see", "Read a.py", "/w/a.py:7", "look", "6%", "Done · "
        )
        assert "not to be shown" not in json.dumps(card)


async def test_stop_interrupts_the_agent_and_it_goes_on_after(
    state_dir: Path, tmp_path: Path
) -> None:
    async with setup(state_dir, tmp_path) as home:
        for number, word in enumerate(("hang", "late"), 1):
            await home.send(word)
            await home.card("working", "Processing...")
            await home.send("stop")
            await home.platform.wait_cards(number, "working", "🛑 Stopped")
            await home.send("blocks")
            await home.card(f"blocks ['text'] run {2 * number}", "Done · ")
        assert "too late" not in json.dumps(await home.platform.cards())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_crash_is_reported_without_secrets_and_the_agent_is_started_again(
    state_dir: Path, tmp_path: Path
) -> None:
    options = ("--env", "THE_KEY=sk-abcdef123456")
    async with setup(state_dir, tmp_path, options=options) as home:
        await home.send("crash")
        card = await home.card("half", "❌ Error", "the agent ended with status 3")
        assert "[redacted] is wrong" in html.unescape(json.dumps(card))
        assert "sk-abcdef" not in json.dumps(card)
        await home.send("blocks")
        await home.card("blocks ['text'] run 1", "Done · ")


async def test_a_session_is_taken_up_again_and_its_history_is_not_shown(
    state_dir: Path, tmp_path: Path
) -> None:
    agent = (sys.executable, str(AGENT), "--loads")
    async with setup(state_dir, tmp_path, *agent) as home:
        await home.send("crash")
        await home.card("❌ Error")
        await home.send("hello")
        await home.card("Hello there.", "Done · ")
        assert "replayed history" not in json.dumps(await home.platform.cards())


async def test_rubbish_on_its_output_is_skipped(state_dir: Path, tmp_path: Path) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("rubbish")
        await home.card("still fine", "Done · ")


async def test_a_limit_of_the_agent_is_shown(state_dir: Path, tmp_path: Path) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("tokens")
        await home.card("❌ Error", "its token limit was reached")


LOGGED_OUT = (sys.executable, str(AGENT), "--needs-login")


CAN_NOT_BEGIN = (
    (("--", "no-such-command"), 2, "no command no-such-command in PATH; install it, or name"),
    (("--", "/nowhere/agent"), 2, "there is no /nowhere/agent; install it, or name where"),
    (("--", "/etc/passwd"), 2, "/etc/passwd can't be run; name an executable file"),
    (("--session-id", "a b", "--", "cat"), 2, "--session-id 'a b': a session id is 1 to 128 of"),
    (("--", *LOGGED_OUT), 1, "first (see its documentation)\nLog in with the agent's own command"),
    (("--", "/bin/false"), 1, "/bin/false did not start, and nothing is attached: the agent"),
    (("--session-id", "known", "--", "/bin/false"), 1, "ended with status 1\nIt must speak the"),
)


async def test_where_its_agent_can_not_begin_it_ends_and_nothing_is_registered(
    state_dir: Path,
) -> None:
    async with open_served(state_dir) as platform:
        for arguments, status, words in CAN_NOT_BEGIN:
            command = ["acp", "--state-dir", str(state_dir), *arguments]
            process = await preloaded.start("actors.cli", command, environment(), stderr=True)
            assert process.stderr is not None
            written = b""
            with trio.fail_after(60):
                async for chunk in process.stderr:
                    written += chunk
                assert await process.wait() == status, arguments
            process.close()
            assert words in written.decode()
            assert "Traceback" not in written.decode()
        chat = Chat(platform, await platform.chat())
        assert await chat.ask("/sessions") == "No sessions yet."


async def test_an_agent_that_can_not_be_started_any_more_is_reported(
    state_dir: Path, tmp_path: Path
) -> None:
    command = tmp_path / "agent"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} {AGENT}\n")
    command.chmod(0o700)
    async with setup(state_dir, tmp_path, str(command)) as home:
        await home.send("crash")
        await home.card("half", "❌ Error")
        command.unlink()
        await home.send("hello")
        await home.card(
            "❌ Error", "No such file or directory; install it, or name it by its whole"
        )


async def test_a_silent_agent_is_ended(state_dir: Path, tmp_path: Path) -> None:
    async with setup(state_dir, tmp_path, options=("--idle-timeout", "1")) as home:
        await home.send("hang")
        await home.card("❌ Error", "sent nothing for 1 s")


async def test_a_question_is_decided_by_a_button(state_dir: Path, tmp_path: Path) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("question")
        with trio.fail_after(60):
            while True:
                asked = [
                    message
                    for message in await home.platform.messages(home.chat)
                    if "rm -rf build" in message["content"]
                ]
                if asked:
                    break
                await trio.sleep(0.02)
        await home.platform.post("click", message_id=asked[0]["message_id"], element_id="option_0")
        await home.card('\\"optionId\\": \\"a\\"', "Done · ")


async def test_stop_answers_an_open_question(state_dir: Path, tmp_path: Path) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("question")
        with trio.fail_after(60):
            while "rm -rf build" not in str(await home.platform.messages(home.chat)):
                await trio.sleep(0.02)
        await home.send("stop")
        await home.card("🛑 Stopped")
        await home.send("blocks")
        await home.card("blocks ['text'] run 2")  # the same agent: it was not ended


async def test_files_are_inside_the_working_directory_or_refused(
    state_dir: Path, tmp_path: Path
) -> None:
    async with setup(state_dir, tmp_path, options=("--fs", "write")) as home:
        target = tmp_path / "new" / "a.txt"
        await home.send(f"files {target}")
        await home.card("two", "/etc/hostname is not inside", "-32601", "Done · ")
        assert target.read_text() == "one\ntwo\nthree\n"


async def test_without_leave_no_file_is_touched(state_dir: Path, tmp_path: Path) -> None:
    async with setup(state_dir, tmp_path) as home:
        target = tmp_path / "a.txt"
        await home.send(f"files {target}")
        await home.card("Method not found: fs/write_text_file", "Done · ")
        assert not target.exists()


async def test_a_prompt_for_an_agent_that_has_just_died_goes_to_the_next_one(
    state_dir: Path, tmp_path: Path
) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("fragile")
        await home.card("fragile", "Done · ")
        await home.send("blocks")
        await home.card("blocks ['text'] run 1", "Done · ")


async def test_pictures_and_files_of_a_message_come_as_blocks(
    state_dir: Path, tmp_path: Path
) -> None:
    async with setup(state_dir, tmp_path) as home:
        keys = [
            (await home.platform.post("upload", kind=kind, base64=data))["key"]
            for kind, data in (("image", base64.b64encode(b"\x89PNG").decode()), ("file", "aGk="))
        ]
        content = {
            "title": "",
            "content": [
                [
                    {"tag": "text", "text": "blocks "},
                    {"tag": "img", "image_key": keys[0]},
                ]
            ],
        }
        await home.platform.send(home.chat, "", message_type="post", content=json.dumps(content))
        await home.card("blocks ['text', 'image'] run 1")


async def test_it_ends_with_its_agent_by_a_signal(state_dir: Path, tmp_path: Path) -> None:
    pid = 0
    async with setup(state_dir, tmp_path) as home:
        await home.send("deaf")
        card = await home.card("pids ")
        word = json.dumps(card).partition("pids ")[2].split()[0]
        pid = int("".join(filter(str.isdigit, word)))
        home.process.terminate()
        with trio.fail_after(60):
            assert await home.process.wait() == 0
    with trio.fail_after(60):  # killed, a process takes a moment to end
        while alive(pid):
            await trio.sleep(0.02)


async def test_a_server_inside_the_agent_has_the_session_s_tools_and_is_no_session(
    state_dir: Path, tmp_path: Path
) -> None:
    async with setup(state_dir, tmp_path, options=("--session-id", "robot")) as home:
        chat = home.chat["chat_id"]
        await home.send(f'nested reply {{"chat_id": "{chat}", "text": "from inside"}}')
        await home.card(f"nested: Sent to {chat} as ", "Done · ")
        await home.send("nested feishu_channel_reclaim")
        reclaimed = "nested: Feishu channel owner reclaimed by dispatcher robot (epoch 1)."
        await home.card(reclaimed, "Done · ")
        listed = await Chat(home.platform, home.chat).ask_skipping_notices("/sessions")
        assert [line.split(" (")[0] for line in listed.splitlines()] == ["Sessions:", "- robot"]


async def test_an_agent_that_goes_on_by_itself_has_a_card_and_is_asked(
    state_dir: Path, tmp_path: Path
) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("wake")
        await home.card("asleep", "Done · ")
        card = await approval_card(home.platform, home.chat, "Build", "Allow once")
        await press(home.platform, card, 0)
        await home.card("awake ", "selected", "Done · ")
        await home.send("blocks")
        await home.card("blocks ['text'] run 2", "Done · ")


async def test_a_step_is_known_from_what_asks_for_it_and_ends_when_rejected(
    state_dir: Path, tmp_path: Path
) -> None:
    async with setup(state_dir, tmp_path) as home:
        await home.send("writes")
        card = await approval_card(
            home.platform, home.chat, "Write b.py", "/w/b.py", "- a", "+ bee"
        )
        await press(home.platform, card, 0)
        await home.card("Write b.py", "exit code 7", "rejected", "Done · ")


async def test_modes_of_an_agent_are_chosen_from_the_chat(state_dir: Path, tmp_path: Path) -> None:
    agent = (sys.executable, str(AGENT), "--modes", "--commands")
    async with setup(state_dir, tmp_path, *agent) as home:
        await home.send("blocks")
        await home.card("Done · ")
        chat = Chat(home.platform, home.chat)
        assert "/compact – Make it short" in await chat.ask_skipping_notices("/commands")
        await chat.send("/mode")
        await choices(home.platform, home.chat, "Mode: Ask")
        assert await chat.ask_skipping_notices("/mode plan") == "Mode: Plan"
        await chat.send("/mode")
        await choices(home.platform, home.chat, "Mode: Plan")


async def test_a_conversation_goes_on_after_a_crash_of_the_proxy(
    state_dir: Path, tmp_path: Path
) -> None:
    agent, log = (sys.executable, str(AGENT), "--loads"), tmp_path / "methods.log"
    options = ("--session-id", "kept", "--env", f"ACP_LOG={log}")
    async with setup(state_dir, tmp_path, *agent, options=options) as home:
        await home.send("hello")
        await home.card("Hello there.", "Done · ")
        home.process.kill()
        await home.process.wait()
    assert log.read_text().split() == ["session/new"]
    async with setup(state_dir, tmp_path, *agent, options=options) as home:
        await home.send("hello")
        card = await home.card("Hello there.", "Done · ")
        assert "not to be shown" not in json.dumps(card)
    assert log.read_text().split() == ["session/new", "session/load"]


async def test_it_ends_where_its_parent_was_killed_before_it_could_look(state_dir: Path) -> None:
    gone = await trio.lowlevel.open_process([sys.executable, "-c", ""])
    await gone.wait()
    command = larkd(
        "acp", f"--exit-with-parent={gone.pid}", f"--state-dir={state_dir}", "--", "cat"
    )
    with trio.fail_after(60):
        ended = await trio.run_process(command, capture_stderr=True)
    assert b"Traceback" not in ended.stderr
