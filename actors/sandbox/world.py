"""Everything the platform holds: users, chats, messages, reactions, card entities."""

from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any, Final, Literal

import msgspec

from actors.sandbox.cards import Entity
from actors.sandbox.clock import Clock
from actors.sandbox.errors import PlatformError, card_error
from actors.sandbox.feed import Feed
from actors.sandbox.scopes import GRANTED

MESSAGES_MAX: Final = 20_000
CARDS_MAX: Final = 5_000
UUID_S: Final = 3_600.0
UUIDS_MAX: Final = 20_000
FILES_MAX: Final = 200
TOPICS_MAX: Final = 10_000


class User(msgspec.Struct, kw_only=True):
    open_id: str
    name: str
    email: str = ""


class Chat(msgspec.Struct, kw_only=True):
    chat_id: str
    type: Literal["p2p", "group"]
    name: str
    members: list[str]
    app_id: str
    topics: Literal["allowed", "forbidden", "every_message", "topic_mode"] = "allowed"
    """Whether a message may have a topic; ``every_message`` is a group's
    ``group_message_type: thread``, ``topic_mode`` a group of ``chat_mode: topic``."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """What was uploaded, and by whom."""

    data: bytes
    name: str
    kind: str
    """``image``, or a file type of the platform (``opus``, ``pdf``, ``stream``, …)."""
    owner: str
    """An app id, or the open id of a user."""


class Mention(msgspec.Struct, kw_only=True):
    key: str
    name: str
    open_id: str


class Sender(msgspec.Struct, kw_only=True):
    id: str
    type: Literal["user", "app"]
    name: str


class Reaction(msgspec.Struct, kw_only=True):
    reaction_id: str
    emoji_type: str
    operator_type: Literal["user", "app"]
    operator_id: str


class ChatMessage(msgspec.Struct, kw_only=True):
    message_id: str
    chat_id: str
    sender: Sender
    msg_type: str
    content: str
    create_time: int
    update_time: int
    parent_id: str | None = None
    root_id: str | None = None
    thread_id: str | None = None
    recalled: bool = False
    reactions: list[Reaction] = []
    card_id: str | None = None
    mentions: list[Mention] = []
    edits: int = 0


class RegisteredApp(msgspec.Struct, kw_only=True):
    app_id: str
    secret: str
    name: str
    bot_open_id: str
    scopes: frozenset[str] = GRANTED
    events: frozenset[str] | None = None
    """Events and callbacks it subscribed to; None: all."""

    def subscribes(self, event_type: str) -> bool:
        return self.events is None or event_type in self.events


class World:
    """The platform's content. Every change goes to the feed."""

    def __init__(self, clock: Clock, feed: Feed, rng: random.Random) -> None:
        self.clock = clock
        self.feed = feed
        self.rng = rng
        self.apps: dict[str, RegisteredApp] = {}
        self.users: dict[str, User] = {}
        self.chats: dict[str, Chat] = {}
        self.messages: OrderedDict[str, ChatMessage] = OrderedDict()
        self.cards: OrderedDict[str, Entity] = OrderedDict()
        self.files: OrderedDict[str, StoredFile] = OrderedDict()
        self._topics: OrderedDict[str, str] = OrderedDict()
        self._uuids: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()

    def new_id(self, prefix: str) -> str:
        return f"{prefix}{self.rng.getrandbits(128):032x}"

    # ── people and chats ────────────────────────────────────────────────────

    def add_app(self, app_id: str, secret: str, name: str) -> RegisteredApp:
        app = RegisteredApp(app_id=app_id, secret=secret, name=name, bot_open_id=self.new_id("ou_"))
        self.apps[app_id] = app
        return app

    def add_user(self, name: str, email: str = "") -> User:
        user = User(open_id=self.new_id("ou_"), name=name, email=email)
        self.users[user.open_id] = user
        self.feed.changed("user", user.open_id, lambda: user)
        return user

    def add_chat(
        self,
        kind: Literal["p2p", "group"],
        name: str,
        members: list[str],
        app_id: str,
        topics: Literal["allowed", "forbidden", "every_message", "topic_mode"] = "allowed",
    ) -> Chat:
        chat = Chat(
            chat_id=self.new_id("oc_"),
            type=kind,
            name=name,
            members=members,
            app_id=app_id,
            topics=topics,
        )
        self.chats[chat.chat_id] = chat
        self.feed.changed("chat", chat.chat_id, lambda: chat)
        return chat

    def id_of_address(self, email: str) -> str:
        """Return the open id of who has this email address; '' where nobody has."""
        return next(
            (one.open_id for one in self.users.values() if email and one.email == email), ""
        )

    def name_of(self, open_id: str) -> str:
        user = self.users.get(open_id)
        return user.name if user is not None else open_id

    # ── files ───────────────────────────────────────────────────────────────

    def keep_file(self, file: StoredFile) -> str:
        """Keep a file, the newest 200; return its key."""
        key = f"{'img' if file.kind == 'image' else 'file'}_v3_{self.rng.getrandbits(96):024x}"
        self.files[key] = file
        if len(self.files) > FILES_MAX:
            self.files.popitem(last=False)
        return key

    # ── messages ────────────────────────────────────────────────────────────

    def message(self, message_id: str) -> ChatMessage:
        found = self.messages.get(message_id)
        if found is None:
            raise PlatformError(230001, f"invalid message_id {message_id}, ext=not found")
        return found

    def sent_before(self, app_id: str, uuid: str | None) -> ChatMessage | None:
        """Return the message this uuid sent within the last hour."""
        if not uuid:
            return None
        at, message_id = self._uuids.get((app_id, uuid), (0.0, ""))
        if message_id and self.clock.now() - at < UUID_S:
            return self.messages.get(message_id)
        return None

    def add_message(  # noqa: PLR0913  # the fields of a message
        self,
        chat: Chat,
        sender: Sender,
        msg_type: str,
        content: str,
        *,
        parent: ChatMessage | None = None,
        opens_topic: bool = False,
        uuid: str | None = None,
        mentions: list[Mention] | None = None,
    ) -> ChatMessage:
        card_id = None
        if msg_type == "interactive":
            card_id = self._card_of(content, sender.id)
        now = self.clock.wall_ms()
        message_id = self.new_id("om_")
        thread_id = self._topic_of(chat, message_id, parent, opens_topic=opens_topic)
        root_id = (parent.root_id or parent.message_id) if parent else None
        message = ChatMessage(
            message_id=message_id,
            chat_id=chat.chat_id,
            sender=sender,
            msg_type=msg_type,
            content=content,
            create_time=now,
            update_time=now,
            # In a topic both are its first message.
            parent_id=(root_id if thread_id else parent.message_id) if parent else None,
            root_id=root_id,
            thread_id=thread_id,
            card_id=card_id,
            mentions=mentions or [],
        )
        self.messages[message.message_id] = message
        if len(self.messages) > MESSAGES_MAX:
            self.messages.popitem(last=False)
        if card_id is not None:
            self.cards[card_id].message_id = message.message_id
            self.card_changed(self.cards[card_id])
        if uuid:
            self._uuids[sender.id, uuid] = (self.clock.now(), message.message_id)
            if len(self._uuids) > UUIDS_MAX:
                self._uuids.popitem(last=False)
        self.message_changed(message)
        return message

    def _topic_of(
        self, chat: Chat, message_id: str, parent: ChatMessage | None, *, opens_topic: bool
    ) -> str | None:
        """Return the topic a new message belongs to; opens one where it must.

        Raises:
            PlatformError: 230071 the chat has no topics.
        """
        if parent is None:
            if chat.topics not in ("every_message", "topic_mode"):
                return None
            return self._open_topic(message_id)
        if parent.thread_id is None and opens_topic:
            if chat.topics == "forbidden":
                raise PlatformError(230071, "The group does not support reply in thread.")
            parent.thread_id = self._open_topic(parent.message_id)
            self.message_changed(parent)
        return parent.thread_id

    def _open_topic(self, first_message_id: str) -> str:
        thread_id = self.new_id("omt_")
        self._topics[thread_id] = first_message_id
        if len(self._topics) > TOPICS_MAX:
            self._topics.popitem(last=False)
        return thread_id

    def topic(self, thread_id: str) -> ChatMessage:
        """Return the first message of a topic.

        Raises:
            PlatformError: 230019 there is no such topic.
        """
        found = self.messages.get(self._topics.get(thread_id, ""))
        if found is None:
            raise PlatformError(230019, "The topic does NOT exist.")
        return found

    def _card_of(self, content: str, app_id: str) -> str | None:
        """Return the entity a card message sends, checked; None for raw card JSON."""
        try:
            body = msgspec.json.decode(content.encode())
        except msgspec.DecodeError:
            return None
        if not isinstance(body, dict) or body.get("type") != "card":
            return None
        data = body.get("data")
        card_id = data.get("card_id") if isinstance(data, dict) else None
        entity = self.cards.get(card_id) if isinstance(card_id, str) else None
        if entity is None:
            raise PlatformError(
                230099,
                "Failed to create card content, ext=ErrCode: 200740; ErrMsg: cardid is invalid;",
            )
        if entity.app_id != app_id:
            raise card_error(300311, "no permission to send this card")
        if entity.message_id is not None:
            raise PlatformError(
                230099,
                "Failed to create card content, ext=ErrCode: 200740; ErrMsg: card was sent;",
            )
        return entity.card_id

    def recall(self, message: ChatMessage) -> None:
        message.recalled = True
        message.update_time = self.clock.wall_ms()
        self.message_changed(message)

    def react(
        self, message: ChatMessage, emoji_type: str, kind: Literal["user", "app"], operator: str
    ) -> Reaction:
        reaction = Reaction(
            reaction_id=f"re_{self.rng.getrandbits(96):024x}",
            emoji_type=emoji_type,
            operator_type=kind,
            operator_id=operator,
        )
        message.reactions = [*message.reactions, reaction]
        self.message_changed(message)
        return reaction

    def unreact(self, message: ChatMessage, reaction: Reaction) -> None:
        message.reactions = [one for one in message.reactions if one is not reaction]
        self.message_changed(message)

    def message_changed(self, message: ChatMessage) -> None:
        self.feed.changed("message", message.message_id, lambda: message)

    # ── cards ───────────────────────────────────────────────────────────────

    def card(self, card_id: str) -> Entity:
        entity = self.cards.get(card_id)
        if entity is None:
            raise card_error(200740, "cardid is invalid", card_id)
        return entity

    def add_card(self, app_id: str, card: dict[str, Any]) -> Entity:
        card_id = str(7_000_000_000_000_000_000 + self.rng.getrandbits(60))
        entity = Entity(card_id, app_id, card, self.clock)
        self.cards[card_id] = entity
        if len(self.cards) > CARDS_MAX:
            self.cards.popitem(last=False)
        return entity

    def card_changed(self, entity: Entity) -> None:
        self.feed.changed("card", entity.card_id, entity.describe)
