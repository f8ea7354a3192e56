"""What an agent may send that no card was made for: shown as far as it goes, and ended."""

from __future__ import annotations

import json
from pathlib import Path

from tests.daemon.test_commands import Chat, end, take, worker
from tests.kit.daemon import open_served

NESTED = "> ````\n> ```\n> not the end\n> ```\n> ````\n- ```\n  open for ever"


async def test_odd_input_of_every_kind_ends_in_a_card(state_dir: Path) -> None:
    async with open_served(state_dir) as platform, worker(state_dir, "boss", "dispatcher") as boss:
        chat = Chat(platform, await platform.chat())
        await chat.send("go")
        turn = await take(boss)
        turn_id = turn["turn_id"]
        for _ in range(100):
            await boss.send(t="delta", turn_id=turn_id, text="")
        for number in range(10_000):
            await boss.send(
                t="tool_event", turn_id=turn_id, call_id=f"c{number}", name=f"Tool {number}"
            )
        entries = [{"content": f"step {number}", "status": "pending"} for number in range(1_000)]
        await boss.send(t="plan", turn_id=turn_id, entries=entries)
        await boss.send(t="delta", turn_id=turn_id, text="a NUL \x00 and a picture ")
        await boss.send(t="delta", turn_id=turn_id, text="![p](http://127.0.0.1:1/x.png)\n\n")
        await boss.send(t="delta", turn_id=turn_id, text=NESTED)
        await end(boss, turn)
        (card,) = await platform.wait_cards(1, "Done · ")
        text = json.dumps(card["card"], ensure_ascii=False)
        assert "🔧 Tool calls (10000)" in text
        assert "Tool 9999" in text
        assert "📋 Plan (0/1000)" in text
        assert "… 970 more" in text
        assert "a NUL \ufffd and a picture [p](http://127.0.0.1:1/x.png)" in text
        assert json.dumps(NESTED, ensure_ascii=False)[1:-1] in text
