"""Messages of nobody: what has no sender is refused by that name, and counted."""

from __future__ import annotations

import json
from pathlib import Path

import trio

from tests.kit.daemon import open_served
from tests.kit.raw_proxy import session


async def test_a_message_without_a_sender_is_counted_as_that(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, session(state_dir, "boss", "dispatcher") as boss:
        chat = await platform.chat()
        for number, sender in enumerate(({}, {"sender_id": None}, {"sender_id": {"open_id": ""}})):
            message = {
                "message_id": f"om_{number}",
                "chat_id": chat["chat_id"],
                "chat_type": "p2p",
                "message_type": "text",
                "content": json.dumps({"text": "who am I"}),
            }
            header = {"event_id": f"e{number}", "event_type": "im.message.receive_v1"}
            event = {"sender": sender, "message": message}
            await platform.post("push", event={"schema": "2.0", "header": header, "event": event})
        with trio.fail_after(60):
            while True:
                status = (await boss.tool("feishu_channel_status"))["result"]
                refused = status["connection"]["default"]["refused"]
                if refused.get("missing sender id") == 3:
                    break
                await trio.sleep(0.02)
        assert refused == {"missing sender id": 3}
        assert all(one["t"] != "deliver" for one in boss.seen)
