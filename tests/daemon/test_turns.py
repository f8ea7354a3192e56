"""One message goes in, a live card comes out, over real sockets."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import trio

from tests.kit.daemon import Platform, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import session


def element(card: dict[str, Any], element_id: str) -> str:
    """Return the text of the element with this id, wherever it sits in the card."""
    found: list[str] = []

    def look(node: object) -> None:
        if isinstance(node, dict):
            if node.get("element_id") == element_id and "content" in node:
                found.append(node["content"])
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for value in node:
                look(value)

    look(card["card"])
    assert found, f"no element {element_id} in {json.dumps(card['card'], ensure_ascii=False)}"
    return found[0]


async def test_a_message_becomes_a_turn_whose_answer_streams_into_a_card(
    state_dir: Path,
) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher") as proxy,
    ):
        chat = await platform.chat()
        sent = await platform.send(chat, "hello **agent**")
        deliver = await proxy.until("deliver")
        assert deliver["content"] == "hello **agent**"
        assert deliver["event_id"] == sent["event_id"]
        assert (deliver["attempt"], deliver["lease_epoch"]) == (1, 1)
        assert deliver["chat_id"] == chat["chat_id"]
        assert deliver["meta"]["kind"] == "message"
        assert deliver["meta"]["account"] == "default"
        assert deliver["meta"]["chat_type"] == "p2p"
        assert deliver["meta"]["message_id"] == sent["message_id"]
        assert deliver["attachments"] == []
        turn = deliver["turn_id"]
        await proxy.send(t="ack", event_id=deliver["event_id"], attempt=1)

        (thinking,) = await platform.wait_cards(1, "Processing... ")
        assert thinking["streaming"] is True

        await proxy.send(t="delta", turn_id=turn, text="I think so.", channel="reasoning")
        await proxy.send(
            t="tool_event",
            turn_id=turn,
            call_id="c1",
            name="Read",
            kind="read",
            status="running",
            summary="a.py",
        )
        await proxy.send(
            t="plan", turn_id=turn, entries=[{"content": "look", "status": "in_progress"}]
        )
        for word in ("Hello ", "there, ", "**Alice**."):
            await proxy.send(t="delta", turn_id=turn, text=word)
        await platform.wait_cards(
            1,
            "Hello there, **Alice**.",
            "🧠 Reasoning",
            "I think so.",
            "🔧 Tool calls (1)",
            "📋 Plan (0/1)",
        )
        await proxy.send(
            t="usage", turn_id=turn, used=12_000, size=200_000, input_tokens=1200, output_tokens=800
        )
        await proxy.send(
            t="tool_event", turn_id=turn, call_id="c1", status="success", duration_ms=1500
        )
        await proxy.send(t="turn_end", turn_id=turn, status="complete", text=" Bye.")

        (done,) = await platform.wait_cards(1, "Done · ")
        assert element(done, "answer") == "Hello there, **Alice**. Bye."
        footer = element(done, "footer")
        assert footer.startswith("Done · ")
        assert footer.endswith(" · ↑1.2k · ↓800 · ctx 12k/200k 6%")
        assert done["streaming"] is False

        # The card is a reply to the user's message, and the typing mark is gone.
        card_message = next(
            message for message in await platform.messages(chat) if message["card_id"]
        )
        assert card_message["parent_id"] == sent["message_id"]


async def test_stop_on_the_card_cancels_the_turn_and_shows_stopped(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher") as proxy,
    ):
        chat = await platform.chat()
        await platform.send(chat, "count to a million")
        deliver = await proxy.until("deliver")
        await proxy.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await proxy.send(t="delta", turn_id=deliver["turn_id"], text="1, 2, 3")
        (card,) = await platform.wait_cards(1, "1, 2, 3")
        button = next(iter(_buttons(card["card"])))
        value = next(b["value"] for b in button["behaviors"] if b["type"] == "callback")

        pressed = await platform.post(
            "click", card_id=card["card_id"], value=value, operator=chat["members"][0]
        )
        assert pressed["code"] == 0
        assert pressed["toast"]["type"] in {"success", "info"}
        cancel = await proxy.until("cancel")
        assert (cancel["turn_id"], cancel["reason"]) == (deliver["turn_id"], "user")
        (stopped,) = await platform.wait_cards(1, "🛑 Stopped · ")
        assert element(stopped, "answer") == "1, 2, 3"
        assert not list(_buttons(stopped["card"]))

        # What the agent still sends is dropped; its end frees the lane for the next turn.
        await proxy.send(t="delta", turn_id=deliver["turn_id"], text=", 4")
        await proxy.send(t="turn_end", turn_id=deliver["turn_id"], status="aborted")
        await platform.send(chat, "next")
        following = await proxy.until("deliver")
        assert following["content"] == "next"
        (stopped,) = await platform.wait_cards(1, "🛑 Stopped · ")
        assert element(stopped, "answer") == "1, 2, 3"


def _buttons(node: object) -> list[dict[str, Any]]:
    if isinstance(node, dict):
        own = [node] if node.get("tag") == "button" else []
        return own + [b for value in node.values() for b in _buttons(value)]
    if isinstance(node, list):
        return [button for value in node for button in _buttons(value)]
    return []


async def test_turns_of_one_session_run_one_at_a_time_in_order(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher") as proxy,
    ):
        chat = await platform.chat()
        for text in ("one", "two", "three"):
            await platform.send(chat, text)
        for text in ("one", "two", "three"):
            deliver = await proxy.until("deliver")
            assert deliver["content"] == text
            await proxy.barrier()
            assert sum(m["t"] == "deliver" for m in proxy.seen) == 1
            proxy.seen.clear()
            await proxy.send(t="ack", event_id=deliver["event_id"], attempt=deliver["attempt"])
            await proxy.send(
                t="turn_end",
                turn_id=deliver["turn_id"],
                status="complete",
                text=f"answer to {text}",
            )
        await platform.wait_cards(3, "Done · ", "answer to ")


async def test_a_session_that_disconnects_in_a_turn_leaves_an_error_on_its_card(
    state_dir: Path,
) -> None:
    async with open_served(state_dir) as platform:
        chat = await platform.chat()
        async with session(state_dir, "boss", "dispatcher") as proxy:
            await platform.send(chat, "hello")
            deliver = await proxy.until("deliver")
            await proxy.send(t="ack", event_id=deliver["event_id"], attempt=1)
            await proxy.send(t="delta", turn_id=deliver["turn_id"], text="half an ans")
            await platform.wait_cards(1, "half an ans")
        (card,) = await platform.wait_cards(1, "❌ Error · ", "session disconnected")
        assert element(card, "answer") == "half an ans"


async def test_an_error_of_the_agent_is_shown_below_its_text(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher") as proxy,
    ):
        await platform.send(await platform.chat(), "hello")
        deliver = await proxy.until("deliver")
        await proxy.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await proxy.send(t="delta", turn_id=deliver["turn_id"], text="so far")
        await proxy.send(
            t="turn_end", turn_id=deliver["turn_id"], status="error", error="model overloaded"
        )
        (card,) = await platform.wait_cards(1, "❌ Error · ", "model overloaded")
        assert element(card, "answer") == "so far"


async def test_a_group_gets_static_replies_by_default(state_dir: Path) -> None:
    async with (
        open_served(state_dir) as platform,
        session(state_dir, "boss", "dispatcher") as proxy,
    ):
        group = await platform.chat("group", "Team")
        sent = await platform.send(group, "hello all", mention_bot=True)
        deliver = await proxy.until("deliver")
        assert deliver["meta"]["chat_type"] == "group"
        await proxy.send(t="ack", event_id=deliver["event_id"], attempt=1)
        await proxy.send(
            t="turn_end", turn_id=deliver["turn_id"], status="complete", text="static answer"
        )
        replies: list[dict[str, Any]] = []
        while not replies:
            replies = [
                message
                for message in await platform.messages(group)
                if message["sender"]["type"] == "app" and "static answer" in message["content"]
            ]
        assert replies[0]["parent_id"] == sent["message_id"]
        assert await platform.cards() == []


async def test_a_kill_loses_no_plain_text_and_repeats_none(state_dir: Path) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir, replyMode="static") as daemon,
            session(state_dir, "boss", "dispatcher") as proxy,
        ):
            await platform.send(chat, "hello")
            deliver = await proxy.until("deliver")
            await proxy.send(t="ack", event_id=deliver["event_id"], attempt=1)
            await proxy.send(
                t="delta", turn_id=deliver["turn_id"], text="a paragraph\n\nand half of "
            )
            await noted(state_dir, "and half of ")
            await daemon.kill()
        async with open_daemon(platform, state_dir, replyMode="static"):
            with trio.fail_after(60):
                while not (texts := await replies(platform, chat)) or "restart" not in texts[-1]:
                    await trio.sleep(0.05)
        assert [" ".join(text.split()) for text in texts] == [
            "a paragraph",
            "and half of",
            "Interrupted by a restart. 🛑 Stopped · " + texts[-1].rpartition(" ")[2],
        ]


async def noted(state_dir: Path, text: str) -> None:
    """Wait until the daemon has written down that this is still to be sent, and nothing else."""
    with trio.fail_after(60), closing(sqlite3.connect(state_dir / "larkd.db")) as journal:
        while True:
            kept = journal.execute("SELECT panels FROM card WHERE closed_at IS NULL").fetchall()
            rests = [json.loads(panels)["rest"] for (panels,) in kept]
            if any(rest.get("texts") == [text] and "waiting" not in rest for rest in rests):
                return
            await trio.sleep(0.02)


async def replies(platform: Platform, chat: dict[str, Any]) -> list[str]:
    """Return what the bot has replied with in a chat, in order, each with its footer."""
    sent = [one for one in await platform.messages(chat) if one.get("parent_id")]
    bodies = [json.loads(one["content"])["body"] for one in sent]
    return ["\n".join(one["content"] for one in body["elements"]) for body in bodies]
