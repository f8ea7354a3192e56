"""A session writes unprompted: to whom the access policy lets in, and to nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.test_outbound import bots, given
from tests.kit.daemon import open_daemon, open_platform, open_served
from tests.kit.raw_proxy import Map, session


async def test_people_who_never_wrote_are_written_to_by_id_and_by_address(
    state_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    async with open_platform() as platform:
        user = await platform.post("users", name="Carol", email="carol@example.com")
        dan = await platform.post("users", name="Dan", email="dan@example.com")
        await platform.post("chats", type="p2p", name="Dan", members=[dan["open_id"]])
        await platform.post("users", name="Eve", email="eve@example.com")
        chat = await platform.post("chats", type="p2p", name="Carol", members=[user["open_id"]])
        admitted = [user["open_id"], dan["email"]]
        async with (
            open_daemon(platform, state_dir, dmPolicy="allowlist", allowFrom=admitted),
            session(
                state_dir, "one", "session", capabilities=[], metadata={"cwd": str(tmp_path)}
            ) as one,
        ):
            answer = await one.tool("send", to=user["open_id"], text="**Good** morning")
            (first,) = await bots(platform, chat)
            assert answer["result"] == f"Sent to {chat['chat_id']} as {first['message_id']}."
            assert "**Good** morning" in first["content"]
            files = [str(tmp_path / "notes.txt")]
            answer = await one.tool("send", to=user["email"], text="again", files=files)
            assert answer["result"] == f"Sent to {chat['chat_id']} in 2 messages."
            kinds = [each["msg_type"] for each in await bots(platform, chat)]
            assert kinds == ["interactive", "interactive", "file"]
            # Listed by address; looked up and not let in; nobody's.
            answer = await one.tool("send", to="dan@example.com", text="hello")
            assert answer["result"].startswith("Sent to oc_"), answer
            for stranger in ("eve@example.com", "nobody@example.com"):
                answer = await one.tool("send", to=stranger, text="hello")
                refused = f"the bot may not write to {stranger}: sender not on allowlist."
                assert answer["error"].startswith(refused), answer
            await platform.post("scopes", missing=["contact:user.id:readonly"])
            answer = await one.tool("send", to="carol@example.com", text="hello")
            lacks = "the app lacks contact:user.id:readonly"
            assert f"addresses can't be looked up: {lacks}" in answer["error"], answer


async def test_chats_are_written_to_that_are_configured_or_of_somebody_let_in(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        alice, team = await platform.chat(), await platform.chat("group", "Team")
        other = await platform.chat("group", "Other")
        options = {
            "groupPolicy": "allowlist",
            "groups": {team["chat_id"]: {}},
            "dmPolicy": "allowlist",
            "allowFrom": alice["members"],
        }
        async with (
            open_daemon(platform, state_dir, **options),
            session(state_dir, "boss", "dispatcher", capabilities=[]) as boss,
        ):
            answer = await boss.tool("send", to=team["chat_id"], text="to all of you")
            assert answer["result"].startswith(f"Sent to {team['chat_id']} as "), answer
            before = await boss.tool("send", to=alice["chat_id"], text="hello")
            assert "no message ever came from there" in before["error"], (
                "nobody knows whose chat it is"
            )
            await given(platform, boss, alice, "hi")
            answer = await boss.tool("send", to=alice["chat_id"], text="hello")
            assert answer["result"].startswith(f"Sent to {alice['chat_id']} as "), answer
            for to in (other["chat_id"], "ou_nobody", "stranger@example.com"):
                refused = await boss.tool("send", to=to, text="hello")
                assert refused["error"].startswith(f"the bot may not write to {to}: "), refused
            assert await bots(platform, other) == []


async def test_what_the_platform_refuses_is_an_error_and_shown(state_dir: Path) -> None:
    async with (
        open_served(state_dir, dmPolicy="open"),
        session(state_dir, "one", "session", capabilities=[]) as one,
    ):
        answer = await one.tool("send", to="ou_of_another_tenant", text="hello")
        assert not answer["ok"]
        assert answer["error"].startswith("part 1 was not sent: "), answer
        assert "230013" in answer["error"]


@pytest.mark.parametrize(
    ("args", "missing"),
    [({"text": "x"}, "to"), ({"to": " ", "text": "x"}, "to"), ({"to": "ou_1"}, "text")],
)
async def test_a_missing_argument_is_named(state_dir: Path, args: Map, missing: str) -> None:
    async with open_served(state_dir), session(state_dir, "one", "session", capabilities=[]) as one:
        answer = await one.tool("send", **args)
        assert answer["error"] == f"missing or empty required argument: {missing}"
