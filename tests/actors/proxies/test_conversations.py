"""What a proxy reports of its agent's conversation, and what it takes from the daemon."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import trio

from actors.proxies.agent_session import SessionBegun
from actors.proxies.conversations import Conversations, OldRecord
from actors.proxies.settings import ProxySettings
from protocol.wire import messages as wire

COMMAND = ("agent", "--acp")


def conversations(state_dir: Path) -> tuple[Conversations, list[wire.Conversation]]:
    settings = ProxySettings(session_id="s", state_dir=state_dir)
    found = Conversations(OldRecord(settings, "/w", COMMAND), lambda _registered, _why: None)
    sent: list[wire.Conversation] = []
    found.send = sent.append
    return found, sent


def registered(conversation: str | None) -> wire.Registered:
    return wire.Registered(
        session_id="s", alias="s", role="session", lease_epoch=1, conversation=conversation
    )


def old_file(state_dir: Path, cwd: str = "/w") -> Path:
    """As proxies wrote it before the daemon kept the conversation."""
    path = state_dir / "conversations" / f"{hashlib.sha256(b's').hexdigest()[:32]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"session_id": "s", "cwd": cwd, "command": COMMAND, "conversation_id": "old"}
    path.write_text(json.dumps(kept))
    return path


async def test_what_an_older_proxy_kept_is_read_until_the_daemon_has_it(tmp_path: Path) -> None:
    path = old_file(tmp_path)
    first, sent = conversations(tmp_path)
    first(registered(None), None)
    assert first.earlier == "old"
    first.began("old", SessionBegun(restored=True))
    assert sent == [wire.Conversation(id="old", state="restored")]
    assert path.exists(), "the daemon may not have stored it"
    again, _ = conversations(tmp_path)
    again(registered("old"), None)
    assert again.earlier == "old"
    assert not path.exists()
    old_file(tmp_path, cwd="/elsewhere")
    other, _ = conversations(tmp_path)
    other(registered(None), None)
    assert other.earlier == ""


async def test_a_conversation_is_reported_once_a_prompt_was_given_in_it(tmp_path: Path) -> None:
    found, sent = conversations(tmp_path)
    with trio.move_on_after(0) as early:
        await found.known.wait()
    assert early.cancelled_caught, "nothing is known before the daemon has answered"
    found(registered(None), None)
    found.began("c1", SessionBegun())
    found.titled("too early")
    assert (found.earlier, sent) == ("", [])
    found.used("@larkd hello\n  there")
    found.used("again")
    found.titled("Greetings")
    assert [(one.id, one.title) for one in sent] == [
        ("c1", "hello there"),
        ("c1", None),
        ("c1", "Greetings"),
    ]
    # A daemon that does not have it, as after a crash, is notified again; one that has it is not.
    found(registered("c1"), None)
    assert len(sent) == 3
    found(registered(None), None)
    assert sent[3:] == [wire.Conversation(id="c1")]


async def test_one_that_is_lost_is_reported_and_not_tried_again(tmp_path: Path) -> None:
    found, sent = conversations(tmp_path)
    found(registered("c1"), None)
    found.began("c2", SessionBegun(why_not="it is gone"))
    assert sent == [wire.Conversation(id="c1", state="lost", why="it is gone")]
    assert found.earlier == ""
    found.resumed("c0")
    assert (found.earlier, sent[1:]) == ("c0", [wire.Conversation(id="c0")])
