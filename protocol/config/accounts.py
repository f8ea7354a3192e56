"""The Feishu apps of a configuration: options overlaid, secrets resolved, each one once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from protocol.config import keys
from protocol.config.checks import CheckFailed, Problems, join
from protocol.config.secret_sources import SecretSource
from protocol.config.settings import AccountSettings, Secret, Tuning
from protocol.ids import AccountId
from protocol.routing.access import GroupRule, Policy

DEFAULT_ACCOUNT: Final = "default"


class Accounts:
    """Collects the accounts of all channels."""

    def __init__(
        self,
        env: Mapping[str, str],
        read_file: Callable[[str], str],
        overrides: Mapping[str, Any],
        problems: Problems,
    ) -> None:
        self._env = env
        self._read_file = read_file
        self._overrides = {keys.ACCOUNT_ENV[name]: value for name, value in overrides.items()}
        self._problems = problems
        self._paths: dict[str, str] = {}
        self.topic_agents: dict[str, str] = {}
        """Path → the agent it names; whether there is one is checked by the reader of all."""
        self.found: dict[str, AccountSettings] = {}

    def read_channel(self, options: Mapping[str, Any], path: str) -> None:
        named: Mapping[str, Any] = options.get("accounts") or {}
        shared = {key: value for key, value in options.items() if key != "accounts"}
        if not named:
            self._add(DEFAULT_ACCOUNT, shared, (path,))
        for name, own in named.items():
            here = join(f"{path}.accounts", name)
            self._add(name, keys.overlay(shared, own), (here, path))

    def check_env_is_for_one(self) -> None:
        """The environment has one set of credentials; two accounts can't share it."""
        if len(self._paths) > 1 and self._overrides:
            names = ", ".join(n for n, key in keys.ACCOUNT_ENV.items() if key in self._overrides)
            several = ", ".join(self._paths)
            self._problems.add(
                CheckFailed(names, f"for a single account only, here are {several}; unset it")
            )

    def _add(self, name: str, options: dict[str, Any], paths: tuple[str, ...]) -> None:
        """Add one account; *paths* are where its keys may stand, its own first."""
        if name in self._paths:
            what = f"there is an account {name} at {self._paths[name]}; give it another name"
            self._problems.add(CheckFailed(paths[0], what))
            return
        self._paths[name] = paths[0]
        options = options | self._overrides
        app_id: str | None = self._required(options, "appId", paths)
        source: SecretSource | None = self._required(options, "appSecret", paths)
        secret = None if source is None else self._resolve(source)
        for other in self.found.values():
            if other.app_id == app_id:
                what = f"is the app of account {other.account_id} too; an app has one account"
                self._problems.add(CheckFailed(join(paths[0], "appId"), what))
        if app_id is not None and secret is not None:
            self.found[name] = _account(name, app_id, secret, options)
        if "topicAgent" in options:
            self.topic_agents[join(paths[0], "topicAgent")] = options["topicAgent"]

    def _required(self, options: Mapping[str, Any], key: str, paths: tuple[str, ...]) -> Any:
        if key in options:
            return options[key]
        variable = next(name for name, of in keys.ACCOUNT_ENV.items() if of == key)
        where, hint = variable, "set it"
        if paths[0]:
            where, hint = join(paths[0], key), f"write it there, or set {variable}"
        # A value that is there and wrong was reported already.
        if not any(self._problems.has(at) for at in (variable, *(join(p, key) for p in paths))):
            self._problems.add(CheckFailed(where, f"is missing; {hint}"))
        return None

    def _resolve(self, source: SecretSource) -> Secret | None:
        try:
            return Secret(source.resolve(self._env, self._read_file))
        except CheckFailed as problem:
            self._problems.add(problem)
            return None


def _account(name: str, app_id: str, secret: Secret, options: Mapping[str, Any]) -> AccountSettings:
    chosen = {key: options[key] for key in keys.POLICY_KEYS if key in options}
    groups = {
        chat_id: GroupRule(**keys.in_snake_case(rule))
        for chat_id, rule in chosen.pop("groups", {}).items()
    }
    return AccountSettings(
        account_id=AccountId(name),
        app_id=app_id,
        app_secret=secret,
        base_url=options.get("domain", keys.FEISHU_URL),
        reply_mode=options.get("replyMode", "auto"),
        group_reply_mode=options.get("groupReplyMode"),
        topic_sessions=options.get("topicSessions", False),
        topic_agent=options.get("topicAgent"),
        policy=Policy(**keys.in_snake_case(chosen), groups=groups),
        tuning=Tuning(**keys.in_snake_case(options.get("tuning", {}))),
    )
