"""Whose press decides a permission, and what its card shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.cards import approval, approval_card
from protocol.cards.approval import Approval, ApprovalPress, Decided, NotTaken, Origin
from protocol.ids import AccountId, ChatId, MessageId, OpenId, SessionId
from protocol.quoted import visible
from protocol.routing.access import Policy
from protocol.strings import on_card
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
    title: str = "Run a command",
) -> Approval:
    request = PermissionRequest(request_id="r1", title=title, detail=detail, options=list(options))
    return Approval(
        key=key,
        session_id=SessionId("s"),
        alias="api",
        place=Origin(
            account=AccountId("default"),
            chat_id=chat,
            message_id=MessageId("om_1"),
            sender_id=sender,
            chat_type="p2p",
            lease_epoch=epoch,
        ),
        request=request,
        shown=approval_card.read(request).shown,
        expires_at_ms=EXPIRES_MS,
    )


def request_of(detail: str) -> PermissionRequest:
    return PermissionRequest(request_id="r1", title="t", detail=detail, options=[ALLOW, REJECT])


def buttons(card_json: str) -> list[dict[str, Any]]:
    card = msgspec.json.decode(card_json)
    return [one for one in card["body"]["elements"] if one["tag"] == "button"]


def press(
    card_json: str, number: int = 0, by: OpenId = ANN, chat: ChatId | None = CHAT, **more: Any
) -> ApprovalPress:
    value = buttons(card_json)[number]["behaviors"][0]["value"] | more
    found = approval.read_press(value, by, chat)
    assert found is not None
    return found


POLICY = Policy(allow_from=frozenset({ANN}))


def judged(
    pressed: ApprovalPress, this: Approval | None = None, now_ms: int = 0, policy: Policy = POLICY
) -> Decided | NotTaken:
    return approval.judge(this or asked(), pressed, policy, SECRET, now_ms)


def open_card() -> str:
    return approval_card.open_card(asked(), SECRET)


def test_who_started_the_task_decides() -> None:
    assert judged(press(open_card(), 0)) == Decided(option=ALLOW)
    assert judged(press(open_card(), 1)) == Decided(option=REJECT)


def test_an_admin_decides_and_nobody_else() -> None:
    assert judged(press(open_card(), by=BOB)) == NotTaken(toast=on_card.TOAST_NOT_YOURS)
    with_admin = msgspec.structs.replace(POLICY, admins=frozenset({BOB}))
    assert judged(press(open_card(), by=BOB), policy=with_admin) == Decided(option=ALLOW)


def test_who_was_let_out_decides_nothing_any_more() -> None:
    assert judged(press(open_card()), policy=Policy()) == NotTaken(toast=on_card.TOAST_NOT_YOURS)
    disabled = msgspec.structs.replace(POLICY, dm_policy="disabled")
    assert judged(press(open_card()), policy=disabled) == NotTaken(toast=on_card.TOAST_NOT_YOURS)


def test_what_only_admins_decide_is_decided_by_nobody_else() -> None:
    this = msgspec.structs.replace(asked(), of_admins=True)
    card = approval_card.open_card(this, SECRET)
    elsewhere = ChatId("oc_their_direct_chat")
    assert judged(press(card, chat=elsewhere), this) == NotTaken(toast=on_card.TOAST_NOT_YOURS)
    admins = Policy(admins=frozenset({ANN}))
    assert judged(press(card, chat=elsewhere), this, policy=admins) == Decided(option=ALLOW)


@pytest.mark.parametrize(
    ("policy", "strange"),
    [
        (Policy(dm_policy="open"), True),
        (Policy(dm_policy="open", allow_from=frozenset({ANN})), False),
        (Policy(dm_policy="open", admins=frozenset({ANN})), False),
        (POLICY, False),
    ],
)
def test_a_stranger_is_who_is_let_in_only_because_everybody_is(
    policy: Policy, strange: bool
) -> None:
    assert approval.is_strangers(asked().place, policy) is strange


@pytest.mark.parametrize(
    ("ids", "askable"), [((), False), (("a", "b"), True), (("a", "a"), False), (("x",) * 11, False)]
)
def test_options_that_can_not_be_distinguished_are_not_asked(
    ids: tuple[str, ...], askable: bool
) -> None:
    options = [PermissionOption(id=one, label="L", kind="allow_once") for one in ids]
    request = PermissionRequest(request_id="r1", title="t", options=options)
    assert approval.is_askable(request) is askable


@pytest.mark.parametrize(
    "fields",
    [
        {"request_id": "r" * 1_025},
        {"title": "t" * 3_000_001},
        {"detail": "d" * 3_000_001},
        {"options": [PermissionOption(id="x" * 1_025, label="L", kind="allow_once")]},
        {"options": [PermissionOption(id="x", label="L" * 8_001, kind="allow_once")]},
    ],
)
def test_what_nobody_could_be_shown_is_not_asked(fields: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"request_id": "r1", "title": "t", "options": [ALLOW]}
    assert approval.is_askable(PermissionRequest(**usual))
    assert not approval.is_askable(PermissionRequest(**usual | fields))


def test_after_its_time_a_press_is_too_late() -> None:
    assert judged(press(open_card()), now_ms=EXPIRES_MS - 1) == Decided(option=ALLOW)
    assert judged(press(open_card()), now_ms=EXPIRES_MS) == NotTaken(toast=on_card.TOAST_TOO_LATE)


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
    assert judged(press(open_card(), signature=signature)) == NotTaken(toast=on_card.TOAST_UNKNOWN)


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
    value = buttons(open_card())[0]["behaviors"][0]["value"] | forged
    pressed = approval.read_press(value, ANN, CHAT)
    assert pressed is not None
    assert judged(pressed) == NotTaken(toast=on_card.TOAST_UNKNOWN)


@pytest.mark.parametrize("chat", [None, ChatId("oc_2")])
def test_a_press_from_elsewhere_is_no_press(chat: ChatId | None) -> None:
    assert judged(press(open_card(), chat=chat)) == NotTaken(toast=on_card.TOAST_UNKNOWN)


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
    assert approval.read_press(value, ANN, CHAT) is None


def test_the_whole_card_as_a_client_is_given_it() -> None:
    def both(en: str, zh: str, **node: Any) -> dict[str, Any]:
        return {**node, "content": en, "i18n_content": {"en_us": en, "zh_cn": zh}}

    wider = PermissionOption(id="all", label="rm", kind="allow_always")
    this = asked(options=(wider, ALLOW, REJECT), detail="x" * 30_000)

    def button(number: int, kind: str, option: str, en: str, zh: str) -> dict[str, Any]:
        return {
            "tag": "button",
            "element_id": f"option_{number}",
            "type": kind,
            "width": "fill",
            "text": both(en, zh, tag="plain_text"),
            "behaviors": [
                {
                    "type": "callback",
                    "value": {
                        "larkd": "approve",
                        "request": "k1",
                        "option": option,
                        "signature": approval.signature(this, option, SECRET),
                    },
                }
            ],
        }

    card = msgspec.json.decode(approval_card.open_card(this, SECRET))
    title, detail, file, *rest, note = card["body"]["elements"]
    assert title == both(
        "🔐 **api** asks: Run a command",
        "🔐 **api** 请求授权：Run a command",
        tag="markdown",
        element_id="title",
    )
    assert (detail["tag"], detail["element_id"]) == ("markdown", "detail")
    assert detail["content"].startswith("```\nxxx")
    assert (file["tag"], file["element_id"]) == ("markdown", "file")
    assert rest == [
        both("Always allow: rm", "始终允许: rm", tag="markdown", text_size="notation"),
        button(0, "primary_filled", "allow", "Allow once · Allow", "允许一次 · Allow"),
        button(1, "danger", "no", "Reject", "拒绝"),
        button(2, "primary_filled", "all", "Always allow · rm", "始终允许 · rm"),
    ]
    assert note == both(
        on_card.APPROVAL_WHO.en,
        on_card.APPROVAL_WHO.zh,
        tag="markdown",
        element_id="note",
        text_size="notation",
    )
    assert card["schema"] == "2.0"
    assert card["config"] == {
        "update_multi": True,
        "summary": both(on_card.APPROVAL_SUMMARY.en, on_card.APPROVAL_SUMMARY.zh),
    }


def test_the_card_asks_and_then_shows_who_decided() -> None:
    shown = msgspec.json.decode(open_card())["body"]["elements"]
    assert shown[0]["content"] == "🔐 **api** asks: Run a command"
    assert shown[0]["i18n_content"]["zh_cn"] == "🔐 **api** 请求授权：Run a command"
    assert shown[1]["content"] == "```\nrm -rf build\n```"
    assert [one["text"]["content"] for one in buttons(open_card())] == [
        "Allow once · Allow",
        "Reject",
    ]
    decided = approval_card.chosen_card(asked(), ALLOW, ANN)
    assert buttons(decided) == []
    assert "✅ Allow once · Allow <at id=ou_ann></at>" in decided
    assert "⛔ Reject" in approval_card.chosen_card(asked(), REJECT, ANN)
    closed = approval_card.closed_card(asked(), on_card.APPROVAL_EXPIRED)
    assert buttons(closed) == []
    assert "rm -rf build" in closed


def test_once_comes_first_then_reject_then_the_wider_ones_with_their_whole_scope() -> None:
    scope = "Yes, and don't ask again for `rm` *anywhere* " + "on this machine " * 8
    options = (
        PermissionOption(id="1", label=scope, kind="allow_always"),
        PermissionOption(id="2", label="Reject (allow everything)", kind="reject_once"),
        PermissionOption(id="3", label="Never", kind="reject_always"),
        PermissionOption(id="4", label="", kind="allow_once"),
    )
    card = approval_card.open_card(asked(options=options), SECRET)
    shown = buttons(card)
    assert [one["behaviors"][0]["value"]["option"] for one in shown] == ["4", "2", "1", "3"]
    assert shown[0]["text"]["i18n_content"] == {"en_us": "Allow once", "zh_cn": "允许一次"}
    labels = [one["text"]["content"] for one in shown]
    assert labels[1] == "Reject · Reject (allow everything)"
    assert labels[2].startswith("Always allow · Yes, and don't ask again for `rm` *anywhere*")
    assert all(len(label) <= 80 for label in labels)
    body = msgspec.json.decode(card)["body"]["elements"]
    scopes = [one["content"] for one in body if one["tag"] == "markdown"][2:4]
    assert scopes[0].startswith("Always allow: Yes, and don't ask again for &#96;rm&#96; &#42;any")
    assert scopes[0].endswith("on this machine")
    assert "*" not in scopes[0]


def test_what_does_not_fit_is_in_a_file_and_the_card_shows_it() -> None:
    detail = "echo ok # " + "x" * 20_000 + "\nrm -rf /"
    this = asked(detail=detail)
    attached = approval_card.read(request_of(detail)).file
    assert attached is not None
    assert detail.encode() in attached
    assert "This is not all of it" in approval_card.open_card(this, SECRET)
    assert approval_card.read(request_of("short")).file is None


@given(st.text(alphabet="ab\n\u202e界", max_size=300))
def test_a_request_is_read_in_slices_as_at_once(text: str) -> None:
    detail = text * 100
    reading = approval_card.read(request_of(detail))
    whole = visible(detail)
    if reading.file is None:
        assert reading.shown.start == whole
    else:
        assert whole in reading.file.decode()
        assert whole.startswith(reading.shown.start)
        assert len(reading.shown.start) > 1_000


def test_a_title_that_is_cut_stands_whole_in_the_code() -> None:
    title = "run " + "y" * 400 + "; rm -rf /"
    this = asked(title=title)
    shown = msgspec.json.decode(approval_card.open_card(this, SECRET))["body"]["elements"]
    assert shown[1]["content"] == f"```\n{title}\nrm -rf build\n```"


@pytest.mark.parametrize(
    ("hidden", "code"),
    [
        ("\u202e", "U+202E"),
        ("\u200b", "U+200B"),
        ("\u2066", "U+2066"),
        ("\x1b", "U+001B"),
        ("\r", "U+000D"),
        ("\u3164", "U+3164"),
        ("\U000e0041", "U+E0041"),
        ("\u2028", "U+2028"),
    ],
)
def test_what_can_not_be_seen_is_shown_as_its_code(hidden: str, code: str) -> None:
    card = approval_card.open_card(asked(detail=f"rm{hidden}x"), SECRET)
    assert f"rm⟨{code}⟩x" in card
    assert hidden not in card


@example("echo\n```\nnot code any more")
@given(st.text(alphabet=st.sampled_from("`~a\n<>*[](){} \\@界😀"), max_size=200))
def test_whatever_an_agent_wants_to_run_is_shown_as_code_and_nothing_else(detail: str) -> None:
    card = msgspec.json.decode(approval_card.open_card(asked(detail=detail or "x"), SECRET))
    fence, _, rest = card["body"]["elements"][1]["content"].partition("\n")
    shown, _, closing = rest.rpartition("\n")
    assert shown == (detail or "x")
    assert closing == fence == "`" * max(3, len(fence))
    # Only as many backticks as opened it close a fence.
    assert fence not in shown


@pytest.mark.parametrize("detail", ["界" * 50_000, "a" * 200_000, "\x00\ud800" * 1_000])
def test_a_card_fits_whatever_is_asked(detail: str) -> None:
    card = approval_card.open_card(asked(detail=detail), SECRET)
    assert len(card.encode()) < 27_000


def test_a_title_of_an_agent_is_no_markdown() -> None:
    this = asked()
    title = "**x** <at id=all></at> [l](http://x)\n# h"
    this = msgspec.structs.replace(this, request=msgspec.structs.replace(this.request, title=title))
    shown = msgspec.json.decode(approval_card.open_card(this, SECRET))["body"]["elements"][0][
        "content"
    ]
    assert "<at" not in shown
    assert "\n" not in shown
    assert "](" not in shown


def test_the_summary_is_plain_text_and_needs_no_entities() -> None:
    option = PermissionOption(id="allow", label="run_tests *", kind="allow_once")
    decided = msgspec.json.decode(approval_card.chosen_card(asked(), option, ANN))
    assert decided["config"]["summary"]["content"] == "✅ Allow once · run_tests *"
    assert "run&#95;tests &#42;" in decided["body"]["elements"][-1]["content"]
