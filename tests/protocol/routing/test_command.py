"""Chat commands, stop words, and the session a few letters mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.routing import command
from protocol.routing.command import (
    STOP_WORDS,
    Ambiguous,
    Command,
    Matched,
    Name,
    NoMatch,
    PromptText,
    StopWord,
    match_alias,
    parse,
)


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("/sessions", Command(Name.SESSIONS)),
        ("/ss", Command(Name.SESSIONS)),
        ("/ss api", Command(Name.USE, ("api",))),
        ("/use api", Command(Name.USE, ("api",))),
        ("/use -", Command(Name.USE, ("-",))),
        ("/use", Command(Name.USE)),
        ("/cancel", Command(Name.CANCEL)),
        ("/stop", Command(Name.CANCEL)),
        ("/stop!", Command(Name.CANCEL)),
        ("/cancel api", Command(Name.CANCEL, ("api",))),
        ("/stop api", Command(Name.CANCEL, ("api",))),
        ("/status", Command(Name.STATUS)),
        ("/replymode final", Command(Name.REPLYMODE, ("final",))),
        ("/queue drop 2", Command(Name.QUEUE, ("drop", "2"))),
        ("/help", Command(Name.HELP)),
        ("  /UsE   Api  ", Command(Name.USE, ("Api",))),
        ("@_user_1 /status", Command(Name.STATUS)),
        ("@_user_1\n/use\tapi", Command(Name.USE, ("api",))),
        ("/status @_user_1", Command(Name.STATUS)),
    ],
)
def test_a_command_is_read_whatever_its_case_and_the_mention_before_it(
    text: str, command: Command
) -> None:
    assert parse(text) == command


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("//status", "/status"),
        ("  //status now //x", "  /status now //x"),
        ("@_user_1 //help", "@_user_1 /help"),
    ],
)
def test_two_slashes_are_a_prompt_with_one(text: str, sent: str) -> None:
    assert parse(text) == PromptText(escaped=True)
    assert command.unescaped(text) == sent


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("@larkd /compact now", "/compact now"),
        ("@larkd @larkd\n//status", "//status"),
        ("/compact @larkd", "/compact @larkd"),
        ("@larkd look at /etc", "@larkd look at /etc"),
        ("@larkd", "@larkd"),
        ("@Bob /compact", "@Bob /compact"),
        ("", ""),
    ],
)
def test_nothing_of_the_bot_stands_before_a_command_of_the_agent(text: str, given: str) -> None:
    assert command.addressed(text, ["@larkd"]) == given


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "hello",
        "/deploy now",
        "/",
        "/ status",
        "what does /status do?",
        "/statusx",
        "/abort it",
        "use api",
        "@_user_1",
        "/home/me/file is broken",
    ],
)
def test_all_else_is_a_prompt_also_an_unknown_command(text: str) -> None:
    assert parse(text) == PromptText()


def test_only_the_bots_own_mention_may_stand_before_a_command() -> None:
    bot = {"@_user_1"}
    assert parse("@_user_1 /status", bot_keys=bot) == Command(Name.STATUS)
    assert parse("@_user_2 /status", bot_keys=bot) == PromptText()
    assert parse("@_user_12 /status", bot_keys=bot) == PromptText()
    assert parse("@_user_2 @_user_1 stop", bot_keys=bot) == StopWord()


@pytest.mark.parametrize("word", sorted(STOP_WORDS - {"/stop", "/cancel"}))
@pytest.mark.parametrize("shape", ["{}", " {} ", "{}!", "{}。", "{}！？…", "{} .", "@_user_1 {}"])
def test_a_stop_word_stops(word: str, shape: str) -> None:
    assert parse(shape.format(word)) == StopWord()
    assert parse(shape.format(word.upper())) == StopWord()


def test_the_stop_words_are_the_contracts() -> None:
    page = (
        "stop, abort, cancel, interrupt, halt, please stop, stop please, stop it, 停止, 停下,"
        " 停, 中断, 取消, 暂停, 停一下, 请停止, 别说了, /stop, /abort, /cancel"
    )
    assert set(page.split(", ")) == STOP_WORDS


def test_a_mention_inside_a_stop_word_is_stripped() -> None:
    assert parse("please @_user_1 stop") == StopWord()


@pytest.mark.parametrize(
    "text", ["stop now", "don't stop", "!stop", "停止吧", "stop" + "," * 5000 + "x", "!", "。"]
)
def test_a_sentence_with_a_stop_word_in_it_is_a_prompt(text: str) -> None:
    assert parse(text) == PromptText()


@given(st.text())
def test_any_text_is_one_of_the_three(text: str) -> None:
    assert isinstance(parse(text), StopWord | Command | PromptText)


ALIASES = ["api", "api-tests", "web", "web-admin", "docs"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("api", Matched("api")),
        ("API", Matched("api")),
        ("api-", Matched("api-tests")),
        (" d ", Matched("docs")),
        ("admin", Matched("web-admin")),
        ("we", Ambiguous("we", ("web", "web-admin"))),
        ("s", Ambiguous("s", ("api-tests", "docs"))),
        ("zz", NoMatch("zz")),
        ("", NoMatch("")),
    ],
)
def test_an_alias_is_exact_else_a_unique_prefix_else_a_unique_part(
    query: str, found: Matched | NoMatch | Ambiguous
) -> None:
    assert match_alias(query, ALIASES) == found


def test_a_prefix_goes_before_parts_of_other_names() -> None:
    assert match_alias("te", ["latest", "team"]) == Matched("team")


def test_a_name_both_live_and_remembered_is_one() -> None:
    assert match_alias("a", ["api", "api"]) == Matched("api")
