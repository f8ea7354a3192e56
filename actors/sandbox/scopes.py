"""Which scope lets an app call what, and be sent which events.

Any one of the scopes listed for a call or an event is enough, as on its page.
"""

from __future__ import annotations

from typing import Final

_MESSAGES: Final = "/open-apis/im/v1/messages"
_ONE: Final = f"{_MESSAGES}/:message_id"
_REACTIONS: Final = f"{_ONE}/reactions"
_CHAT: Final = "/open-apis/im/v1/chats/:chat_id"
_CARDS: Final = "/open-apis/cardkit/v1/cards"

_SEND: Final = ("im:message", "im:message:send_as_bot", "im:message:send")
_CHANGE: Final = ("im:message", "im:message:send_as_bot", "im:message:update")
_READ: Final = ("im:message", "im:message:readonly", "im:message.history:readonly")
_REACT: Final = ("im:message", "im:message.reactions:write_only")
_UPLOAD: Final = ("im:resource", "im:resource:upload")
_CARD: Final = ("cardkit:card:write",)

CALLS: Final[dict[str, tuple[str, ...]]] = {
    f"POST {_MESSAGES}": _SEND,
    f"POST {_ONE}/reply": _SEND,
    f"PUT {_ONE}": _CHANGE,
    f"PATCH {_ONE}": _CHANGE,
    f"DELETE {_ONE}": ("im:message", "im:message:recall", "im:message:send_as_bot"),
    f"GET {_ONE}": _READ,
    f"GET {_MESSAGES}": _READ,
    f"GET {_ONE}/resources/:file_key": _READ,
    f"POST {_REACTIONS}": _REACT,
    f"DELETE {_REACTIONS}/:reaction_id": _REACT,
    f"GET {_REACTIONS}": ("im:message", "im:message.reactions:read", "im:message:readonly"),
    "POST /open-apis/im/v1/images": _UPLOAD,
    "GET /open-apis/im/v1/images/:key": ("im:resource",),
    "POST /open-apis/im/v1/files": _UPLOAD,
    "GET /open-apis/im/v1/files/:key": ("im:resource",),
    f"GET {_CHAT}": ("im:chat", "im:chat:read", "im:chat:readonly"),
    f"GET {_CHAT}/members": (
        "im:chat",
        "im:chat:readonly",
        "im:chat.members:read",
        "im:chat.group_info:readonly",
    ),
    f"GET {_CHAT}/members/is_in_chat": ("im:chat", "im:chat:read", "im:chat:readonly"),
    "POST /open-apis/cardkit/v1/cards/id_convert": ("cardkit:card:read",),
    "POST /open-apis/contact/v3/users/batch_get_id": ("contact:user.id:readonly",),
    "POST /open-apis/speech_to_text/v1/speech/file_recognize": ("speech_to_text:speech",),
}
"""``"METHOD /template"`` → the scopes; card entities are below."""

P2P_MESSAGES: Final = ("im:message.p2p_msg:readonly", "im:message.p2p_msg")
GROUP_MENTIONS: Final = (
    "im:message.group_at_msg:readonly",
    "im:message.group_at_msg",
    "im:message.group_at_msg.include_bot:readonly",
)
GROUP_MESSAGES: Final = ("im:message.group_msg", "im:message.group_msg:readonly")
EVENTS: Final[dict[str, tuple[str, ...]]] = {
    "im.message.message_read_v1": ("im:message", "im:message:readonly"),
    "im.message.recalled_v1": ("im:message", "im:message:readonly"),
    "im.message.reaction.created_v1": (
        "im:message",
        "im:message.reactions:read",
        "im:message:readonly",
    ),
    "im.message.reaction.deleted_v1": (
        "im:message",
        "im:message.reactions:read",
        "im:message:readonly",
    ),
    "im.chat.member.bot.added_v1": ("im:chat", "im:chat.members:bot_access", "im:chat:readonly"),
    "drive.notice.comment_add_v1": ("docs:document.comment:read",),
}

SENSITIVE: Final = frozenset(GROUP_MESSAGES)
KNOWN: Final = frozenset(
    scope
    for scopes in (
        *CALLS.values(),
        *EVENTS.values(),
        *(_CARD, P2P_MESSAGES, GROUP_MENTIONS, GROUP_MESSAGES),
        ("contact:user.base:readonly", "contact:contact.base:readonly"),
        ("contact:user.employee_id:readonly", "im:message:send_sys_msg"),
    )
    for scope in scopes
)
GRANTED: Final = frozenset(
    {
        "im:message",
        "im:message.p2p_msg:readonly",
        "im:message.group_at_msg:readonly",
        "im:message.group_msg",
        "im:resource",
        "im:chat",
        "cardkit:card:write",
        "cardkit:card:read",
        "docs:document.comment:read",
        "speech_to_text:speech",
        "contact:user.id:readonly",
    }
)
"""What the sandbox's own app has: one scope for each call, so that withdrawing it shows."""
TEMPLATE: Final = KNOWN - SENSITIVE
"""What an app made by a scan has when nothing else was asked for."""


def needed(method: str, template: str) -> tuple[str, ...]:
    """Return the scopes of which a call needs one; none where it needs none."""
    if template.startswith(_CARDS) and not template.endswith("id_convert"):
        return _CARD
    return CALLS.get(f"{method} {template}", ())


def for_message(chat_type: str, *, mentions_bot: bool) -> tuple[str, ...]:
    """Return the scopes of which an app needs one to be sent a message."""
    if chat_type == "p2p":
        return P2P_MESSAGES
    return (*GROUP_MENTIONS, *GROUP_MESSAGES) if mentions_bot else GROUP_MESSAGES
