"""The lease with its bindings, and the ledger of cards."""

from __future__ import annotations

from msgspec.structs import replace

from actors.messages import journal
from protocol.ids import ChatId, MessageId, PlaceKey, SessionId
from protocol.routing.lease import LeaseState
from tests.actors.journal.client import ACCOUNT, JournalClient, entry


def test_a_new_journal_holds_the_empty_lease(client: JournalClient) -> None:
    assert client.lease() == LeaseState()


def test_a_lease_comes_back_as_it_was_saved(client: JournalClient) -> None:
    lease = LeaseState(
        owner=SessionId("o"),
        dispatcher=SessionId("d"),
        granted=SessionId("g"),
        epoch=41,
        bindings={PlaceKey("oc_1"): SessionId("a"), PlaceKey("oc_2"): SessionId("b")},
    )
    assert client.save_lease(lease)
    assert client.lease() == lease


def test_saving_replaces_lease_and_bindings(client: JournalClient) -> None:
    client.save_lease(
        LeaseState(
            owner=SessionId("o"),
            epoch=1,
            bindings={PlaceKey("oc_1"): SessionId("a"), PlaceKey("oc_2"): SessionId("b")},
        )
    )
    later = LeaseState(
        epoch=2, bindings={PlaceKey("oc_2"): SessionId("c"), PlaceKey("oc_3"): SessionId("a")}
    )
    client.save_lease(later)
    assert client.lease() == later


def test_saving_what_is_there_changes_nothing(client: JournalClient) -> None:
    lease = LeaseState(owner=SessionId("o"), bindings={PlaceKey("oc_1"): SessionId("a")})
    assert client.save_lease(lease)
    assert not client.save_lease(lease)
    assert client.save_lease(replace(lease, bindings={}))


def test_open_cards_are_listed_oldest_first(client: JournalClient) -> None:
    late, early = entry("c1", at_ms=20), entry("c2", at_ms=10, alias="多")
    assert client.open_card(late)
    assert client.open_card(early)
    assert client.open_cards() == (early, late)


def test_opening_a_card_twice_changes_nothing(client: JournalClient) -> None:
    client.open_card(entry("c1", alias="first"))
    assert not client.open_card(entry("c1", alias="second"))
    assert [card.session_alias for card in client.open_cards()] == ["first"]


def test_a_note_changes_what_it_names_and_nothing_else(client: JournalClient) -> None:
    client.open_card(entry("c1"))
    assert client.note_card("c1", message="om_9")
    assert client.note_card("c1", text="so far")
    expected = replace(entry("c1"), message_id=MessageId("om_9"), text="so far")
    assert client.open_cards() == (expected,)
    assert client.note_card("c1", panels=b"{}")
    expected = replace(expected, panels=b"{}")
    assert client.note_card("c1", text="")
    assert client.open_cards() == (replace(expected, text=""),)


def test_a_note_closes_what_it_stands_for_instead_of(client: JournalClient) -> None:
    for card in ("before", "text", "other", "now"):
        client.open_card(entry(card))
    assert client.note_card("now", text="all of it", instead_of=("before", "text"))
    left = {card.card_id: card.text for card in client.open_cards()}
    assert left == {"other": entry("other").text, "now": "all of it"}


def test_a_note_of_a_card_that_is_not_open_closes_nothing(client: JournalClient) -> None:
    client.open_card(entry("before"))
    assert not client.note_card("never entered", text="x", instead_of=("before",))
    client.open_card(entry("closed"))
    client.close_card("closed")
    assert not client.note_card("closed", text="x", instead_of=("before",))
    assert [card.card_id for card in client.open_cards()] == ["before"]


def test_a_card_is_closed_with_all_that_it_stands_for(client: JournalClient) -> None:
    for card in ("before", "now"):
        client.open_card(entry(card))
    assert client.close_card("now", instead_of=("before",))
    assert client.open_cards() == ()
    client.open_card(entry("left"))
    assert not client.close_card("never entered", instead_of=("left",))
    assert client.open_cards() == ()


def test_a_closed_card_is_closed_for_good(client: JournalClient) -> None:
    client.open_card(entry("c1"))
    assert client.close_card("c1")
    assert not client.close_card("c1", "lost")
    assert not client.note_card("c1", text="late")
    assert not client.open_card(entry("c1"))
    assert client.open_cards() == ()


def test_a_card_keeps_the_term_it_was_opened_in(client: JournalClient) -> None:
    client.open_card(replace(entry("c1"), term=7))
    client.open_card(entry("before terms", at_ms=2))
    assert [card.term for card in client.open_cards()] == [7, None]


def test_a_request_is_known_from_before_its_sending_until_it_is_forgotten(
    client: JournalClient,
) -> None:
    opening = journal.ApprovalOpening(
        reply_to=MessageId("om_1"),
        chat_id=ChatId("oc_1"),
        in_thread=True,
        content_json='{"text":"多\\u0000"}',
        sent_at_ms=1_700_000_000_000,
    )
    about_to_be_sent = journal.ApprovalLeft(
        entry_id="k1", account=ACCOUNT, last_card="{}", opening=opening
    )
    assert client.enter_approval(about_to_be_sent)
    assert client.approvals_left() == (about_to_be_sent,)
    sent = replace(about_to_be_sent, message_id=MessageId("om_2"), opening=None)
    assert client.enter_approval(sent)
    assert client.enter_approval(replace(sent, entry_id="k2"))
    assert set(client.approvals_left()) == {sent, replace(sent, entry_id="k2")}
    assert client.forget_approval("k1")
    assert not client.forget_approval("k1")
    assert [one.entry_id for one in client.approvals_left()] == ["k2"]


def test_a_request_that_can_not_be_read_is_dropped_and_the_others_stand(
    client: JournalClient,
) -> None:
    readable = journal.ApprovalLeft(
        entry_id="k1", account=ACCOUNT, last_card="{}", message_id=MessageId("om_1")
    )
    client.enter_approval(readable)
    client.enter_approval(replace(readable, entry_id="k2"))
    client.sql("UPDATE approval SET opening = 'xx' WHERE entry_id = 'k2'")
    assert client.approvals_left() == (readable,)
    client.sql("UPDATE approval SET opening = NULL WHERE entry_id = 'k2'")
    assert client.approvals_left() == (readable,)


def test_a_typing_mark_is_known_until_it_is_forgotten(client: JournalClient) -> None:
    client.enter_typing("om_1")
    client.enter_typing("om_2", "re_2")
    client.enter_typing("om_1", "re_1")
    assert client.typing_left() == {"om_1": "re_1", "om_2": "re_2"}
    assert client.typing_left(term=1) == {}, "these are in use"
    client.forget_typing("om_1")
    assert client.typing_left() == {"om_2": "re_2"}


def test_a_later_attempt_forgets_its_own_mark_alone(client: JournalClient) -> None:
    client.enter_typing("om_1", turn="t_1")
    client.enter_typing("om_1", "re_2", turn="t_2")
    client.forget_typing("om_1", turn="t_2")
    assert client.typing_left() == {"om_1": None}, "the platform may still put the first one's"
    client.forget_typing("om_1", turn="t_1")
    assert client.typing_left() == {}


def test_cards_nobody_knows_change_nothing(client: JournalClient) -> None:
    assert not client.note_card("c1", text="x")
    assert not client.close_card("c1")


def test_old_closed_cards_are_pruned_and_open_ones_stay(client: JournalClient) -> None:
    for number in range(1, 4):
        client.open_card(entry(f"c{number}"))
    client.close_card("c1", at_ms=10)
    client.close_card("c2", at_ms=20)
    assert client.prune(before_ms=20)
    assert not client.prune(before_ms=20)
    assert client.open_card(entry("c1")), "forgotten"
    assert not client.open_card(entry("c2")), "still known"
    assert {card.card_id for card in client.open_cards()} == {"c1", "c3"}
