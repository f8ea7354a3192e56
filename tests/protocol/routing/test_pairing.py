"""Pairing codes: what they look like, how often they are shown, and what approval does."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import count

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import ChatId, OpenId
from protocol.routing import pairing
from protocol.routing.access import GroupRule, PairingKind, Policy
from protocol.routing.pairing import AccessBook, PairingApproved, PairingRequest, Silence

ANN, BOB = OpenId("ou_ann"), OpenId("ou_bob")
CHAT, GROUP = ChatId("oc_direct"), ChatId("oc_group")
HOUR_MS = 3_600_000
NOTHING = Policy()


def codes() -> Callable[[], str]:
    numbers = count(100_000)
    return lambda: str(next(numbers))


def show(
    book: AccessBook,
    who: OpenId = ANN,
    kind: PairingKind = "direct",
    chat: ChatId = CHAT,
    now_ms: int = 0,
) -> tuple[AccessBook, PairingRequest | Silence]:
    number = 100_000 + len(book.requests) + now_ms
    return pairing.show(book, kind, who, chat, now_ms=now_ms, mint=lambda: str(number))


def shown(book: AccessBook, **how: object) -> tuple[AccessBook, PairingRequest]:
    book, request = show(book, **how)  # type: ignore[arg-type]  # passed on as given
    assert isinstance(request, PairingRequest)
    return book, request


def approve(
    book: AccessBook, code: str, *, policy: Policy = NOTHING, now_ms: int = 0, first: bool = True
) -> tuple[AccessBook, PairingApproved | None]:
    return pairing.approve(book, policy, code, now_ms=now_ms, makes_first_admin=first)


def test_a_code_is_six_characters_that_are_not_mistaken_for_others() -> None:
    rng = random.Random(1)
    made = {pairing.mint_code(rng.randrange) for _ in range(2_000)}
    assert len(made) == 2_000
    assert all(re.fullmatch("[ABCDEFGHJKLMNPQRSTUVWXYZ23456789]{6}", code) for code in made)
    assert set("".join(made)) == set(pairing.CODE_ALPHABET)


def test_a_code_is_shown_twice_and_then_no_more() -> None:
    book, first = shown(AccessBook())
    book, second = shown(book)
    assert first.code == second.code
    assert (first.shown, second.shown) == (1, 2)
    again, silence = show(book)
    assert silence == Silence(reason="pairing code was shown 2 times")
    assert again == book


def test_after_an_hour_a_code_is_worth_nothing_and_there_is_a_new_one() -> None:
    book, old = shown(AccessBook())
    assert approve(book, old.code, now_ms=HOUR_MS - 1)[1] is not None
    assert approve(book, old.code, now_ms=HOUR_MS)[1] is None
    book, new = shown(book, now_ms=HOUR_MS)
    assert new.code != old.code
    assert pairing.pending(book, HOUR_MS) == (new,)


def test_ten_of_each_kind_are_pending_at_most() -> None:
    book = AccessBook()
    for number in range(10):
        book, _ = shown(book, who=OpenId(f"ou_{number}"))
    same, silence = show(book, who=BOB)
    assert silence == Silence(reason="10 direct pairing codes are pending")
    assert same == book
    book, request = shown(book, who=BOB, kind="group", chat=GROUP)
    assert request.subject == GROUP, "strangers in direct chats do not starve groups"


def test_a_code_that_is_taken_is_not_given_again() -> None:
    book, first = shown(AccessBook())
    offered = iter([first.code, first.code, "FRESH1"])
    _, second = pairing.show(book, "direct", BOB, CHAT, now_ms=0, mint=lambda: next(offered))
    assert isinstance(second, PairingRequest)
    assert second.code == "FRESH1"


def test_what_was_not_sent_was_not_shown() -> None:
    book, request = shown(AccessBook())
    assert pairing.not_shown(book, request) == AccessBook()
    twice, _ = shown(book)
    assert pairing.not_shown(twice, request) == book
    assert pairing.not_shown(AccessBook(), request) == AccessBook()


def test_approving_a_person_lets_that_person_in_everywhere_the_list_counts() -> None:
    book, request = shown(AccessBook())
    book, approved = approve(book, f" {request.code.lower()}\n", first=False)
    assert approved == PairingApproved(request=request, became_admin=False)
    policy = pairing.in_force(Policy(allow_from=frozenset({BOB})), book)
    assert policy.allow_from == {ANN, BOB}
    assert policy.admins == frozenset()
    assert approve(book, request.code)[1] is None, "a code is good once"


def test_who_was_let_in_keeps_the_name_the_platform_gave() -> None:
    book, request = shown(AccessBook())
    named = msgspec.structs.replace(request, name="Ann")
    book, _ = approve(msgspec.structs.replace(book, requests=(named,)), request.code)
    assert book.names == {ANN: "Ann"}


@pytest.mark.parametrize(
    ("policy", "first", "admin"),
    [
        (Policy(), True, True),
        (Policy(), False, False),
        (Policy(admins=frozenset({BOB})), True, False),
    ],
)
def test_the_first_person_let_in_by_the_operator_becomes_admin(
    policy: Policy, first: bool, admin: bool
) -> None:
    book, request = shown(AccessBook())
    book, approved = approve(book, request.code, policy=policy, first=first)
    assert approved is not None
    assert approved.became_admin is admin
    assert (ANN in pairing.in_force(policy, book).admins) is admin
    book, request = shown(book, who=OpenId("ou_next"))
    _, approved = approve(book, request.code, policy=policy, first=first)
    assert approved is not None
    assert approved.became_admin is False or not admin


def test_approving_a_group_lets_any_member_in_but_overrules_no_configured_rule() -> None:
    book, request = shown(AccessBook(), kind="group", chat=GROUP)
    book, approved = approve(book, request.code)
    assert approved == PairingApproved(request=request, became_admin=False)
    assert pairing.in_force(Policy(), book).groups == {GROUP: GroupRule()}
    strict = GroupRule(allow_from=frozenset({BOB}))
    assert pairing.in_force(Policy(groups={GROUP: strict}), book).groups == {GROUP: strict}


@pytest.mark.parametrize("by", ["subject", "code"])
def test_revoking_takes_back_all_that_was_given(by: str) -> None:
    book, request = shown(AccessBook())
    assert pairing.revoke(book, getattr(request, by)) == (AccessBook(), True)
    approved, _ = approve(book, request.code)
    assert pairing.revoke(approved, ANN) == (AccessBook(), True)
    assert pairing.revoke(approved, "ou_other") == (approved, False)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 14), st.sampled_from(["direct", "group"]), st.integers(0, HOUR_MS // 2)
        ),
        max_size=60,
    )
)
def test_whatever_strangers_do_the_book_stays_small_and_codes_are_shown_twice_at_most(
    approaches: list[tuple[int, PairingKind, int]],
) -> None:
    book, now, mint = AccessBook(), 0, codes()
    for who, kind, later in approaches:
        now += later
        book, _ = pairing.show(
            book, kind, OpenId(f"ou_{who}"), ChatId(f"oc_{who}"), now_ms=now, mint=mint
        )
        assert all(request.shown <= 2 for request in book.requests)
        assert all(now - request.made_at_ms < HOUR_MS for request in book.requests)
        for each in ("direct", "group"):
            assert sum(request.kind == each for request in book.requests) <= 10
        assert len({request.code for request in book.requests}) == len(book.requests)


@pytest.mark.parametrize(
    ("kind", "name", "now_ms", "text"),
    [
        ("direct", "", 0, "paired ou_ann, who asked in the chat oc_direct just now"),
        ("direct", "", -5, "paired ou_ann, who asked in the chat oc_direct just now"),
        (
            "direct",
            "Ann\n",
            60_000,
            "paired Ann (ou_ann), who asked in the chat oc_direct 1 min ago",
        ),
        ("group", "", 59_999, "paired group oc_group, where ou_ann asked just now"),
        (
            "group",
            "Ann",
            1_800_000,
            "paired group All <of us> (oc_group), where Ann (ou_ann) asked 30 min ago",
        ),
    ],
)
def test_the_operator_reads_who_was_let_in(
    kind: PairingKind, name: str, now_ms: int, text: str
) -> None:
    book, request = shown(AccessBook(), kind=kind, chat=CHAT if kind == "direct" else GROUP)
    book = pairing.named(book, request.code, name, "All <of us>" if name else "")
    book = pairing.named(book, "XXXXXX", "nobody", "nowhere")
    _, approved = approve(book, request.code, first=False)
    assert approved is not None
    assert pairing.approved_text(approved, now_ms) == text


def test_the_operator_reads_who_became_admin_and_names_have_an_end() -> None:
    book, request = shown(AccessBook())
    book = pairing.named(book, request.code, "n" * 1_000, "c" * 1_000)
    (named,) = pairing.pending(book, 0)
    assert len(named.name) == len(named.chat_name) == pairing.NAME_CHARACTERS_MAX
    _, approved = approve(book, request.code)
    assert approved is not None
    assert pairing.approved_text(approved, 0).endswith("just now, and is now an admin")
    request = msgspec.structs.replace(approved.request, made_at_ms=90_000)
    later = msgspec.structs.replace(approved, request=request)
    assert " 1 min ago" in pairing.approved_text(later, 150_000)


def test_revoking_one_leaves_the_others() -> None:
    book = AccessBook(
        users=frozenset({ANN, BOB}),
        groups=frozenset({GROUP, CHAT}),
        admins=frozenset({ANN, BOB}),
        names={ANN: "Ann", BOB: "Bob", GROUP: "All"},
    )
    book, request = shown(book, who=OpenId("ou_new"))
    left, _ = pairing.revoke(book, ANN)
    without_ann = AccessBook(
        users=frozenset({BOB}),
        groups=frozenset({GROUP, CHAT}),
        admins=frozenset({BOB}),
        requests=(request,),
        names={BOB: "Bob", GROUP: "All"},
    )
    assert left == without_ann
    left, _ = pairing.revoke(left, GROUP)
    assert left == msgspec.structs.replace(
        without_ann, groups=frozenset({CHAT}), names={BOB: "Bob"}
    )
