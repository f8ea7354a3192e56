"""Ids of a session's own turns are its own: what another one calls so has nothing to do with it."""

from __future__ import annotations

from pathlib import Path

from tests.daemon.test_approvals import approval_card, ask, press
from tests.kit.daemon import Platform, open_daemon, open_platform
from tests.kit.raw_proxy import Map, session

ABLE = ["turns", "cancel", "permission"]


async def shown(platform: Platform, chat: Map) -> int:
    """Count the cards of turns that stand in the chat."""
    messages = await platform.messages(chat)
    return len([one for one in messages if "card_id" in one["content"]])


async def test_two_sessions_may_call_their_own_turns_the_same(state_dir: Path) -> None:
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir) as _,
        session(state_dir, "boss", "dispatcher", capabilities=ABLE) as boss,
        session(state_dir, "other", capabilities=ABLE) as other,
    ):
        chat = await platform.chat()
        for one, name in ((boss, "boss"), (other, "other")):
            await platform.send(chat, f"/use {name}")
            await platform.send(chat, "hello")
            row = await one.until("deliver")
            await one.send(t="turn_end", turn_id=row["turn_id"], status="complete", text=name)
            await platform.wait_cards(1, name, "Done · ")
            await one.send(t="turn_open", turn_id="own-1", title=f"Work of {name}")
            await one.send(t="delta", turn_id="own-1", text=f"text of {name}")
            await platform.wait_cards(1, f"text of {name}", "Processing")
            await ask(one, "own-1")
            card = await approval_card(platform, chat, "Allow once", f"**{name}** asks")
        card = await approval_card(platform, chat, "Allow once", "**boss** asks")
        await other.send(t="turn_end", turn_id="own-1", status="complete")
        await platform.wait_cards(1, "text of other", "Done · ")
        assert (await other.until("permission_verdict"))["outcome"] == "cancelled"
        await press(platform, card, 0)
        assert (await boss.until("permission_verdict"))["outcome"] == "selected"
        await boss.send(t="turn_end", turn_id="own-1", status="complete")
        await platform.wait_cards(1, "text of boss", "Done · ")
        assert await shown(platform, chat) == 4
    # A proxy that starts anew may count from one again.
    async with (
        open_platform() as platform,
        open_daemon(platform, state_dir.with_name("second")) as daemon,
    ):
        chat = await platform.chat()
        for run in ("first", "second"):
            async with session(daemon.state_dir, "s", "dispatcher", capabilities=ABLE) as one:
                await platform.send(chat, f"hello {run}")
                row = await one.until("deliver")
                await one.send(t="turn_end", turn_id=row["turn_id"], status="complete", text=run)
                await one.send(t="turn_open", turn_id="own-1")
                await one.send(t="delta", turn_id="own-1", text=f"text of {run}")
                await platform.wait_cards(1, f"text of {run}", "Processing")
                await one.send(t="turn_end", turn_id="own-1", status="complete")
                await platform.wait_cards(1, f"text of {run}", "Done · ")
        assert await shown(platform, chat) == 4
