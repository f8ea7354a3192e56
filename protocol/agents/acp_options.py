"""What an ACP agent lets people change and call: its modes, models, options and commands.

Agents of different ages offer modes and models apart, or everything as ``configOptions``;
where both are there, the options hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from protocol import foreign
from protocol.wire import messages as wire
from protocol.wire import vocabulary

_CATEGORIES: Final[Mapping[str, vocabulary.OptionKind]] = {
    "mode": "mode",
    "model": "model",
    "thought_level": "effort",
    "effort": "effort",
    "reasoning_effort": "effort",
}
COMMANDS_MAX: Final = 100
CHOICES_MAX: Final = 200


class AgentOptions:
    """The latest of what one agent session offers."""

    def __init__(self) -> None:
        self._config: list[wire.Option] = []
        self._mode: wire.Option | None = None
        self._model: wire.Option | None = None
        self._commands: list[wire.SlashCommand] = []

    def take_session(self, result: Mapping[str, Any]) -> None:
        """Read the answer that opened a session, or that changed one of its options."""
        if isinstance(result.get("configOptions"), list):
            self._config = list(_config_options(result["configOptions"]))
        modes, models = result.get("modes"), result.get("models")
        if isinstance(modes, Mapping):
            self._mode = _apart(modes, "mode", "Mode", "currentModeId", "availableModes", "id")
        if isinstance(models, Mapping):
            self._model = _apart(
                models, "model", "Model", "currentModelId", "availableModels", "modelId"
            )

    def take_update(self, update: Mapping[str, Any]) -> bool:
        """Read a ``session/update``; return whether it changed what is offered."""
        match update.get("sessionUpdate"):
            case "available_commands_update":
                self._commands = list(_commands(update.get("availableCommands")))
            case "current_mode_update":
                return self._entered(foreign.text(update, "currentModeId"))
            case "config_option_update":
                self.take_session(update)
            case _:
                return False
        return True

    def _entered(self, mode: str) -> bool:
        """The agent is in a mode now; return whether that is one it offers.

        Some report that so and offer the mode among their options, which holds then.
        """
        options = [one for one in (self._mode, *self._config) if one is not None]
        if not any(one.kind == "mode" and _offers(one, mode) for one in options):
            return False
        if self._mode is not None and _offers(self._mode, mode):
            self._mode = _with_value(self._mode, mode)
        self._config = [
            _with_value(one, mode) if one.kind == "mode" and _offers(one, mode) else one
            for one in self._config
        ]
        return True

    def chose(self, option_id: str, choice: str) -> None:
        """It was set: until the agent reports, this is what holds."""
        if self._mode is not None and not self._config and option_id == "mode":
            self._mode = _with_value(self._mode, choice)
        elif self._model is not None and not self._config and option_id == "model":
            self._model = _with_value(self._model, choice)
        self._config = [
            _with_value(one, choice) if one.id == option_id else one for one in self._config
        ]

    def offer(self) -> wire.OptionsOffer:
        kinds = {one.kind for one in self._config}
        apart = [
            one
            for one in (self._mode, self._model)
            if one is not None and one.kind not in kinds and one.choices
        ]
        return wire.OptionsOffer(options=[*self._config, *apart], commands=self._commands)

    def request(self, session_id: str, option_id: str, choice: str) -> tuple[str, dict[str, str]]:
        """Return the method and parameters that set it.

        Raises:
            ValueError: nothing of that name is offered.
        """
        offered = {one.id: one for one in self.offer().options}
        option = offered.get(option_id)
        if option is None or all(one.id != choice for one in option.choices):
            raise ValueError(f"no such choice: {option_id} {choice}"[:200])
        if any(one.id == option_id for one in self._config):
            return "session/set_config_option", {
                "sessionId": session_id,
                "configId": option_id,
                "value": choice,
            }
        if option_id == "mode":
            return "session/set_mode", {"sessionId": session_id, "modeId": choice}
        return "session/set_model", {"sessionId": session_id, "modelId": choice}


def _offers(option: wire.Option, choice: str) -> bool:
    return any(one.id == choice for one in option.choices)


def _with_value(option: wire.Option, value: str) -> wire.Option:
    return wire.Option(
        id=option.id, name=option.name, kind=option.kind, value=value, choices=option.choices
    )


def _apart(  # where each kind has its fields
    reported: Mapping[str, Any],
    kind: vocabulary.OptionKind,
    name: str,
    current: str,
    available: str,
    identity: str,
) -> wire.Option:
    return wire.Option(
        id=kind,
        name=name,
        kind=kind,
        value=foreign.text(reported, current),
        choices=list(_choices(reported.get(available), identity)),
    )


def _config_options(listed: list[Any]) -> Iterator[wire.Option]:
    for one in foreign.mappings(listed):
        if not foreign.text(one, "id"):
            continue
        choices = list(_choices(one.get("options"), "value"))
        value = foreign.text(one, "currentValue")
        if not choices or not value:
            continue
        category = foreign.text(one, "category") or foreign.text(one, "id")
        yield wire.Option(
            id=foreign.text(one, "id"),
            name=foreign.text(one, "name") or foreign.text(one, "id"),
            kind=_CATEGORIES.get(category, "other"),
            value=value,
            choices=choices,
        )


def _choices(listed: object, identity: str) -> Iterator[wire.Choice]:
    for one in foreign.mappings(listed)[:CHOICES_MAX]:
        if isinstance(one.get("options"), list):  # a group of them
            yield from _choices(one["options"], identity)
        elif foreign.text(one, identity):
            yield wire.Choice(
                id=foreign.text(one, identity),
                name=foreign.text(one, "name") or foreign.text(one, identity),
                description=foreign.text(one, "description") or None,
            )


def _commands(listed: object) -> Iterator[wire.SlashCommand]:
    for one in foreign.mappings(listed)[:COMMANDS_MAX]:
        if foreign.text(one, "name"):
            yield wire.SlashCommand(
                name=foreign.text(one, "name"),
                description=foreign.text(one, "description") or None,
                hint=foreign.text(foreign.mapping(one.get("input")), "hint") or None,
            )
