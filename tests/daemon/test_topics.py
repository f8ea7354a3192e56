"""Topics as places: each has its binding, its commands and its turns."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.daemon.test_ask import submit
from tests.daemon.test_commands import Chat, end, take, worker
from tests.daemon.test_outbound import bots
from tests.kit.daemon import open_daemon, open_platform
from tests.kit.raw_proxy import RawProxy, session

Map = dict[str, Any]
AGENT = Path(__file__).parents[1] / "fakes" / "remembering_agent.py"
TOPIC_GROUPS = ("topic_mode", "every_message")


class Group(Chat):
    """A group of a kind, and its topics."""

    async def topic(self, text: str, **more: Any) -> tuple[str, Map]:
        """Open a topic by a message; return its ``thread_id``, and the message."""
        sent = await self.send(text, mention_bot=True, **more)
        message = await self.message(sent["message_id"])
        return message["thread_id"], message

    async def message(self, message_id: str) -> Map:
        (found,) = [
            one
            for one in await self.platform.messages(self.chat)
            if one["message_id"] == message_id
        ]
        return found

    async def answered(self, proxy: RawProxy, text: str) -> None:
        """Answer the next prompt; return when its card shows the end.

        From then on the chat may go to another session, and no notice of the turn comes after.
        """
        await end(proxy, await take(proxy), text=text)
        await self.platform.wait_cards(1, text, "Done · ")

    async def asks(self, thread_id: str | None, text: str) -> str:
        """Send a command into a topic; return its answer, which is in that topic."""
        before = {one["message_id"] for one in await self.platform.messages(self.chat)}
        answer = await self.ask(text, mention_bot=True, thread_id=thread_id)
        (message,) = [
            one
            for one in await self.platform.messages(self.chat)
            if one["message_id"] not in before
            and one["sender"]["type"] == "app"
            and one["msg_type"] == "text"
        ]
        assert message.get("thread_id") == thread_id
        return answer


@asynccontextmanager
async def open_group(state_dir: Path, topics: str, **options: Any) -> AsyncIterator[Group]:
    async with open_platform() as platform:
        user = await platform.post("users", name="Alice")
        chat = await platform.post(
            "chats", type="group", name="Team", topics=topics, members=[user["open_id"]]
        )
        options = {"groupReplyMode": "streaming", **options}
        async with open_daemon(platform, state_dir, **options):
            yield Group(platform, chat)


async def bindings(proxy: Any) -> Map:
    found: Map = (await proxy.tool("feishu_channel_status"))["result"]["bindings"]
    return found


@pytest.mark.parametrize("topics", TOPIC_GROUPS)
async def test_each_topic_of_a_topic_group_is_a_place(state_dir: Path, topics: str) -> None:
    async with (
        open_group(state_dir, topics) as group,
        worker(state_dir, "api", "dispatcher") as api,
        worker(state_dir, "web") as web,
    ):
        one, _ = await group.topic("first")
        first = await take(api)
        assert first["meta"]["thread_id"] == one
        two, _ = await group.topic("second")
        assert await group.asks(two, "/use web") == "Switched to web (previous: api)"
        await group.send("for web", mention_bot=True, thread_id=two)
        for_web = await take(web)
        assert for_web["meta"]["thread_id"] == two
        chat_id = group.chat["chat_id"]
        assert await bindings(api) == {f"{chat_id}#{two}": "s-web"}
        # What runs in the one is no turn of the other.
        third, _ = await group.topic("/status")
        assert "api" in await group.next_text()
        assert await group.asks(third, "stop") == "Nothing is running."
        assert (await group.asks(two, "/cancel")).startswith("Stopped")
        assert (await web.until("cancel"))["turn_id"] == for_web["turn_id"]
        assert not [one for one in api.seen if one["t"] == "cancel"]
        # Back to what the topic follows: its chat. Its session runs the turn of another one.
        assert await group.asks(two, "/use -") == (
            "Switched to api (previous: web)\n⏳ api is still running…"
        )
        assert await bindings(api) == {}


async def test_a_topic_without_a_binding_follows_its_chat(state_dir: Path) -> None:
    async with (
        open_group(state_dir, "allowed", topicSessions=True) as group,
        worker(state_dir, "boss", "dispatcher") as boss,
        worker(state_dir, "api") as api,
        worker(state_dir, "web") as web,
    ):
        chat_id = group.chat["chat_id"]
        assert await group.asks(None, "/use api") == "Switched to api (previous: boss)"
        root = await group.send("root", mention_bot=True)
        await group.answered(api, "to the root")
        sent = await group.send(
            "in a topic", mention_bot=True, parent_id=root["message_id"], reply_in_thread=True
        )
        thread = (await group.message(sent["message_id"]))["thread_id"]
        await group.answered(api, "in the topic")
        assert await group.asks(thread, "/use web") == "Switched to web (previous: api)"
        assert await group.asks(None, "/use boss") == "Switched to boss (previous: api)"
        assert await bindings(boss) == {chat_id: "s-boss", f"{chat_id}#{thread}": "s-web"}
        await group.send("to web", mention_bot=True, thread_id=thread)
        await group.answered(web, "by web")
        assert await group.asks(None, "/use api") == "Switched to api (previous: boss)"
        assert await group.asks(thread, "/use -") == "Switched to api (previous: web)"
        await group.send("to api", mention_bot=True, thread_id=thread)
        await end(api, await take(api))


async def test_topics_of_any_other_group_are_of_its_chat(state_dir: Path) -> None:
    async with (
        open_group(state_dir, "allowed") as group,
        worker(state_dir, "boss", "dispatcher") as boss,
        worker(state_dir, "api") as api,
    ):
        root = await group.send("root", mention_bot=True)
        await group.answered(boss, "to the root")
        sent = await group.send(
            "/use api", mention_bot=True, parent_id=root["message_id"], reply_in_thread=True
        )
        assert await group.next_text() == "Switched to api (previous: boss)"
        assert await bindings(boss) == {group.chat["chat_id"]: "s-api"}
        await group.send("outside", mention_bot=True)
        running = await take(api)
        thread = (await group.message(sent["message_id"]))["thread_id"]
        await group.send("stop", mention_bot=True, thread_id=thread)
        assert (await api.until("cancel"))["turn_id"] == running["turn_id"]


async def test_rows_that_wait_follow_the_binding_of_their_topic(state_dir: Path) -> None:
    async with (
        open_group(state_dir, "topic_mode") as group,
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        thread, _ = await group.topic("/status")
        assert "boss" in await group.next_text()
        async with worker(state_dir, "api"):
            assert await group.asks(thread, "/use api") == "Switched to api (previous: boss)"
        await group.send("for whom", mention_bot=True, thread_id=thread)
        assert "kept" in await group.next_text()
        assert await group.asks(thread, "/use -") == "Switched to boss (previous: api)"
        assert (await take(boss))["content"].endswith("for whom")


async def test_what_a_turn_shows_is_in_its_topic_its_ping_too(state_dir: Path) -> None:
    async with (
        open_group(state_dir, "topic_mode", groupReplyMode="static") as group,
        worker(state_dir, "api", "dispatcher") as api,
        worker(state_dir, "web"),
    ):
        thread, _ = await group.topic("work")
        running = await take(api)
        other, _ = await group.topic("/use web")
        assert "Switched to web" in await group.next_text()
        assert (await group.asks(thread, "/use web")).startswith("Switched to web")
        await end(api, running, text="The result.")
        assert await group.next_text() == "✅ api done"
        with trio.fail_after(60):
            while len(ours := await bots(group.platform, group.chat)) < 4:
                await trio.sleep(0.02)
        assert [one["thread_id"] for one in ours] == [other, thread, thread, thread]


async def test_an_agent_is_started_for_each_topic_by_its_first_message(
    state_dir: Path, tmp_path: Path
) -> None:
    """No admin is needed; what a person may start does not count; its end is the topic's."""
    command = [sys.executable, str(AGENT), str(tmp_path / "store")]
    options = {
        "agents": {"fake": {"command": command, "cwd": str(tmp_path)}},
        "agentsPerPerson": 0,
        "topicAgent": "fake",
    }
    async with (
        open_group(state_dir, "topic_mode", **options) as group,
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        cards = group.platform.wait_cards
        one, _ = await group.topic("first")
        await cards(1, "first.", "Done · ")
        listed = await group.asks(one, "/sessions")
        assert "- fake (" in listed.splitlines()[2]
        assert listed.splitlines()[2].endswith("[current]")
        await group.send("second", mention_bot=True, thread_id=one)
        await cards(1, "@larkd first, @larkd second.", "Done · ")
        # In another topic that asks for one itself, which is no admin's either.
        two, _ = await group.topic("/new fake other")
        assert await group.next_text() == "Started other."
        await group.send("elsewhere", mention_bot=True, thread_id=two)
        await cards(1, "elsewhere.", "Done · ")
        assert await group.asks(two, "/close") == "Only an admin can start or close agents."
        # The topic goes back to its chat: that starts no other one.
        assert await group.asks(one, "/use -") == "Switched to boss (previous: fake)"
        await group.send("for boss", mention_bot=True, thread_id=one)
        assert (await take(boss))["content"].endswith("for boss")
        chat_id = group.chat["chat_id"]
        assert [*(await bindings(boss))] == [f"{chat_id}#{two}"]
        shown = {
            one["thread_id"]
            for one in await group.platform.messages(group.chat)
            if one["sender"]["type"] == "app"
        }
        assert shown == {one, two}


async def test_why_a_topics_agent_did_not_start_is_shown_and_the_message_goes_to_the_chat(
    state_dir: Path, tmp_path: Path
) -> None:
    agents = {"fake": {"command": ["/nowhere/agent"], "cwd": str(tmp_path)}}
    async with (
        open_group(state_dir, "topic_mode", agents=agents, topicAgent="fake") as group,
        worker(state_dir, "boss", "dispatcher") as boss,
    ):
        await group.topic("first")
        assert (await group.next_text()).startswith("fake did not start: /nowhere/agent")
        assert (await take(boss))["content"].endswith("first")


async def test_what_is_asked_in_a_topic_is_answered_and_explained_there(state_dir: Path) -> None:
    async with (
        open_group(state_dir, "topic_mode") as group,
        session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
    ):
        one, message = await group.topic("first")
        await take(boss)
        two, _ = await group.topic("/why")
        assert (await group.next_text()).startswith("Nothing is known of that message")
        assert "received" in await group.asks(one, "/why")
        options = [{"label": "red"}, {"label": "blue"}]
        asked = await boss.tool(
            "ask",
            chat_id=group.chat["chat_id"],
            message_id=message["message_id"],
            questions=[{"question": "Which?", "options": options}],
        )
        assert asked["ok"]
        (card,) = [
            one
            for one in await group.platform.messages(group.chat)
            if one["msg_type"] == "interactive"
        ]
        assert card["thread_id"] == one
        await submit(group.platform, card, form_value={"choice_0": "0", "text_0": ""})
        answer = await take(boss)
        assert answer["meta"]["thread_id"] == one
        assert answer["content"] == "Which?: red"
        assert two != one
