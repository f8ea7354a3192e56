"""``larkd doctor``: each finding with the one command or link that mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from protocol.config.places import StateDir
from tests.daemon.test_operator import larkd
from tests.kit import preloaded
from tests.kit.daemon import Platform, environment, open_daemon, open_platform, open_served
from tests.kit.raw_proxy import session


async def findings(state_dir: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    done = await larkd(state_dir, "doctor", "--json", *arguments)
    found = json.loads(done.stdout)
    assert found["version"] == 1
    assert done.returncode == any(one["state"] == "fail" for one in found["findings"])
    return {one["check"]: one for one in found["findings"]}


async def test_it_looks_at_the_daemon_that_runs_whatever_is_at_home(state_dir: Path) -> None:
    agents = {
        "here": {"command": ["sh"], "cwd": str(state_dir.parent)},
        "gone": {"command": ["no-such-agent"]},
        "nowhere": {"command": ["sh"], "cwd": str(state_dir / "nowhere")},
    }
    async with open_served(state_dir, agents=agents):
        found = await findings(state_dir)
        for check in ("state", "token session", "configuration", "credentials default"):
            assert found[check]["state"] == "ok", found[check]
        assert found["scopes default"]["found"] == "every scope larkd needs is granted"
        assert found["connections default"]["state"] == "ok"
        assert found["agent here"]["state"] == "ok"
        assert "[agents.gone]" in found["agent gone"]["remedy"]
        assert "nowhere is no directory" in found["agent nowhere"]["found"]


async def test_missing_scopes_come_with_the_page_that_grants_them(state_dir: Path) -> None:
    async with open_served(state_dir) as platform:
        await platform.post("scopes", missing=["cardkit:card:write", "im:resource"])
        found = await findings(state_dir)
        scopes = found["scopes default"]
        assert scopes["state"] == "fail"
        app = platform.running.settings.app_id
        page = f"{platform.base_url}/app/{app}/auth?q=im:resource,cardkit:card:write"
        assert page in scopes["remedy"]


async def test_another_program_on_the_same_app_is_found(state_dir: Path, tmp_path: Path) -> None:
    async with open_served(state_dir) as platform, open_daemon(platform, tmp_path / "other"):
        found = await findings(state_dir)
        assert found["connections default"]["state"] == "warn"
        assert found["connections default"]["found"].startswith("1 other connection of")


async def test_a_platform_that_is_not_there_is_named_in_plain_words(
    state_dir: Path, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("""\
[[channels]]
id = "f"
type = "feishu"

[channels.options]
appId = "cli_a1b2c3d4e5f60718"
appSecret = "s"
domain = "https://no-such-host.invalid"
""")
    found = await findings(state_dir, "--config", str(config))
    assert found["daemon"]["found"].endswith("no larkd ever ran with it")
    assert found["daemon"]["remedy"] == f"start it: larkd daemon --state-dir {state_dir}"
    credentials = found["credentials default"]
    assert credentials["state"] == "fail"
    assert "can't be resolved" in credentials["found"]
    assert "Errno" not in credentials["found"]


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_admins_ask_in_the_chat(state_dir: Path, language: str) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        state = await platform.get("state")
        alice = next(one["open_id"] for one in state["users"] if one["name"] == "Alice")
        bob = next(one["open_id"] for one in state["users"] if one["name"] == "Bob")
        async with open_daemon(platform, state_dir, language=language, admins=[alice]):
            nobody = {"en": "No session gets the messages", "zh": "没有会话接收"}[language]
            assert nobody in await answer_to(platform, chat, "/doctor")
            async with session(state_dir, "boss", "dispatcher"):
                fine = {"en": "✅ Everything is in order.", "zh": "✅ 一切正常。"}[language]
                answer = await answer_to(platform, chat, "/doctor")
                assert answer.startswith(fine)
                assert "larkd doctor" in answer
                group = await platform.chat("group", "Team")
                refused = {"en": "Only an admin", "zh": "只有管理员"}[language]
                assert refused in await answer_to(platform, group, "/doctor", sender=bob)


async def test_a_scope_that_a_call_has_missed_is_in_the_chat_until_it_is_granted(
    state_dir: Path,
) -> None:
    async with open_platform() as platform:
        chat = await platform.chat()
        async with (
            open_daemon(platform, state_dir, admins=chat["members"]),
            session(state_dir, "boss", "dispatcher") as boss,
        ):
            for missing in (["cardkit:card:write"], []):
                await platform.post("scopes", missing=missing)
                await platform.send(chat, "hello")
                turn = (await boss.until("deliver"))["turn_id"]
                await boss.send(t="turn_end", turn_id=turn, status="complete", text="hi")
                with trio.fail_after(60):
                    while ("❌ The app lacks" in await doctor(platform, chat)) is not bool(missing):
                        pass


async def doctor(platform: Platform, chat: dict[str, Any]) -> str:
    answer = await answer_to(platform, chat, "/doctor")
    page = "/auth?q=cardkit:card:write"
    assert (page in answer) is ("❌ The app lacks cardkit:card:write. Grant it here" in answer)
    return answer


async def answer_to(platform: Platform, chat: dict[str, Any], text: str, **more: Any) -> str:
    """Send a command, and return the text of the reply to it."""
    if chat["type"] == "group":
        more["mention_bot"] = True
    sent = await platform.send(chat, text, **more)
    with trio.fail_after(60):
        while True:
            for message in await platform.messages(chat):
                if message.get("parent_id") == sent["message_id"]:
                    return str(json.loads(message["content"])["text"])
            await trio.sleep(0.05)


@pytest.mark.parametrize("made", [False, True], ids=["no directory", "an empty one"])
async def test_who_has_set_nothing_up_sees_what_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    state_dir = tmp_path / "state"
    if made:
        state_dir.mkdir(0o700)
    found = await findings(state_dir)
    failed = {check: one["remedy"] for check, one in found.items() if one["state"] != "ok"}
    assert failed.keys() == {"daemon", "configuration"}
    assert all("larkd init" in remedy for remedy in failed.values())
    assert not any("start it" in remedy for remedy in failed.values())


async def test_who_only_attaches_agents_to_a_daemon_elsewhere_needs_no_configuration(
    state_dir: Path, tmp_path: Path
) -> None:
    async with open_served(state_dir):
        served = StateDir(state_dir)
        port = json.loads(served.daemon_json.read_bytes())["port"]
        elsewhere = environment() | {
            "LARKD_ADDRESS": f"127.0.0.1:{port}",
            "LARKD_TOKEN_FILE": str(served.token("session")),
            "XDG_CONFIG_HOME": str(tmp_path / "none"),
        }
        arguments = ["doctor", "--verbose", "--state-dir", str(tmp_path / "none")]
        done = await preloaded.run("actors.cli", arguments, elsewhere)
        printed = done.stdout.decode()
        assert (done.returncode, "❌" in printed) == (0, False), printed
        assert "configuration: is where the daemon of LARKD_ADDRESS runs" in printed
        assert "connection default: " in printed
