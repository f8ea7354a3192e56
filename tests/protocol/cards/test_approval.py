"""Whose press decides a permission, and what its card shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import strings
from protocol.cards import approval
from protocol.cards.approval import Approval, Chosen, NotTaken, Place, Press
from protocol.ids import AccountId, ChatId, MessageId, OpenId, SessionId
from protocol.wire.messages import PermissionOption, PermissionRequest

SECRET = b"s" * 32
ANN, BOB = OpenId("ou_ann"), OpenId("ou_bob")
CHAT = ChatId("oc_1")
ALLOW = PermissionOption(id="allow", label="Allow", kind="allow_once")
REJECT = PermissionOption(id="no", label="Reject", kind="reject_once")
EXPIRES_MS = 10_000


def asked(
    *,
    key: str = "k1",
    detail: str | None = "rm -rf build",
    sender: OpenId = ANN,
    chat: ChatId = CHAT,
    epoch: int = 3,
    options: tuple[PermissionOption, ...] = (ALLOW, REJECT),
) -> Approval:
    return Approval(
        key=key,
        session_id=SessionId("s"),
        alias="api",
        place=Place(
            account=AccountId("default"),
            chat_id=chat,
            message_id=MessageId("om_1"),
            sender_id=sender,
            chat_type="p2p",
            lease_epoch=epoch,
        ),
        request=PermissionRequest(
            request_id="r1", title="Run a command", detail=detail, options=list(options)
        ),
        expires_at_ms=EXPIRES_MS,
    )


def buttons(card_json: str) -> list[dict[str, Any]]:
    card = msgspec.json.decode(card_json)
    return [one for one in card["body"]["elements"] if one["tag"] == "button"]


def press(
    card_json: str, number: int = 0, by: OpenId = ANN, chat: ChatId | None = CHAT, **more: Any
) -> Press:
    value = buttons(card_json)[number]["behaviors"][0]["value"] | more
    found = approval.read_press(value, by, chat, by_admin=False)
    assert found is not None
    return found


def judged(pressed: Press, this: Approval | None = None, now_ms: int = 0) -> Chosen | NotTaken:
    return approval.judge(this or asked(), pressed, SECRET, now_ms)


CARD = approval.open_card(asked(), SECRET)


def test_who_started_the_task_decides() -> None:
    assert judged(press(CARD, 0)) == Chosen(option=ALLOW)
    assert judged(press(CARD, 1)) == Chosen(option=REJECT)


def test_an_admin_decides_and_nobody_else() -> None:
    assert judged(press(CARD, by=BOB)) == NotTaken(toast=strings.TOAST_NOT_YOURS)
    by_admin = msgspec.structs.replace(press(CARD, by=BOB), by_admin=True)
    assert judged(by_admin) == Chosen(option=ALLOW)


def test_after_its_time_a_press_is_too_late() -> None:
    assert judged(press(CARD), now_ms=EXPIRES_MS - 1) == Chosen(option=ALLOW)
    assert judged(press(CARD), now_ms=EXPIRES_MS) == NotTaken(toast=strings.TOAST_TOO_LATE)


@pytest.mark.parametrize(
    "other",
    [
        asked(key="k2"),
        asked(sender=BOB),
        asked(chat=ChatId("oc_2")),
        asked(epoch=4),
    ],
)
def test_a_signature_is_bound_to_request_person_chat_and_epoch(other: Approval) -> None:
    signature = approval.signature(other, "allow", SECRET)
    assert judged(press(CARD, signature=signature)) == NotTaken(toast=strings.TOAST_UNKNOWN)


@pytest.mark.parametrize(
    "forged",
    [
        {"option": "no"},
        {"option": "made-up"},
        {"signature": ""},
        {"signature": "é"},
        {"signature": "\ud800"},
    ],
)
def test_what_was_not_on_the_card_is_forged(forged: dict[str, str]) -> None:
    value = buttons(CARD)[0]["behaviors"][0]["value"] | forged
    pressed = approval.read_press(value, ANN, CHAT, by_admin=False)
    assert pressed is not None
    assert judged(pressed) == NotTaken(toast=strings.TOAST_UNKNOWN)


@pytest.mark.parametrize("chat", [None, ChatId("oc_2")])
def test_a_press_from_elsewhere_is_no_press(chat: ChatId | None) -> None:
    assert judged(press(CARD, chat=chat)) == NotTaken(toast=strings.TOAST_UNKNOWN)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"larkd": "stop", "session": "s", "turn": "t"},
        {"larkd": "approve", "request": 1, "option": "allow", "signature": "x"},
        {"larkd": "approve", "request": "k1"},
    ],
)
def test_other_buttons_are_not_read_as_approvals(value: dict[str, Any]) -> None:
    assert approval.read_press(value, ANN, CHAT, by_admin=True) is None


def test_the_card_asks_and_then_says_who_decided() -> None:
    shown = msgspec.json.decode(CARD)["body"]["elements"]
    assert shown[0]["content"] == "🔐 **api** asks: Run a command"
    assert shown[0]["i18n_content"]["zh_cn"] == "🔐 **api** 请求授权：Run a command"
    assert shown[1]["content"] == "```\nrm -rf build\n```"
    assert [one["text"]["content"] for one in buttons(CARD)] == ["Allow", "Reject"]
    decided = approval.chosen_card(asked(), ALLOW, ANN)
    assert buttons(decided) == []
    assert "✅ Allow <at id=ou_ann></at>" in decided
    assert "⛔ Reject" in approval.chosen_card(asked(), REJECT, ANN)
    closed = approval.closed_card(asked(), strings.APPROVAL_EXPIRED)
    assert buttons(closed) == []
    assert "rm -rf build" in closed


def test_no_more_than_ten_options_are_shown() -> None:
    many = tuple(
        PermissionOption(id=str(number), label="x" * 500, kind="allow_once") for number in range(40)
    )
    card = approval.open_card(asked(options=many), SECRET)
    assert len(buttons(card)) == 10
    assert all(len(one["text"]["content"]) <= 80 for one in buttons(card))


@given(st.text(alphabet=st.sampled_from("`~a\n<>*[](){} \\@界😀"), max_size=200))
def test_whatever_an_agent_wants_to_run_is_shown_as_code_and_nothing_else(detail: str) -> None:
    card = msgspec.json.decode(approval.open_card(asked(detail=detail or "x"), SECRET))
    fence, _, rest = card["body"]["elements"][1]["content"].partition("\n")
    shown, _, closing = rest.rpartition("\n")
    assert shown == (detail or "x")
    assert closing == fence == "`" * max(3, len(fence))
    # Only as many backticks as opened it close a fence.
    assert fence not in shown


@pytest.mark.parametrize("detail", ["界" * 50_000, "a" * 200_000, "\x00\ud800" * 1_000])
def test_a_card_fits_whatever_is_asked(detail: str) -> None:
    card = approval.open_card(asked(detail=detail), SECRET)
    assert len(card.encode()) < 27_000


def test_a_title_of_an_agent_is_no_markdown() -> None:
    this = asked()
    title = "**x** <at id=all></at> [l](http://x)\n# h"
    this = msgspec.structs.replace(this, request=msgspec.structs.replace(this.request, title=title))
    shown = msgspec.json.decode(approval.open_card(this, SECRET))["body"]["elements"][0]["content"]
    assert "<at" not in shown
    assert "\n" not in shown
    assert "](" not in shown
