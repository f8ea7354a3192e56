"""What an agent lets people choose, of whatever age the agent is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.agents.acp_options import CHOICES_MAX, COMMANDS_MAX, AgentOptions
from protocol.wire import messages as wire
from tests.kit.json_values import json_values

MODES = {
    "currentModeId": "ask",
    "availableModes": [
        {"id": "ask", "name": "Ask", "description": "Asks first"},
        {"id": "code"},
        {"name": "without an id"},
        "odd",
    ],
}
MODELS = {
    "currentModelId": "small",
    "availableModels": [{"modelId": "small", "name": "Small"}, {"modelId": "large"}],
}


def config(**fields: Any) -> dict[str, Any]:
    return {
        "id": "m",
        "name": "Permission mode",
        "category": "mode",
        "currentValue": "a",
        "options": [{"value": "a", "name": "A"}, {"value": "b"}],
        **fields,
    }


def offered(*sessions: dict[str, Any]) -> list[wire.Option]:
    options = AgentOptions()
    for session in sessions:
        options.take_session(session)
    return options.offer().options


def values(options: AgentOptions) -> dict[str, str | None]:
    return {one.id: one.value for one in options.offer().options}


def test_nothing_is_offered_before_the_agent_reports() -> None:
    assert AgentOptions().offer() == wire.OptionsOffer(options=[], commands=[])


def test_modes_and_models_of_older_agents() -> None:
    assert offered({"modes": MODES, "models": MODELS}) == [
        wire.Option(
            id="mode",
            name="Mode",
            kind="mode",
            value="ask",
            choices=[
                wire.Choice(id="ask", name="Ask", description="Asks first"),
                wire.Choice(id="code", name="code"),
            ],
        ),
        wire.Option(
            id="model",
            name="Model",
            kind="model",
            value="small",
            choices=[
                wire.Choice(id="small", name="Small"),
                wire.Choice(id="large", name="large"),
            ],
        ),
    ]


def test_options_of_newer_agents() -> None:
    assert offered({"configOptions": [config()]}) == [
        wire.Option(
            id="m",
            name="Permission mode",
            kind="mode",
            value="a",
            choices=[wire.Choice(id="a", name="A"), wire.Choice(id="b", name="b")],
        )
    ]


def test_where_both_are_there_the_options_hold_by_kind() -> None:
    both = offered({"modes": MODES, "models": MODELS, "configOptions": [config()]})
    assert [(one.id, one.kind) for one in both] == [("m", "mode"), ("model", "model")]


@pytest.mark.parametrize(
    ("category", "kind"),
    [
        ("mode", "mode"),
        ("model", "model"),
        ("thought_level", "effort"),
        ("effort", "effort"),
        ("reasoning_effort", "effort"),
        ("of a later version", "other"),
    ],
)
def test_the_kind_is_its_category_or_else_its_id(category: str, kind: str) -> None:
    (by_category,) = offered({"configOptions": [config(id="x", category=category)]})
    (by_id,) = offered({"configOptions": [config(id=category, category=None)]})
    assert (by_category.kind, by_id.kind) == (kind, kind)


def test_choices_may_come_in_groups() -> None:
    grouped = config(
        options=[{"name": "Fast", "options": [{"value": "a"}]}, {"value": "b"}, "odd", {}]
    )
    (option,) = offered({"configOptions": [grouped]})
    assert [one.id for one in option.choices] == ["a", "b"]


@pytest.mark.parametrize(
    "odd",
    [
        "odd",
        config(id=""),
        config(options=[]),
        config(options="odd"),
        config(currentValue=""),
        config(currentValue=True),
    ],
)
def test_an_option_nobody_can_choose_of_is_left_out(odd: object) -> None:
    assert [one.id for one in offered({"configOptions": [odd, config(id="good")]})] == ["good"]


def test_an_option_without_a_name_shows_its_id() -> None:
    (option,) = offered({"configOptions": [config(name=None)]})
    assert option.name == "m"


def test_modes_without_a_choice_are_not_offered() -> None:
    assert offered({"modes": {"currentModeId": "a", "availableModes": []}}) == []


def test_an_answer_without_options_leaves_them() -> None:
    kept = offered({"configOptions": [config()], "modes": MODES}, {"modes": "odd", "models": None})
    assert [one.id for one in kept] == ["m"]


def test_choices_and_commands_are_bounded() -> None:
    many = [{"value": str(number)} for number in range(CHOICES_MAX + 1)]
    (option,) = offered({"configOptions": [config(options=many)]})
    assert len(option.choices) == CHOICES_MAX

    options = AgentOptions()
    named = [{"name": str(number)} for number in range(COMMANDS_MAX + 1)]
    options.take_update({"sessionUpdate": "available_commands_update", "availableCommands": named})
    assert len(options.offer().commands) == COMMANDS_MAX


def test_commands_with_and_without_their_hint() -> None:
    options = AgentOptions()
    changed = options.take_update(
        {
            "sessionUpdate": "available_commands_update",
            "availableCommands": [
                {"name": "review", "description": "Reviews", "input": {"hint": "branch"}},
                {"name": "plain", "input": {"hint": ""}},
                {"name": "odd", "input": "odd", "description": 3},
                {"description": "without a name"},
                "odd",
            ],
        }
    )
    assert changed
    assert options.offer().commands == [
        wire.SlashCommand(name="review", description="Reviews", hint="branch"),
        wire.SlashCommand(name="plain"),
        wire.SlashCommand(name="odd"),
    ]
    assert options.take_update({"sessionUpdate": "available_commands_update"})
    assert options.offer().commands == []


# ── what holds now ──


def test_the_agent_changes_its_mode_itself() -> None:
    options = AgentOptions()
    update = {"sessionUpdate": "current_mode_update", "currentModeId": "code"}
    assert not options.take_update(update)
    options.take_session({"modes": MODES})
    assert options.take_update(update)
    assert values(options) == {"mode": "code"}


def test_a_mode_among_the_options_is_the_one_that_the_agent_is_in() -> None:
    """Some send ``current_mode_update`` though they offer their modes as an option."""
    options = AgentOptions()
    modes = [{"value": "ask", "name": "Ask"}, {"value": "code", "name": "Code"}]
    mode = {"id": "m", "name": "Mode", "category": "mode", "currentValue": "ask", "options": modes}
    model = config(id="n", category="model", options=[{"value": "a"}, {"value": "code"}])
    options.take_session({"modes": MODES, "configOptions": [mode, model]})
    before = options.offer().options
    assert options.take_update({"sessionUpdate": "current_mode_update", "currentModeId": "code"})
    assert options.offer().options == [
        msgspec.structs.replace(before[0], value="code"),
        before[1],
    ]
    odd = {"sessionUpdate": "current_mode_update", "currentModeId": "odd"}
    assert not options.take_update(odd)
    assert values(options) == {"m": "code", "n": "a"}


def test_the_agent_changes_its_options_itself() -> None:
    options = AgentOptions()
    options.take_session({"configOptions": [config()]})
    assert options.take_update(
        {"sessionUpdate": "config_option_update", "configOptions": [config(currentValue="b")]}
    )
    assert values(options) == {"m": "b"}


def test_other_updates_change_nothing() -> None:
    assert not AgentOptions().take_update({"sessionUpdate": "agent_message_chunk"})
    assert not AgentOptions().take_update({})


def test_what_was_chosen_holds_until_the_agent_reports() -> None:
    apart = AgentOptions()
    apart.take_session({"modes": MODES, "models": MODELS})
    apart.chose("mode", "code")
    apart.chose("model", "large")
    apart.chose("effort", "high")
    assert values(apart) == {"mode": "code", "model": "large"}

    options = AgentOptions()
    options.take_session({"configOptions": [config(), config(id="n")]})
    options.chose("n", "b")
    assert values(options) == {"m": "a", "n": "b"}


@pytest.mark.parametrize(
    ("option_id", "choice", "method", "params"),
    [
        ("mode", "code", "session/set_mode", {"sessionId": "s", "modeId": "code"}),
        ("model", "large", "session/set_model", {"sessionId": "s", "modelId": "large"}),
        (
            "e",
            "b",
            "session/set_config_option",
            {"sessionId": "s", "configId": "e", "value": "b"},
        ),
    ],
)
def test_how_a_choice_is_set(
    option_id: str, choice: str, method: str, params: dict[str, str]
) -> None:
    options = AgentOptions()
    options.take_session(
        {
            "modes": MODES,
            "models": MODELS,
            "configOptions": [config(id="e", category="effort")],
        }
    )
    assert options.request("s", option_id, choice) == (method, params)


def test_an_option_named_mode_is_set_as_an_option() -> None:
    options = AgentOptions()
    options.take_session({"modes": MODES, "configOptions": [config(id="mode")]})
    method, params = options.request("s", "mode", "b")
    assert method == "session/set_config_option"
    assert params == {"sessionId": "s", "configId": "mode", "value": "b"}


@pytest.mark.parametrize(("option_id", "choice"), [("mode", "no"), ("no", "ask"), ("", "")])
def test_only_what_is_offered_can_be_set(option_id: str, choice: str) -> None:
    options = AgentOptions()
    options.take_session({"modes": MODES})
    with pytest.raises(ValueError, match=f"^no such choice: {option_id} {choice}$"):
        options.request("s", option_id, choice)


def test_a_refusal_of_a_choice_is_short() -> None:
    with pytest.raises(ValueError, match="no such choice") as refused:
        AgentOptions().request("s", "x" * 300, "y")
    assert len(str(refused.value)) == 200


ODD = json_values("id", "name", "options", "value", "currentValue", "modelId", "input")


@given(st.dictionaries(st.sampled_from(["configOptions", "modes", "models"]), ODD), ODD)
def test_odd_reports_never_raise(session: dict[str, Any], listed: object) -> None:
    options = AgentOptions()
    options.take_session(session)
    options.take_update({"sessionUpdate": "available_commands_update", "availableCommands": listed})
    for option in options.offer().options:
        assert option.choices
