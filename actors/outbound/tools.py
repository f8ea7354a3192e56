"""The session's tools by name: what each takes, does and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
import trio

from actors.messages import gateway, journal, ownership
from actors.messages.outbound import Caller, SessionTool
from actors.outbound.ask import ask
from actors.outbound.attachments import Attachments
from actors.outbound.elicit import elicit, withdraw
from actors.outbound.peers import Peers, text_argument
from actors.outbound.reply import reply
from actors.outbound.send import send
from protocol.cards.reply import message_card, split
from protocol.ids import MessageId
from protocol.platform.outcomes import Accepted, Outcome, Rejected
from protocol.routing.channel_tools import ToolError
from protocol.routing.delivery import meta

WITHIN_S: Final = 25.0
"""Of a reaction or an edit."""
INBOX_LIMIT: Final = 20
INBOX_LIMIT_MAX: Final = 100
INBOX_BYTES_MAX: Final = 2 * 1024 * 1024
INBOX_CONTENT_BYTES_MAX: Final = 256 * 1024
"""Of one message's text; a frame of the answer holds 8 MiB."""

Act = Callable[[Peers, Caller, Mapping[str, Any]], Awaitable[Any]]


def session_tools(peers: Peers, attachments: Attachments) -> dict[str, SessionTool]:
    """Return the tools, each answering with its result or its refusal."""

    def guarded(act: Act) -> SessionTool:
        async def tool(caller: Caller, args: Mapping[str, Any]) -> ownership.ToolAnswer:
            try:
                return ownership.ToolDone(result=await act(peers, caller, args))
            except ToolError as refused:
                return ownership.ToolFailed(error=str(refused))

        return tool

    acts: dict[str, Act] = {
        "reply": reply,
        "send": send,
        "ask": ask,
        "elicit": elicit,
        "withdraw": withdraw,
        "react": _react,
        "edit_message": _edit,
        "inbox": _inbox,
        "feishu_attachment": attachments.tool,
    }
    return {name: guarded(act) for name, act in acts.items()}


async def _react(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    message_id = MessageId(text_argument(args, "message_id"))
    emoji = text_argument(args, "emoji")
    at = await peers.message_at(caller.session_id, message_id)
    operation = gateway.AddReaction(message_id=message_id, emoji_type=emoji)
    await _within(lambda: peers.call(at.account, operation), "the reaction")
    return f"Reacted to {message_id} with {emoji}."


async def _edit(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> str:
    message_id = MessageId(text_argument(args, "message_id"))
    parts = split(text_argument(args, "text"))
    at = await peers.message_at(caller.session_id, message_id)
    if not at.ours:
        raise ToolError(f"message {message_id} is not one you sent; only those can be edited")
    if len(parts) > 1:
        raise ToolError("the text is too long for one message; send what does not fit by reply")
    operation = gateway.PatchMessage(message_id=message_id, content_json=message_card(parts[0]))
    await _within(lambda: peers.call(at.account, operation), "the edit")
    return f"Edited {message_id}."


async def _within(call: Callable[[], Awaitable[Outcome]], what: str) -> None:
    with trio.move_on_after(WITHIN_S):
        outcome = await call()
        if isinstance(outcome, Accepted):
            return
        assert isinstance(outcome, Rejected)
        raise ToolError(f"the platform refused {what}: {outcome.message} ({outcome.code})")
    raise ToolError(f"the platform did not answer within {WITHIN_S:g} s; {what} may have arrived")


async def _inbox(peers: Peers, caller: Caller, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was delivered to this session and not answered, oldest first."""
    limit = args.get("limit", INBOX_LIMIT)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= INBOX_LIMIT_MAX:
        raise ToolError(f"limit must be a number from 1 to {INBOX_LIMIT_MAX}")
    rows: tuple[journal.UnansweredRow, ...] = await peers.ask_journal(
        lambda reply_to: journal.Unanswered(
            session_id=caller.session_id, limit=limit + 1, reply=reply_to
        )
    )
    now = peers.now_ms()
    messages: list[dict[str, Any]] = []
    size = cut = 0
    for row in rows[:limit]:
        content = row.prompt.content
        shown = content.encode()[:INBOX_CONTENT_BYTES_MAX].decode(errors="ignore")
        message = {
            "event_id": row.event_id,
            "attempt": row.attempt,
            "age_s": max(0, now - row.received_at_ms) // 1000,
            "content": shown,
            "meta": meta(row.account, row.prompt),
            "attachments": msgspec.to_builtins(row.prompt.attachments),
        }
        size += len(msgspec.msgpack.encode(message))
        if messages and size > INBOX_BYTES_MAX:
            break
        if len(shown) < len(content):
            cut += 1
            message["left_out_characters"] = len(content) - len(shown)
        messages.append(message)
    left_out = {"messages_for_size": min(len(rows), limit) - len(messages), "texts_cut": cut}
    return {"messages": messages, "more": len(rows) > len(messages)} | (
        {"left_out": left_out} if any(left_out.values()) else {}
    )
