"""Which messages are one prompt: all short orders of what people send, and any order at all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import AccountId, ChatId, MessageId, OpenId
from protocol.routing import joining
from protocol.routing.command import Command, Name
from protocol.routing.delivery import Prompt, meta
from protocol.wire.messages import Attachment

ALICE, BOB = OpenId("ou_alice"), OpenId("ou_bob")


def prompt(number: int, content: str = "", *, picture: bool = False) -> Prompt:
    attachment = Attachment(kind="image", name=f"{number}.png", file_key=f"img_{number}")
    return Prompt(
        kind="message",
        chat_id=ChatId("oc_1"),
        message_id=MessageId(f"om_{number}"),
        sender_id=ALICE,
        chat_type="p2p",
        content=content,
        attachments=(attachment,) if picture else (),
    )


@pytest.mark.parametrize(
    ("message_type", "opens"),
    [
        ("image", True),
        ("file", True),
        ("media", True),
        ("text", False),
        ("post", False),
        ("audio", False),
        ("sticker", False),
        ("merge_forward", False),
    ],
)
def test_a_picture_or_a_file_opens_a_window(message_type: str, opens: bool) -> None:
    assert joining.opens(message_type) is opens


def test_every_order_of_gaps_between_three_messages() -> None:
    """Each message starts the time again; none joins later than 5 s after the first."""
    gaps = (0, 1, 1_499, 1_500, 1_501)
    for first, second, third, fourth in itertools.product(gaps, repeat=4):
        window = joining.opened(ALICE, 10_000)
        at_ms = 10_000
        for before, gap in enumerate((first, second, third, fourth), 1):
            at_ms += gap
            longer = joining.joined(window, ALICE, at_ms)
            assert (longer is not None) == (gap < 1_500 and at_ms < 15_000)
            if longer is None:
                break
            window = longer
            assert window.closes_at_ms == min(at_ms + 1_500, 15_000)
            assert window.messages == before + 1


def test_the_last_moment_is_five_seconds_after_the_first() -> None:
    window = joining.opened(ALICE, 0)
    for at_ms in (1_400, 2_800, 4_200):
        longer = joining.joined(window, ALICE, at_ms)
        assert longer is not None
        window = longer
    assert window.closes_at_ms == 5_000
    assert joining.joined(window, ALICE, 4_999) is not None
    assert joining.joined(window, ALICE, 5_000) is None


def test_nobody_else_joins() -> None:
    assert joining.joined(joining.opened(ALICE, 0), BOB, 1) is None


def test_so_many_join_and_no_more() -> None:
    window = joining.opened(ALICE, 0)
    for _ in range(joining.JOINED_MAX - 1):
        longer = joining.joined(window, ALICE, 1)
        assert longer is not None
        window = longer
    assert joining.joined(window, ALICE, 1) is None


def test_a_clock_that_goes_back_closes_nothing() -> None:
    window = joining.joined(joining.opened(ALICE, 10_000), ALICE, 9_000)
    assert window is not None
    assert window.closes_at_ms == 11_500


@given(st.lists(st.integers(0, 2_000), max_size=40))
def test_a_window_never_shrinks_and_never_outlasts_five_seconds(gaps: list[int]) -> None:
    window, at_ms = joining.opened(ALICE, 0), 0
    for gap in gaps:
        at_ms += gap
        longer = joining.joined(window, ALICE, at_ms)
        if longer is None:
            return
        assert window.closes_at_ms <= longer.closes_at_ms <= joining.WINDOW_MS_MAX
        assert at_ms < longer.closes_at_ms
        window = longer


def test_a_command_that_moves_the_place_ends_its_windows() -> None:
    ending = {name for name in Name if joining.ends(Command(name))}
    assert ending == {Name.USE, Name.NEW, Name.CLOSE}
    assert joining.ends(Command(Name.RESUME, ("2",))), "another conversation"
    assert not joining.ends(Command(Name.QUEUE, ("clear",)))


def test_one_message_is_given_as_it_is() -> None:
    one = prompt(1, "hello")
    assert joining.prompt_of([one]) is one
    assert one.message_ids == ("om_1",)


def test_the_first_one_leads_and_all_are_named_in_order() -> None:
    whole = joining.prompt_of(
        [
            prompt(3, "[image]", picture=True),
            prompt(4, "[image]", picture=True),
            prompt(5),
            prompt(6, "what is that?"),
        ]
    )
    assert whole.message_id == "om_3"
    shown = meta(AccountId("default"), whole)
    assert (shown["message_id"], shown["message_ids"]) == ("om_3", "om_3,om_4,om_5,om_6")
    assert whole.message_ids == ("om_3", "om_4", "om_5", "om_6")
    assert whole.content == "[image]\n\n[image]\n\nwhat is that?"
    assert [one.file_key for one in whole.attachments] == ["img_3", "img_4"]
