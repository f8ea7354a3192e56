"""What an agent offers is found by kind and word, and shown as text of somebody else's."""

from __future__ import annotations

import pytest

from protocol.routing import choosing
from protocol.strings import about_agents
from protocol.wire.messages import Choice, Option, OptionsOffer, SlashCommand
from protocol.wire.vocabulary import OptionKind

ASK = Choice(id="ask", name="Ask first")
CODE = Choice(id="code", name="Code", description="Edits files")
MODE = Option(id="m", name="Mode", kind="mode", value="ask", choices=[ASK, CODE])


def test_an_option_is_found_by_kind() -> None:
    empty = Option(id="e", name="Model", kind="model", value="", choices=[])
    offer = OptionsOffer(options=[empty, MODE], commands=[])
    assert choosing.option_of(offer, "mode") is MODE
    assert choosing.option_of(offer, "model") is None, "there is nothing to choose"
    assert choosing.option_of(offer, "effort") is None
    assert choosing.option_of(None, "mode") is None


@pytest.mark.parametrize(
    ("word", "choice"),
    [
        ("ask", ASK),
        (" ASK ", ASK),
        ("ask first", ASK),
        ("CODE", CODE),
        ("as", None),
        ("", None),
    ],
)
def test_a_choice_is_named_by_id_or_name_in_any_case(word: str, choice: Choice | None) -> None:
    assert choosing.choice_of(MODE, word) == choice


def test_an_id_comes_before_a_name() -> None:
    named_so = Choice(id="x", name="code")
    option = Option(id="m", name="M", kind="mode", value="x", choices=[named_so, CODE])
    assert choosing.choice_of(option, "code") is CODE


@pytest.mark.parametrize(
    "choice",
    [
        Choice(id="bypassPermissions", name="Bypass"),
        Choice(id="yolo", name="Y"),
        Choice(id="x", name="YOLO mode"),
        Choice(id="full-access", name="F"),
        Choice(id="x", name="Full Access"),
        Choice(id="dontAsk", name="D"),
        Choice(id="x", name="Don't ask"),
        Choice(id="never_ask", name="N"),
        Choice(id="auto", name="Auto", description="Runs without any approval"),
        Choice(id="auto", name="Auto", description="Skips all permission prompts"),
        Choice(id="auto", name="Auto", description="Never waits for your confirmation"),
    ],
)
def test_a_choice_that_asks_nobody_is_known(choice: Choice) -> None:
    assert choosing.skips_approvals(choice)


@pytest.mark.parametrize(
    "choice",
    [
        ASK,
        CODE,
        Choice(id="plan", name="Plan", description="Asks for permission before each edit"),
        Choice(id="fast", name="Fast", description="No frills"),
    ],
)
def test_a_choice_that_asks_is_for_everybody(choice: Choice) -> None:
    assert not choosing.skips_approvals(choice)


@pytest.mark.parametrize("kind", ["mode", "model", "effort"])
def test_what_holds_is_shown_by_its_name(kind: OptionKind) -> None:
    shown = choosing.current(MODE, kind)
    assert shown == choosing.NAMES[kind].format(value="Ask first")
    unknown = Option(id="m", name="M", kind=kind, value="later", choices=[ASK])
    assert choosing.current(unknown, kind) == choosing.NAMES[kind].format(value="later")


def test_what_holds_is_quoted_as_the_place_wants_it() -> None:
    hostile = Option(id="m", name="M", kind="mode", value="<at id=all>", choices=[ASK])
    assert "<at" not in choosing.current(hostile, "mode").en
    assert "HELD" in choosing.current(hostile, "mode", lambda _text: "HELD").en


def test_commands_are_listed_with_hint_and_description() -> None:
    offer = OptionsOffer(
        options=[],
        commands=[
            SlashCommand(name="review", description="Reviews", hint="branch"),
            SlashCommand(name="clear"),
        ],
    )
    shown = choosing.commands(offer, "api")
    head = about_agents.AGENT_COMMANDS.format(alias="api")
    assert shown.en == head.en + "\n/review branch – Reviews\n/clear"
    assert shown.zh == head.zh + "\n/review branch – Reviews\n/clear"


def test_commands_of_others_are_quoted_and_short() -> None:
    offer = OptionsOffer(
        options=[],
        commands=[SlashCommand(name="n" * 99, description="d\n" * 500, hint="<at id=all>" * 30)],
    )
    head = about_agents.AGENT_COMMANDS.format(alias="api").en
    (line,) = choosing.commands(offer, "api").en.removeprefix(head).strip().splitlines()
    assert "<at" not in line
    assert len(line) < 400


@pytest.mark.parametrize("offer", [None, OptionsOffer(options=[], commands=[])])
def test_an_agent_without_commands_is_named_so(offer: OptionsOffer | None) -> None:
    assert choosing.commands(offer, "api") == about_agents.NO_AGENT_COMMANDS.format(alias="api")
