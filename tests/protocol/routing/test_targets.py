"""Where chats and rows are routed to."""

from __future__ import annotations

import pytest

from protocol.ids import ConnectionId, PlaceKey, SessionId
from protocol.routing import targets
from protocol.routing.lease import LeaseState, OwnershipState, Session, unbind_all

CHAT, TOPIC, OTHER = PlaceKey("oc_1"), PlaceKey("oc_1#omt"), PlaceKey("oc_2")
OWNER, LIVE, AWAY = SessionId("owner"), SessionId("live"), SessionId("away")


def session(name: SessionId, role: str = "session") -> Session:
    return Session(
        session_id=name,
        connection_id=ConnectionId(1),
        role=role,  # type: ignore[arg-type]
        alias=name,
        pid=1,
        proxy_version="1",
        metadata={},
        capabilities=(),
        connected_at_ms=0,
    )


def state(
    *live: SessionId, owner: SessionId | None = OWNER, **bindings: SessionId
) -> OwnershipState:
    keys = {"chat": CHAT, "topic": TOPIC, "other": OTHER}
    return OwnershipState(
        lease=LeaseState(
            owner=owner,
            dispatcher=SessionId("d"),
            bindings={keys[key]: value for key, value in bindings.items()},
        ),
        sessions={name: session(name, "dispatcher" if name == "d" else "session") for name in live},
    )


@pytest.mark.parametrize(
    ("found", "target"),
    [
        (state(OWNER), OWNER),
        (state(LIVE), None),
        (state(OWNER, LIVE, chat=LIVE), LIVE),
        (state(OWNER, chat=AWAY), None),
        (state(SessionId("d"), owner=None), "d"),
        (state(LIVE, owner=None), None),
        (state(OWNER, LIVE, other=LIVE), OWNER),
    ],
)
def test_a_chat_is_routed_to_who_is_live(found: OwnershipState, target: str | None) -> None:
    assert targets.target_of(found, CHAT) == target


def test_a_topic_follows_its_chat_unless_it_has_a_session_of_its_own() -> None:
    found = state(OWNER, LIVE, chat=LIVE)
    assert targets.target_of(found, TOPIC) == LIVE
    own = state(OWNER, LIVE, chat=LIVE, topic=OWNER)
    assert targets.target_of(own, TOPIC) == OWNER
    assert targets.target_of(own, CHAT) == LIVE


def test_what_a_place_is_on_does_not_need_to_be_live() -> None:
    assert targets.assigned(state(), CHAT) == OWNER
    assert targets.assigned(state(chat=AWAY), CHAT) == AWAY
    assert targets.assigned(state(chat=AWAY), TOPIC) == AWAY
    assert targets.assigned(state(owner=None), CHAT) is None


def test_a_place_without_its_own_session_is_on_its_chats_or_the_channels() -> None:
    assert targets.without_own(state(chat=AWAY), CHAT) == OWNER
    assert targets.without_own(state(chat=AWAY, topic=LIVE), TOPIC) == AWAY
    assert targets.without_own(state(topic=LIVE), TOPIC) == OWNER


@pytest.mark.parametrize(("dispatched_to", "target"), [(None, OWNER), (LIVE, LIVE), (AWAY, None)])
def test_a_row_stays_with_the_session_it_was_dispatched_to(
    dispatched_to: SessionId | None, target: SessionId | None
) -> None:
    assert targets.row_target(state(OWNER, LIVE), dispatched_to) == target


@pytest.mark.parametrize(
    ("before", "after", "all_of_them", "moved"),
    [
        (state(LIVE, chat=AWAY), state(LIVE, chat=LIVE), False, {CHAT}),
        (state(LIVE, chat=LIVE), state(LIVE, chat=AWAY), False, set()),
        (state(LIVE, chat=LIVE), state(LIVE, chat=AWAY), True, {CHAT}),
        (state(LIVE, chat=AWAY), state(LIVE), False, {CHAT}),
        (state(LIVE), state(LIVE, chat=LIVE, other=LIVE), False, {CHAT, OTHER}),
        (state(LIVE, chat=AWAY), state(LIVE, chat=AWAY), True, set()),
    ],
)
def test_what_waits_for_a_session_that_is_away_follows_the_chat(
    before: OwnershipState, after: OwnershipState, all_of_them: bool, moved: set[PlaceKey]
) -> None:
    assert targets.moved_chats(before, after, all_of_them=all_of_them).places == moved


def test_what_was_dispatched_to_a_live_session_stays_when_the_chat_leaves_one_that_is_away() -> (
    None
):
    before, after = state(OWNER, LIVE, chat=AWAY), state(OWNER, LIVE)
    moved = targets.moved_chats(before, after, all_of_them=False)
    assert moved.staying == {OWNER, LIVE, None}
    assert targets.moved_chats(state(LIVE, chat=AWAY), after, all_of_them=False).staying == {LIVE}
    assert targets.moved_chats(before, after, all_of_them=True).staying == set()


def test_a_move_that_is_taken_back_takes_the_rows_from_where_they_went() -> None:
    before, after = state(OWNER, LIVE, chat=AWAY), state(OWNER, LIVE, chat=LIVE)
    moved = targets.moved_chats(before, after, all_of_them=False)
    assert moved.taken_back(after) == targets.Moved(frozenset({CHAT}), frozenset({OWNER, None}))


def test_a_session_that_will_not_come_back_holds_no_chat() -> None:
    left = unbind_all(state(LIVE, chat=AWAY, topic=AWAY, other=LIVE), AWAY)
    assert left.lease.bindings == {OTHER: LIVE}
    assert (left.lease.owner, set(left.sessions)) == (OWNER, {LIVE})
