"""The configuration: what is read, and how every mistake in it is reported at once."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config.keys import OPTIONS, TUNING
from protocol.config.reading import read_settings, sandbox_configuration
from protocol.config.secret_sources import SecretSource
from protocol.config.settings import AccountSettings, Listen, Secret, Settings, Tuning
from protocol.errors import ConfigurationError
from protocol.routing.access import GroupRule, Policy
from tests.kit.json_values import json_values

HIDDEN = "hunter2secretvalue"
CREDENTIALS: dict[str, Any] = {"appId": "cli_a000000000000000", "appSecret": HIDDEN}


def no_files(_path: str) -> str:
    raise FileNotFoundError(2, "No such file or directory")


def read(raw: Mapping[str, Any], env: Mapping[str, str] | None = None, **more: Any) -> Settings:
    return read_settings(raw, env or {}, more.pop("read_file", no_files), **more)


def with_options(**options: Any) -> dict[str, Any]:
    return {"channels": [{"id": "f", "type": "feishu", "options": {**CREDENTIALS, **options}}]}


def problems(
    raw: Mapping[str, Any], env: Mapping[str, str] | None = None, **more: Any
) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        read(raw, env, **more)
    assert HIDDEN not in str(caught.value)
    return caught.value.problems


def the_account(settings: Settings) -> AccountSettings:
    (account,) = settings.accounts
    return account


# ── what is read ────────────────────────────────────────────────────────────


def test_the_least_configuration_has_the_contracts_defaults() -> None:
    assert read(with_options()) == Settings(
        language="en",
        listen=Listen(host="127.0.0.1", port=7345),
        reply_mode="verbose",
        accounts=(
            AccountSettings(
                account_id="default",  # type: ignore[arg-type]  # spelled out for the reader
                app_id="cli_a000000000000000",
                app_secret=Secret(HIDDEN),
                base_url="https://open.feishu.cn",
                reply_mode="auto",
                policy=Policy(dm_policy="pairing", group_policy="allowlist", require_mention=True),
                tuning=Tuning(
                    shutdown_deadline_ms=5000,
                    image_resolve_timeout_ms=3000,
                    image_max_bytes=5242880,
                    cancel_deadline_ms=10000,
                    permission_notify_cooldown_ms=300000,
                    monthly_call_budget=None,
                ),
            ),
        ),
    )


def test_every_key_of_the_page_reaches_its_field() -> None:
    settings = read(
        {
            "language": "zh",
            "listen": {"host": "::1", "port": 0},
            "channel": {"replyMode": "final"},
            "channels": [
                {
                    "id": "feishu",
                    "type": "feishu",
                    "enabled": True,
                    "options": {
                        **CREDENTIALS,
                        "domain": "lark",
                        "replyMode": "static",
                        "requireMention": False,
                        "dmPolicy": "open",
                        "groupPolicy": "follow-user",
                        "allowFrom": ["ou_1"],
                        "admins": ["ou_2"],
                        "groups": {"oc_1": {"requireMention": True, "allowFrom": ["ou_3"]}},
                        "tuning": dict.fromkeys(TUNING, 7) | {"probeLimits": False},
                    },
                }
            ],
        }
    )
    account = the_account(settings)
    assert (settings.language, settings.reply_mode) == ("zh", "final")
    assert settings.listen == Listen(host="::1", port=0)
    assert (account.base_url, account.reply_mode) == ("https://open.larksuite.com", "static")
    assert account.policy == Policy(
        dm_policy="open",
        group_policy="follow-user",
        require_mention=False,
        allow_from=frozenset({"ou_1"}),  # type: ignore[arg-type]  # plain strings read better
        admins=frozenset({"ou_2"}),  # type: ignore[arg-type]  # plain strings read better
        groups={
            "oc_1": GroupRule(require_mention=True, allow_from=frozenset({"ou_3"}))  # type: ignore[dict-item, arg-type]  # plain strings read better
        },
    )
    assert account.tuning == Tuning(
        **dict.fromkeys(Tuning.__struct_fields__, 7) | {"probe_limits": False}  # type: ignore[arg-type]  # one value for all others
    )


def test_an_account_takes_the_options_overlaid_by_its_own() -> None:
    settings = read(
        with_options(
            replyMode="streaming",
            allowFrom=["ou_shared"],
            tuning={"cancelDeadlineMs": 1, "monthlyCallBudget": 5},
            groups={"oc_a": {}, "oc_b": {}},
            accounts={
                "main": {"appId": "cli_0000000000000001"},
                "legacy": {
                    "appId": "cli_0000000000000002",
                    "appSecret": "other",
                    "replyMode": "static",
                    "allowFrom": [],
                    "tuning": {"monthlyCallBudget": None},
                    "groups": {"oc_b": {"requireMention": False}},
                },
            },
        )
    )
    main, legacy = settings.accounts
    assert (main.account_id, main.app_id, main.app_secret) == (
        "main",
        "cli_0000000000000001",
        Secret(HIDDEN),
    )
    assert (main.reply_mode, main.policy.allow_from) == (
        "streaming",
        frozenset({"ou_shared"}),
    )
    assert (legacy.account_id, legacy.app_secret) == ("legacy", Secret("other"))
    assert (legacy.reply_mode, legacy.policy.allow_from) == ("static", frozenset())
    assert legacy.tuning == Tuning(cancel_deadline_ms=1, monthly_call_budget=None)
    assert main.tuning.monthly_call_budget == 5
    assert list(legacy.policy.groups) == ["oc_a", "oc_b"]
    assert legacy.policy.groups["oc_b"].require_mention is False  # type: ignore[index]  # plain string


def test_a_channel_that_is_off_is_checked_but_not_started() -> None:
    raw = with_options()
    raw["channels"].append(
        {"id": "g", "enabled": False, "options": {"appId": "cli_b000000000000000"}}
    )
    assert the_account(read(raw)).app_id == "cli_a000000000000000"
    raw["channels"][1]["options"]["dmPolicy"] = "opne"
    assert problems(raw) == (
        (
            "channels[1].options.dmPolicy: is a string;"
            " allowed: pairing, allowlist, open, disabled; did you mean open?"
        ),
    )


@pytest.mark.parametrize(
    ("domain", "base_url"),
    [
        ("feishu", "https://open.feishu.cn"),
        ("lark", "https://open.larksuite.com"),
        ("https://open.example.com/", "https://open.example.com"),
        ("https://open.example.com:8443", "https://open.example.com:8443"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("http://localhost:9000/", "http://localhost:9000"),
        ("http://[::1]:9000", "http://[::1]:9000"),
    ],
)
def test_the_domain_is_a_name_or_an_origin(domain: str, base_url: str) -> None:
    assert the_account(read(with_options(domain=domain))).base_url == base_url


@pytest.mark.parametrize(
    ("domain", "wanted"),
    [
        ("http://open.example.com", "write https://"),
        ("http://127.0.0.1.example.com", "write https://"),
        ("https://user:pw@open.example.com", "more than scheme, host and port"),
        ("https://open.example.com/open-apis", "more than scheme, host and port"),
        ("https://open.example.com?x=1", "more than scheme, host and port"),
        ("ftp://open.example.com", "no http or https URL"),
        ("https://", "no http or https URL"),
        ("https://h:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("open.feishu.cn", "allowed: feishu, lark, or a base URL"),
        (3, "is an integer"),
    ],
)
def test_any_other_domain_is_refused_with_what_is_allowed(domain: object, wanted: str) -> None:
    (problem,) = problems(with_options(domain=domain))
    assert problem.startswith("channels[0].options.domain: ")
    assert wanted in problem


# ── secrets ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "form", [HIDDEN, {"env": "MY_SECRET"}, {"file": "~/secret"}], ids=["text", "env", "file"]
)
def test_the_secret_is_text_or_comes_from_the_environment_or_a_file(form: object) -> None:
    settings = read(
        with_options(appSecret=form),
        {"MY_SECRET": HIDDEN},
        read_file={"~/secret": HIDDEN + "\n"}.__getitem__,
    )
    assert the_account(settings).app_secret.reveal() == HIDDEN


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ({"env": "NOPE"}, ".env: the environment has no NOPE; export it"),
        ({"file": "gone"}, ".file: can't read gone: No such file or directory"),
        ({"env": "A", "file": "b"}, ": is a map with 2 of env, file; allowed: exactly one"),
        ({}, ": is a map with 0 of env, file; allowed: exactly one"),
        ("  ", ': is a string; allowed: a string, {"env": "NAME"} or {"file": "path"}'),
        ("two words", ": is not one word of text; it holds the app secret alone"),
        (12, ': is an integer; allowed: a string, {"env": "NAME"} or {"file": "path"}'),
        (None, ': is null; allowed: a string, {"env": "NAME"} or {"file": "path"}'),
    ],
)
def test_a_secret_that_is_not_there_names_where_it_was_looked_for(form: object, line: str) -> None:
    assert problems(with_options(appSecret=form)) == ("channels[0].options.appSecret" + line,)


@pytest.mark.parametrize(
    ("failure", "wanted"),
    [
        (PermissionError(13, "Permission denied"), "can't read f: Permission denied"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"), "can't read f: not a text file"),
        (None, "f is empty; write the app secret into it"),
    ],
)
def test_a_secret_file_that_can_not_be_read(failure: Exception | None, wanted: str) -> None:
    def read_file(_path: str) -> str:
        if failure is not None:
            raise failure
        return " \n"

    (problem,) = problems(with_options(appSecret={"file": "f"}), read_file=read_file)
    assert problem == f"channels[0].options.appSecret.file: {wanted}"


def test_a_secret_shows_itself_nowhere() -> None:
    settings = read(with_options())
    for shown in (repr(settings), str(settings), f"{settings.accounts[0].app_secret}"):
        assert HIDDEN not in shown
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(settings.accounts[0].app_secret)
    assert HIDDEN not in repr(SecretSource(kind="value", name=HIDDEN, path="p"))
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert f"{Secret('a')!r} {Secret('b')}" == "Secret(…) Secret(…)"
    assert Secret("a") not in ("a", None)


def test_each_problem_of_a_configuration_is_a_line() -> None:
    wrong = ConfigurationError("one", "two")
    assert (str(wrong), wrong.problems) == ("one\ntwo", ("one", "two"))


# ── environment and command line ────────────────────────────────────────────

ENVIRONMENT = {
    "LARKD_APP_ID": "cli_e000000000000000",
    "LARKD_APP_SECRET": "env-secret",
    "LARKD_DOMAIN": "lark",
    "LARKD_REPLY_MODE": "static",
    "LARKD_LANGUAGE": "zh",
    "LARKD_LISTEN": "[::1]:0",
    "LARKD_LOG_FORMAT": "json",
    "LARKD_LOG_LEVEL": "debug",
}


@pytest.mark.parametrize("raw", [{}, with_options(domain="feishu", replyMode="auto")])
def test_the_environment_goes_before_the_file(raw: dict[str, Any]) -> None:
    settings = read(raw, ENVIRONMENT)
    account = the_account(settings)
    assert (account.app_id, account.app_secret) == ("cli_e000000000000000", Secret("env-secret"))
    assert (account.base_url, account.reply_mode) == ("https://open.larksuite.com", "static")
    assert settings.listen == Listen(host="::1", port=0)
    assert (settings.language, settings.log.format, settings.log.level) == ("zh", "json", "debug")


def test_the_command_line_goes_before_the_environment() -> None:
    settings = read(with_options(), {"LARKD_LISTEN": "127.0.0.1:1"}, listen="127.0.0.1:2")
    assert settings.listen == Listen(host="127.0.0.1", port=2)


def test_tls_is_served_on_every_address_and_port_7346() -> None:
    certificate = {"certFile": "/c.pem", "keyFile": "/k.pem"}
    tls = read({**with_options(), "listen": {"tls": certificate}}).listen.tls
    assert tls is not None
    assert (tls.host, tls.port) == ("0.0.0.0", 7346)


def test_an_empty_variable_is_no_variable() -> None:
    env = dict.fromkeys(ENVIRONMENT, "")
    assert read(with_options(), env) == read(with_options())


@pytest.mark.parametrize("bad", ["7345", "host:", ":7345", "h:x", "h:65536", "::1:7345", "h:٣"])
def test_a_listen_address_is_host_and_port(bad: str) -> None:
    (problem,) = problems(with_options(), {"LARKD_LISTEN": bad})
    assert problem.startswith(
        "LARKD_LISTEN: is a string; allowed: host:port, such as 127.0.0.1:7345"
    )
    (problem,) = problems(with_options(), listen=bad)
    assert problem.startswith("--listen: ")


def test_the_environments_credentials_are_for_one_account_only() -> None:
    raw = with_options(accounts={"a": {}, "b": {"appId": "cli_b000000000000000"}})
    lines = problems(raw, {"LARKD_REPLY_MODE": "static"})
    assert lines == ("LARKD_REPLY_MODE: for a single account only, here are a, b; unset it",)


@pytest.mark.parametrize(
    ("env", "missing"),
    [
        ({"LARKD_APP_ID": "cli_f000000000000000"}, "LARKD_APP_SECRET"),
        ({"LARKD_APP_SECRET": "x"}, "LARKD_APP_ID"),
    ],
)
def test_half_of_the_credentials_names_the_other_half(env: dict[str, str], missing: str) -> None:
    assert problems({}, env) == (f"{missing}: is missing; set it",)


# ── nothing, and mistakes ───────────────────────────────────────────────────


@pytest.mark.parametrize("raw", [{}, {"language": "zh"}, {"channels": []}])
def test_no_configuration_shows_what_to_write_where_and_how_to_try(raw: dict[str, Any]) -> None:
    (problem,) = problems(raw, config_path="/home/a/.config/larkd/config.toml")
    for needed in ("/home/a/.config/larkd/config.toml", "[[channels]]", "appId", "appSecret"):
        assert needed in problem
    assert "LARKD_APP_ID and LARKD_APP_SECRET" in problem
    assert "larkd daemon --sandbox" in problem


def test_all_channels_off_is_named() -> None:
    raw = with_options()
    raw["channels"][0]["enabled"] = False
    assert problems(raw) == ("channels: none is enabled; write enabled = true to one",)


def test_all_mistakes_are_reported_at_once_each_with_its_path() -> None:
    raw = {
        "langage": "en",
        "language": "fr",
        "listen": {"port": 70000, "hots": "x"},
        "channel": [],
        "channels": [
            {
                "id": "f",
                "type": "slack",
                "enabled": "yes",
                "options": {
                    "appSecert": HIDDEN,
                    "replyMode": "stream",
                    "allowFrom": ["ou_1", 5],
                    "groups": {"oc 1": {}, "oc_1": {"requiremention": True}},
                    "accounts": {"main": {"tuning": {"imageMaxBytes": 1.5}}},
                },
            },
            "feishu",
            {"id": "f", "enabled": False},
        ],
    }
    assert problems(raw, {"LARKD_LOG_LEVEL": "loud"}) == (
        "langage: unknown key; did you mean language?",
        "language: is a string; allowed: en, zh",
        "listen.port: is an integer out of range; allowed: 0 to 65535",
        "listen.hots: unknown key; did you mean host?",
        "channel: is a list; allowed: a map with the keys replyMode",
        "channels[0].type: is a string; allowed: feishu",
        "channels[0].enabled: is a string; allowed: true, false",
        "channels[0].options.appSecert: unknown key; did you mean appSecret?",
        (
            "channels[0].options.replyMode: is a string; allowed: auto, streaming, static;"
            " did you mean streaming?"
        ),
        "channels[0].options.allowFrom[1]: is an integer; allowed: an open_id",
        'channels[0].options.groups["oc 1"]: not a possible key; allowed: chat ids',
        "channels[0].options.groups.oc_1.requiremention: unknown key; did you mean requireMention?",
        (
            "channels[0].options.accounts.main.tuning.imageMaxBytes: is a number with a fraction;"
            " allowed: an integer from 0 to 10485760"
        ),
        "channels[1]: is a string; allowed: a map with the keys id, type, enabled, options",
        "channels[2].id: is the id of channels[0] already; give it another one",
        "LARKD_LOG_LEVEL: is a string; allowed: debug, info, warning, error",
        "channels[0].options.accounts.main.appId: is missing; write it there, or set LARKD_APP_ID",
        (
            "channels[0].options.accounts.main.appSecret: is missing; write it there,"
            " or set LARKD_APP_SECRET"
        ),
    )


def test_metrics_and_console_are_under_one_address_where_both_name_it() -> None:
    where = {"host": "::1", "port": 9465}
    one = read(with_options() | {"metrics": where, "console": where})
    assert one.one_http_address
    for other in ({"port": 0}, {"host": "::1"}):
        apart = read(with_options() | {"metrics": other, "console": other})
        assert not apart.one_http_address
    unlike = with_options() | {"metrics": where, "console": where | {"insecure": True}}
    (line,) = problems(unlike)
    assert line.startswith("console.port: is the port of metrics, which is served with other tls")


def test_a_wrong_value_is_not_also_called_missing() -> None:
    assert problems(with_options(appId=["cli_a000000000000000"])) == (
        (
            "channels[0].options.appId: is a list; allowed: an App ID as the developer console"
            " shows it: cli_ and 16 hex digits, such as cli_a1b2c3d4e5f60718"
        ),
    )


def test_a_boolean_is_no_number_and_null_only_where_allowed() -> None:
    assert problems(with_options(tuning={"cancelDeadlineMs": True, "imageMaxBytes": None})) == (
        (
            "channels[0].options.tuning.cancelDeadlineMs: is a boolean;"
            " allowed: an integer from 0 to 600000"
        ),
        "channels[0].options.tuning.imageMaxBytes: is null; allowed: an integer from 0 to 10485760",
    )
    (problem,) = problems(with_options(tuning={"monthlyCallBudget": "many"}))
    assert problem.endswith("is a string; allowed: an integer from 0 to 1000000000000, or null")


def test_one_name_and_one_app_is_one_account() -> None:
    raw = with_options()
    raw["channels"].append({"id": "g", "options": {**CREDENTIALS}})
    assert problems(raw) == (
        (
            "channels[1].options: there is an account default at channels[0].options;"
            " give it another name"
        ),
    )
    assert problems(with_options(accounts={"a": {}, "b": {}})) == (
        "channels[0].options.accounts.b.appId: is the app of account a too; an app has one account",
    )


def test_a_flood_of_mistakes_is_cut() -> None:
    raw = with_options(**{f"zz{n}": n for n in range(150)})
    lines = problems(raw)
    assert len(lines) == 101
    assert lines[-1] == "and 50 more"


def test_one_shared_mistake_is_reported_once() -> None:
    raw = with_options(
        appSecret={"env": "NOPE"},
        accounts={"a": {"appId": "cli_1000000000000000"}, "b": {"appId": "cli_2000000000000000"}},
    )
    assert problems(raw) == (
        "channels[0].options.appSecret.env: the environment has no NOPE; export it",
    )


def test_odd_values_and_long_keys_are_named_in_short() -> None:
    raw = with_options(appId="", requireMention=datetime(2026, 1, 1, tzinfo=UTC), **{"k" * 999: 1})
    lines = problems(raw)
    assert lines[0].startswith("channels[0].options.appId: is an empty string; allowed: an App ID")
    assert lines[1] == ("channels[0].options.requireMention: is a datetime; allowed: true, false")
    assert lines[2].startswith(f'channels[0].options["{"k" * 63}\\u2026"]: unknown key; known: ')


def test_a_key_that_is_no_string_is_unknown() -> None:
    (problem,) = problems({5: 1, **with_options()})  # type: ignore[dict-item]  # the point of it
    assert problem.startswith('["5"]: unknown key')


def test_the_sandbox_replaces_credentials_and_nothing_else() -> None:
    raw, env = sandbox_configuration(
        {"language": "zh", "cluster": {"x": 1}, **with_options(accounts={"a": {}, "b": {}})},
        ENVIRONMENT | {"LARKD_LANGUAGE": "", "LARKD_APP_SECRET": "real"},
        base_url="http://127.0.0.1:9",
        app_id="cli_5a00000000000000",
        app_secret="s",
        people=("ou_alice", "ou_bob"),
    )
    assert set(raw) == {"language", "channels"}
    assert [(one["id"], one["type"]) for one in raw["channels"]] == [("sandbox", "feishu")]
    assert "LARKD_APP_SECRET" not in env
    settings = read(raw, env)
    account = the_account(settings)
    assert (account.policy.allow_from, account.policy.admins) == (
        frozenset({"ou_alice", "ou_bob"}),
        frozenset({"ou_alice"}),
    )
    assert (account.app_id, account.base_url) == ("cli_5a00000000000000", "http://127.0.0.1:9")
    assert (account.policy.dm_policy, account.policy.group_policy) == ("open", "open")
    assert (settings.language, account.reply_mode) == ("zh", "static")


# ── properties ──────────────────────────────────────────────────────────────

JSON_VALUES = json_values() | st.just(float("nan"))
odd_options = st.dictionaries(st.sampled_from([*OPTIONS, "x"]), JSON_VALUES, max_size=6)
odd_tops = st.dictionaries(
    st.sampled_from(["language", "listen", "channel", "channels", "y"]),
    JSON_VALUES
    | st.lists(
        st.dictionaries(
            st.sampled_from(["id", "type", "enabled", "options"]), odd_options | JSON_VALUES
        ),
        max_size=3,
    ),
)


@given(
    raw=odd_tops | odd_options.map(lambda options: with_options(**options)),
    env=st.dictionaries(st.sampled_from(list(ENVIRONMENT)), st.text(max_size=8)),
)
def test_whatever_stands_there_is_read_or_named(raw: dict[str, Any], env: dict[str, str]) -> None:
    problems: tuple[str, ...] = ()
    accounts: tuple[AccountSettings, ...] = ()
    try:
        accounts = read(raw, env).accounts
    except ConfigurationError as error:
        problems = error.problems
    assert all(problems)
    assert bool(problems) != bool(accounts)
