"""Where chats and rows are routed to, by the lease and the live sessions."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from protocol.ids import PlaceKey, SessionId, chat_of
from protocol.routing.lease import OwnershipState, live_dispatcher


def effective_target(state: OwnershipState) -> SessionId | None:
    """Return the target of chats without a binding: the owner if live, else nobody.

    Only while nobody owns the channel it is the live dispatcher.
    """
    owner = state.lease.owner
    if owner is not None:
        return owner if owner in state.sessions else None
    dispatcher = live_dispatcher(state)
    return None if dispatcher is None else dispatcher.session_id


def bound(bindings: Mapping[PlaceKey, SessionId], place: PlaceKey) -> SessionId | None:
    """Return the session a place is bound to; a topic without a binding follows its chat."""
    return bindings.get(place) or bindings.get(chat_of(place))


def target_of(state: OwnershipState, place: PlaceKey) -> SessionId | None:
    """Return the live session this place is routed to now, or None: its rows wait."""
    wanted = bound(state.lease.bindings, place)
    if wanted is None:
        return effective_target(state)
    return wanted if wanted in state.sessions else None


def assigned(state: OwnershipState, place: PlaceKey) -> SessionId | None:
    """Return the session a place is on, live or not: its own, else the channel's."""
    held = state.lease
    return bound(held.bindings, place) or held.owner


def without_own(state: OwnershipState, place: PlaceKey) -> SessionId | None:
    """Return the session a place is on when its own binding ends."""
    followed = chat_of(place)
    own = None if followed == place else state.lease.bindings.get(followed)
    return own or state.lease.owner


def row_target(state: OwnershipState, dispatched_to: SessionId | None) -> SessionId | None:
    """Return the live session a row is routed to, or None: it waits.

    A row stays with the session its chat was bound to when it was dispatched; any
    other follows the owner.
    """
    if dispatched_to is None:
        return effective_target(state)
    return dispatched_to if dispatched_to in state.sessions else None


class Moved(Struct, frozen=True):
    """The places whose open rows follow their new binding, but for those of *staying*."""

    places: frozenset[PlaceKey] = frozenset()
    staying: frozenset[SessionId | None] = frozenset()
    """Sessions that keep the rows dispatched to them; None: those dispatched to nobody's."""

    def taken_back(self, new: OwnershipState) -> Moved:
        """Return the move that undoes this one, after which the state was to be *new*."""
        gone_to = {bound(new.lease.bindings, place) for place in self.places}
        return Moved(self.places, self.staying - gone_to)


def moved_chats(old: OwnershipState, new: OwnershipState, *, all_of_them: bool) -> Moved:
    """Return the chats whose waiting rows follow their new binding.

    What was dispatched to a live session runs there, whatever the chat is on now, and
    was on meanwhile. What waits for one that is away need not wait for it any longer.
    When the dispatcher takes the chats back it takes *all of them*.
    """
    before, after = old.lease.bindings, new.lease.bindings
    changed = {chat for chat in before.keys() | after.keys() if before.get(chat) != after.get(chat)}
    if all_of_them:
        return Moved(frozenset(changed))
    nobody = frozenset() if effective_target(old) is None else frozenset({None})
    return Moved(
        frozenset(chat for chat in changed if target_of(old, chat) is None),
        frozenset(old.sessions) | nobody,
    )
