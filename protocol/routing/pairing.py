"""Pairing: how a stranger or a group comes to be let in, by a code its operator approves.

What was approved, and the codes that were shown, are one account's :class:`AccessBook`.
Pure: time and random numbers are arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct

from protocol.ids import ChatId, OpenId
from protocol.quoted import quoted
from protocol.routing.access import GroupRule, PairingKind, Policy

CODE_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
"""Nothing that is read as something else: no I, O, 0 or 1."""
CODE_CHARACTERS: Final = 6
CODE_VALID_MS: Final = 60 * 60 * 1_000
SHOWN_MAX: Final = 2
NAME_CHARACTERS_MAX: Final = 100
PENDING_MAX: Final = 10
"""Of each kind, so that strangers in direct chats can't starve groups."""


class PairingRequest(Struct, frozen=True, kw_only=True):
    """A code that was shown and not approved yet."""

    code: str
    kind: PairingKind
    open_id: OpenId
    """Who asked; for a group, who mentioned the bot there."""
    chat_id: ChatId
    made_at_ms: int
    shown: int
    name: str = ""
    """Of who asked; empty while the platform has not stated it."""
    chat_name: str = ""
    """Of the group."""

    @property
    def subject_name(self) -> str:
        return self.chat_name if self.kind == "group" else self.name

    @property
    def subject(self) -> str:
        """What the code lets in: a person, or a group."""
        return self.chat_id if self.kind == "group" else self.open_id


class AccessBook(Struct, frozen=True, kw_only=True):
    """What was paired with one account, beside what its configuration allows."""

    users: frozenset[OpenId] = frozenset()
    groups: frozenset[ChatId] = frozenset()
    admins: frozenset[OpenId] = frozenset()
    requests: tuple[PairingRequest, ...] = ()
    names: dict[str, str] = {}
    """Of people and groups that were let in, by id, as they were when they asked."""


class PairingApproved(Struct, frozen=True, kw_only=True):
    request: PairingRequest
    became_admin: bool


class Silence(Struct, frozen=True, kw_only=True):
    """No code is shown; the reason is for the log."""

    reason: str


def mint_code(below: Callable[[int], int]) -> str:
    """Return a new code; *below* is ``secrets.randbelow``."""
    return "".join(CODE_ALPHABET[below(len(CODE_ALPHABET))] for _ in range(CODE_CHARACTERS))


def in_force(policy: Policy, book: AccessBook) -> Policy:
    """Return the configured policy with what was paired on top."""
    return msgspec.structs.replace(
        policy,
        allow_from=policy.allow_from | book.users,
        admins=policy.admins | book.admins,
        groups={chat_id: GroupRule() for chat_id in book.groups} | dict(policy.groups),
    )


def show(
    book: AccessBook,
    kind: PairingKind,
    open_id: OpenId,
    chat_id: ChatId,
    *,
    now_ms: int,
    mint: Callable[[], str],
) -> tuple[AccessBook, PairingRequest | Silence]:
    """Count one showing of a code to a stranger; the code stays the same while it is valid."""
    book = _current(book, now_ms)
    subject = chat_id if kind == "group" else open_id
    for known in book.requests:
        if (known.kind, known.subject) == (kind, subject):
            if known.shown >= SHOWN_MAX:
                return book, Silence(reason=f"pairing code was shown {SHOWN_MAX} times")
            again = msgspec.structs.replace(known, shown=known.shown + 1)
            return _with_request(book, again), again
    if sum(known.kind == kind for known in book.requests) >= PENDING_MAX:
        return book, Silence(reason=f"{PENDING_MAX} {kind} pairing codes are pending")
    taken = {known.code for known in book.requests}
    request = PairingRequest(
        code=next(code for code in iter(mint, None) if code not in taken),
        kind=kind,
        open_id=open_id,
        chat_id=chat_id,
        made_at_ms=now_ms,
        shown=1,
    )
    return _with_request(book, request), request


def not_shown(book: AccessBook, request: PairingRequest) -> AccessBook:
    """Take back one showing: the message with the code was not sent."""
    for known in book.requests:
        if known.code == request.code:
            if known.shown > 1:
                return _with_request(book, msgspec.structs.replace(known, shown=known.shown - 1))
            return _without_request(book, known)
    return book


def named(book: AccessBook, code: str, name: str, chat_name: str) -> AccessBook:
    """Note who asked; without effect once the code is gone."""
    for known in book.requests:
        if known.code == code:
            name, chat_name = name[:NAME_CHARACTERS_MAX], chat_name[:NAME_CHARACTERS_MAX]
            named_request = msgspec.structs.replace(known, name=name, chat_name=chat_name)
            return _with_request(book, named_request)
    return book


def approve(
    book: AccessBook, policy: Policy, code: str, *, now_ms: int, makes_first_admin: bool
) -> tuple[AccessBook, PairingApproved | None]:
    """Let in whom the code was shown to; None: no valid code like it.

    With *makes_first_admin* a person becomes admin where the account has none.
    """
    book = _current(book, now_ms)
    wanted = code.strip().upper()
    request = next((each for each in book.requests if each.code == wanted), None)
    if request is None:
        return book, None
    book = _without_request(book, request)
    if request.subject_name:
        names = {**book.names, request.subject: request.subject_name}
        book = msgspec.structs.replace(book, names=names)
    if request.kind == "group":
        book = msgspec.structs.replace(book, groups=book.groups | {request.chat_id})
        return book, PairingApproved(request=request, became_admin=False)
    book = msgspec.structs.replace(book, users=book.users | {request.open_id})
    becomes_admin = makes_first_admin and not (policy.admins or book.admins)
    if becomes_admin:
        book = msgspec.structs.replace(book, admins=frozenset({request.open_id}))
    return book, PairingApproved(request=request, became_admin=becomes_admin)


def approved_text(approved: PairingApproved, now_ms: int) -> str:
    """Return who was let in, for the operator: by name, chat and time."""
    request = approved.request
    who = _who(request.name, request.open_id)
    minutes = max(0, now_ms - request.made_at_ms) // 60_000
    asked = "just now" if minutes == 0 else f"{minutes} min ago"
    tail = ", and is now an admin" if approved.became_admin else ""
    if request.kind == "group":
        group = _who(request.chat_name, request.chat_id)
        return f"paired group {group}, where {who} asked {asked}"
    return f"paired {who}, who asked in the chat {request.chat_id} {asked}{tail}"


def _who(name: str, subject: str) -> str:
    return f"{quoted(name)} ({subject})" if name else subject


def revoke(book: AccessBook, subject: str) -> tuple[AccessBook, bool]:
    """Take back what was approved of a person (open_id) or group (chat_id), or a code."""
    requests = tuple(each for each in book.requests if subject not in (each.subject, each.code))
    left = AccessBook(
        users=book.users - {OpenId(subject)},
        groups=book.groups - {ChatId(subject)},
        admins=book.admins - {OpenId(subject)},
        requests=requests,
        names={one: name for one, name in book.names.items() if one != subject},
    )
    return left, left != book


def pending(book: AccessBook, now_ms: int) -> tuple[PairingRequest, ...]:
    """Return the codes that may still be approved, oldest first."""
    return _current(book, now_ms).requests


def _current(book: AccessBook, now_ms: int) -> AccessBook:
    valid = tuple(each for each in book.requests if now_ms - each.made_at_ms < CODE_VALID_MS)
    return book if valid == book.requests else msgspec.structs.replace(book, requests=valid)


def _with_request(book: AccessBook, request: PairingRequest) -> AccessBook:
    others = _without_request(book, request).requests
    ordered = tuple(sorted((*others, request), key=lambda each: each.made_at_ms))
    return msgspec.structs.replace(book, requests=ordered)


def _without_request(book: AccessBook, request: PairingRequest) -> AccessBook:
    left = tuple(each for each in book.requests if each.code != request.code)
    return msgspec.structs.replace(book, requests=left)
