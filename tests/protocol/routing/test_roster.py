"""Sessions people know by name: who is listed, who is found, who is forgotten."""

from __future__ import annotations

import pytest

from protocol.ids import SessionId
from protocol.routing import roster
from protocol.routing.roster import REMEMBERED_MAX, REMEMBERED_MS, KnownSession, SessionView
from protocol.strings import Text, in_chat


def known(name: str, *, seen: int = 0, alias: str | None = None, **more: str) -> KnownSession:
    return KnownSession(session_id=SessionId(name), alias=alias or name, seen_at_ms=seen, **more)  # type: ignore[arg-type]


def view(
    name: str, *, live: bool = True, alias: str | None = None, marked: bool = False
) -> SessionView:
    session = known(name, alias=alias, agent="codex", cwd="/w")
    return SessionView(session=session, live=live, marked=marked)


@pytest.mark.parametrize(
    ("word", "mode"),
    [
        ("verbose", "verbose"),
        ("stream", "stream"),
        ("final", "final"),
        ("Final", None),
        (None, None),
    ],
)
def test_a_reply_mode_is_named_by_its_word(word: str | None, mode: str | None) -> None:
    assert roster.reply_mode(word) == mode


def test_what_a_session_stated_is_remembered() -> None:
    assert roster.remembered({"agent": "codex", "cwd": "/w", "x": "y"}) == ("codex", "/w")
    assert roster.remembered({}) == ("", "")


# ── who is forgotten ──


def test_who_was_away_for_long_is_forgotten_and_who_is_here_never() -> None:
    now = REMEMBERED_MS + 1_000
    sessions = [known("old", seen=999), known("edge", seen=1_000), known("here", seen=0)]
    assert roster.forgotten(sessions, [SessionId("here")], now) == ["old"]


def test_the_latest_seen_are_remembered() -> None:
    sessions = [known(str(number), seen=number) for number in range(REMEMBERED_MAX + 2)]
    assert roster.forgotten(sessions, [], REMEMBERED_MAX) == ["1", "0"]
    here = [SessionId("5"), SessionId("6")]
    assert roster.forgotten(sessions, here, REMEMBERED_MAX) == [], "they take no place"


# ── who is listed ──


def test_who_is_away_is_left_out_where_a_live_one_has_the_name() -> None:
    gone = view("old", live=False, alias="api")
    other_gone = view("other", live=False)
    here = view("new", alias="api")
    assert roster.visible([gone, other_gone, here]) == [here, other_gone]


def test_the_list_shows_what_each_is() -> None:
    shown = [view("api", marked=True), view("web"), view("doc", live=False)]
    listed = roster.listing(shown, SessionId("web"))
    head = in_chat.SESSIONS.en
    assert listed.en == (
        f"{head}\n- ● api (codex @ /w)\n- web (codex @ /w){in_chat.SESSION_CURRENT.en}"
        f"\n- doc (codex @ /w){in_chat.SESSION_OFFLINE.en}"
    )
    assert in_chat.SESSION_OFFLINE.zh in listed.zh
    assert listed.zh.startswith(in_chat.SESSIONS.zh)


def test_a_session_that_stated_nothing_is_listed_all_the_same() -> None:
    bare = SessionView(session=known("api"), live=True)
    assert roster.listing([bare], None).en.endswith("\n- api (? @ ?)")


def test_what_a_session_stated_is_quoted() -> None:
    session = known("api", agent="<at id=all>", cwd="/w\n- boss (x @ y)")
    (_, line) = roster.listing([SessionView(session=session, live=True)], None).en.splitlines()
    assert "<at" not in line


def test_nobody_is_shown_there() -> None:
    assert roster.listing([], None) == in_chat.NO_SESSIONS


# ── who is found ──


def test_a_session_is_found_by_its_alias() -> None:
    api, web = view("api"), view("web")
    assert roster.find("web", [api, web]) is web
    assert roster.find("we", [api, web]) is web


def test_a_word_that_means_nobody_is_answered_so() -> None:
    assert roster.find("zzz", [view("api")]) == in_chat.SESSION_UNKNOWN.format(query="zzz")


def test_a_word_that_means_several_names_them() -> None:
    answer = roster.find("api", [view("api-1"), view("api-2"), view("web")])
    assert isinstance(answer, Text)
    several = in_chat.SESSION_AMBIGUOUS.format(query="api")
    assert answer.en == several.en + "\n• api-1\n• api-2"
    assert answer.zh == several.zh + "\n• api-1\n• api-2"
