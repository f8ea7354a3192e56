"""Bad input: what is printed names what was wrong and what to do, and with which status it ends.

A table: each line is an input that people give, and words that its error has to have. Nothing
that is refused here leaves a file, and no secret is ever shown.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from tests.kit import preloaded
from tests.kit.daemon import environment

APP: Mapping[str, Any] = {"appId": "cli_a1b2c3d4e5f60718", "appSecret": "hush-hush"}
HOSTS = "host:port, such as 127.0.0.1:7345 or [::1]:7345, with a port of 0 (any) to 65535"
SET_UP = "set larkd up with: larkd init"


def with_options(**options: Any) -> dict[str, Any]:
    return {"channels": [{"id": "f", "type": "feishu", "options": {**APP, **options}}]}


class Bad(NamedTuple):
    """What is given, and what has to be printed."""

    expected: tuple[str, ...]
    arguments: tuple[str, ...] = ("daemon",)
    config: Any = None
    """The configuration: a map, or the text itself."""
    name: str = "config.json"
    env: Mapping[str, str] = {}
    stdin: bytes = b""
    status: int = 2


def configured(*expected: str, **top: Any) -> Bad:
    return Bad(expected, config={**with_options(), **top})


def options(*expected: str, **given: Any) -> Bad:
    return Bad(expected, config=with_options(**given))


def variable(*expected: str, **env: str) -> Bad:
    return Bad(expected, config=with_options(), env=env)


def command(words: str, *expected: str, status: int = 1, stdin: bytes = b"") -> Bad:
    return Bad(expected, tuple(words.split()), status=status, stdin=stdin)


AT = "channels[0].options"
KEYS: dict[str, Bad] = {
    "unknown key": configured("languge: unknown key; did you mean language?", languge="en"),
    "unknown option": options(f"{AT}.appid: unknown key; did you mean appId?", appid="x"),
    "unknown tuning": options(
        f"{AT}.tuning.stallNotice: unknown key; did you mean stallNoticeMs?",
        tuning={"stallNotice": 1},
    ),
    "language": configured("language: is a string; allowed: en, zh", language="fr"),
    "channel.replyMode": configured(
        "channel.replyMode: is a string; allowed: stream, final, verbose",
        channel={"replyMode": "auto"},
    ),
    "replyMode": options(
        f"{AT}.replyMode: is a string; allowed: auto, streaming, static", replyMode="verbose"
    ),
    "groupReplyMode": options(
        f"{AT}.groupReplyMode: is a boolean; allowed: auto, streaming, static", groupReplyMode=True
    ),
    "topicSessions": options(
        f"{AT}.topicSessions: is a string; allowed: true, false", topicSessions="yes"
    ),
    "topicAgent": options(
        f"{AT}.topicAgent: is a string that names no agent of [agents]", topicAgent="codex"
    ),
    "dmPolicy": options(f"{AT}.dmPolicy: is a string; allowed: ", "pairing", dmPolicy="all"),
    "groupPolicy": options(f"{AT}.groupPolicy: is an integer", "allowlist", groupPolicy=1),
    "allowFrom": options(f"{AT}.allowFrom", "is a string; allowed: ", allowFrom="ou_1"),
    "requireMention": options(f"{AT}.requireMention: is null", requireMention=None),
    "tuning": options(
        f"{AT}.tuning.imageMaxBytes: is an integer out of range; allowed: 0 to 10485760",
        tuning={"imageMaxBytes": 10**9},
    ),
    "monthlyCallBudget": options(
        f"{AT}.tuning.monthlyCallBudget: is a string", tuning={"monthlyCallBudget": "1"}
    ),
    "appId": options(f"{AT}.appId: is a string", "cli_ and 16 hex digits", appId="my-app"),
    "no appId": Bad(
        (f"{AT}.appId: is missing",),
        config={"channels": [{"type": "feishu", "options": {"appSecret": "hush-hush"}}]},
    ),
    "no appSecret": Bad(
        (f"{AT}.appSecret: is missing",),
        config={"channels": [{"type": "feishu", "options": {"appId": APP["appId"]}}]},
    ),
    "appSecret of a variable": options(
        f"{AT}.appSecret.env: the environment has no NOT_HERE; export it",
        appSecret={"env": "NOT_HERE"},
    ),
    "appSecret of a file": options(
        f"{AT}.appSecret.file: can't read /nonexistent/s: No such file or directory",
        appSecret={"file": "/nonexistent/s"},
    ),
    "appSecret of both": options(
        f"{AT}.appSecret: is a map with 2 of env, file; allowed: exactly one",
        appSecret={"file": "a", "env": "B"},
    ),
    "domain": options(f"{AT}.domain: is a string; allowed: feishu, lark, or a base", domain="fs"),
    "plain http": options(f"{AT}.domain: is plain http", "write https://", domain="http://a.b"),
    "type of a channel": configured(
        "channels[0].type: is a string; allowed: feishu", channels=[{"type": "slack"}]
    ),
    "channels": configured("channels: is a map; allowed: a list of channels", channels={}),
    "all off": configured(
        "channels: none is enabled; write enabled = true to one",
        channels=[{"type": "feishu", "enabled": False, "options": dict(APP)}],
    ),
    "one app twice": options("is the app of account a too", accounts={"a": APP, "b": APP}),
    "port": configured(
        "listen.port: is a string; allowed: an integer from 0 to 65535", listen={"port": "7345"}
    ),
    "beyond loopback": configured(
        "listen.host: ", "beyond loopback", "insecure = true", listen={"host": "10.0.0.1"}
    ),
    "metrics beyond loopback": configured("metrics", "insecure", metrics={"host": "10.0.0.1"}),
    "console beyond loopback": configured("console", "insecure", console={"host": "10.0.0.1"}),
    "half a certificate": configured(
        "listen.tls.keyFile: is missing", listen={"tls": {"port": 1, "certFile": "a"}}
    ),
    "agent": configured("agents.codex.command: is missing", agents={"codex": {"cwd": "/"}}),
    "roots": configured(
        "agents.codex.roots: is a string", agents={"codex": {"command": ["x"], "roots": "/"}}
    ),
    "agentsPerPerson": configured(
        "agentsPerPerson: is an integer out of range", agentsPerPerson=-1
    ),
    "cluster": configured("cluster.database: is missing", cluster={"name": "support"}),
    "name of a cluster": configured(
        "cluster.name: is a string; allowed: ", cluster={"name": "Support", "database": "x"}
    ),
    "nothing": Bad(
        (
            "no Feishu app is configured. Make one by a scan: larkd init\n",
            "Or write the credentials of one that exists to ~/.config/larkd/config.toml:",
            '\n    [[channels]]\n    id = "feishu"\n',
            "larkd daemon --sandbox\n",
        )
    ),
}
FILES: dict[str, Bad] = {
    "JSON in TOML": Bad(
        ("config.toml: holds JSON, its name ends with .toml; rename it to config.json",),
        config=with_options(),
        name="config.toml",
    ),
    "TOML in JSON": Bad(
        ("config.json: holds TOML, its name ends with .json; rename it to config.toml",),
        config='language = "en"\n',
    ),
    "broken TOML": Bad(("config.toml: line 1, column 5: ",), config="a = = 1", name="config.toml"),
    "broken JSON": Bad(("config.json: line 1, column 2: ",), config="{a}"),
    "a list": Bad(("config.json: line 1, column 1: the file is one JSON object",), config="[]"),
    "a key twice": Bad(("the key 'a' stands twice",), config='{"a": 1, "a": 2}'),
    "no such file": Bad(
        ("no such file; write it or name another one",), ("daemon", "--config", "x")
    ),
    "LARKD_CONFIG": Bad(("/nonexistent: no such file",), env={"LARKD_CONFIG": "/nonexistent"}),
}
VARIABLES: dict[str, Bad] = {
    "LARKD_LANGUAGE": variable("LARKD_LANGUAGE: is a string; allowed: en, zh", LARKD_LANGUAGE="fr"),
    "LARKD_LISTEN": variable(f"LARKD_LISTEN: is a string; allowed: {HOSTS}", LARKD_LISTEN="7345"),
    "LARKD_LISTEN beyond loopback": variable(
        "beyond loopback", "insecure = true", LARKD_LISTEN="10.0.0.1:7345"
    ),
    "LARKD_LOG_FORMAT": variable(
        "LARKD_LOG_FORMAT: is a string; allowed: text, json", LARKD_LOG_FORMAT="xml"
    ),
    "LARKD_LOG_LEVEL": variable(
        "LARKD_LOG_LEVEL: is a string; allowed: debug, info, warning, error",
        LARKD_LOG_LEVEL="loud",
    ),
    "LARKD_REPLY_MODE": variable(
        "LARKD_REPLY_MODE: is a string; allowed: auto, streaming, static", LARKD_REPLY_MODE="x"
    ),
    "LARKD_DOMAIN": variable("LARKD_DOMAIN: is a string; allowed: feishu, lark", LARKD_DOMAIN="x"),
    "LARKD_APP_ID": variable("LARKD_APP_ID: is a string", "16 hex", LARKD_APP_ID="my-app"),
    "half of the credentials": Bad(
        ("LARKD_APP_SECRET: is missing; set it",), env={"LARKD_APP_ID": APP["appId"]}
    ),
    "LARKD_ROLE": Bad(("LARKD_ROLE is 'boss'", "dispatcher"), ("mcp",), env={"LARKD_ROLE": "boss"}),
    "LARKD_ADDRESS": Bad(
        ("LARKD_ADDRESS: 'tcp://x' is no list of addresses; write it as tls://a.example:7346",),
        ("status",),
        env={"LARKD_ADDRESS": "tcp://x"},
    ),
}
OPTIONS: dict[str, Bad] = {
    "--listen out of range": Bad(
        (f"--listen: is a string; allowed: {HOSTS}",),
        ("daemon", "--listen", "127.0.0.1:22999999"),
        config=with_options(),
    ),
    "--sandbox-port": command("daemon --sandbox-port 99999", "no port", "65535", status=2),
    "unknown option": command("daemon --nonsense", "unrecognized arguments: --nonsense", status=2),
    "unknown command": command("statsu", "invalid choice: 'statsu'", "'status'", status=2),
    "sandbox --port": command("sandbox --port 99999", "no port", "65535", status=2),
    "sandbox --host": command("sandbox --host 8.8.8.8", "not this machine's own", status=2),
    "sandbox --clock-scale": command("sandbox --clock-scale nan", "above 0", status=2),
    "sandbox --ping-interval": command("sandbox --ping-interval -1", "above 0", status=2),
    "sandbox --keep": command(
        "sandbox --keep /nonexistent/x", "/nonexistent/x can't be written: No such file"
    ),
    "completion": command("completion tcsh", "invalid choice: 'tcsh'", "fish", status=2),
    "--match": command("handoff acquire --match x", "'x' is not KEY=VALUE", status=2),
    "role": command("tokens rotate boss", "invalid choice: 'boss'", "dispatcher", status=2),
    "channel": command("channel add slack", "invalid choice: 'slack'", "'feishu'", status=2),
    "channel --app-id": command(
        "channel add feishu --app-id my-app --app-secret-stdin", "16 hex digits", status=2
    ),
    "channel --domain": command(
        f"channel add feishu --app-id {APP['appId']} --app-secret-stdin --domain ftp://x",
        "--domain: is no http or https URL",
        status=2,
        stdin=b"s",
    ),
    "channel without a secret": command(
        f"channel add feishu --app-id {APP['appId']} --app-secret-stdin",
        "standard input: holds no app secret; write it there alone",
        status=2,
    ),
    "init with half": command(
        f"init --app-id {APP['appId']}", "--app-id and --app-secret-stdin go together", status=2
    ),
    "acp without a command": command("acp", "name the agent's command after --", status=2),
    "acp --cwd": command("acp --cwd /nonexistent -- x", "--cwd /nonexistent is no", status=2),
    "acp --env": command("acp --env NOT_HERE -- x", "NOT_HERE", "set it", status=2),
    "mcp": command("mcp --nonsense", "unrecognized arguments", status=2),
}
EMPTY_HOME: dict[str, Bad] = {
    **{
        words: command(words, "there is no state directory", SET_UP)
        for words in (
            "status",
            "status --json",
            "top --once",
            "console",
            "pair list",
            "pair approve K7M2QX",
            "handoff return",
            "log om_1",
            "log",
            "backup b.tgz",
        )
    },
    "LARKD_TOKEN_FILE": Bad(
        ("/nonexistent can't be read (No such file or directory); name the role's token in",),
        ("status",),
        env={"LARKD_ADDRESS": "127.0.0.1:9", "LARKD_TOKEN_FILE": "/nonexistent"},
        status=1,
    ),
    "daemon stop": command("daemon stop", "there is no state directory"),
    "restore": command("restore b.tgz", "does not exist; name the file that `larkd backup` wrote"),
    "restore of something else": command("restore /etc/passwd", "is no backup of larkd; name the"),
    "clusters": command("clusters", "no configuration; name one with --config", status=2),
    "move": command("move", "no configuration; name one with --config", status=2),
    "journal move": command("journal move", "holds no journal; name its directory"),
    "node": command("node /nonexistent", "/nonexistent is no directory; name the one"),
    "tokens": command("tokens rotate session", "start it once", "--state-dir", status=2),
}


async def printed(bad: Bad, home: Path) -> str:
    """Run it in a home where larkd never was; return what it printed, its status checked."""
    folder = home / ".config" / "larkd"
    if bad.config is not None:
        folder.mkdir(parents=True)
        text = bad.config if isinstance(bad.config, str) else json.dumps(bad.config)
        (folder / bad.name).write_text(text)
    before = sorted(home.rglob("*"))
    env = environment() | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_STATE_HOME": str(home / ".state"),
        **bad.env,
    }
    with trio.fail_after(60):
        done = await preloaded.run("actors.cli", bad.arguments, env, stdin=bad.stdin)
    errors = done.stderr.decode()
    assert (done.returncode, done.stdout) == (bad.status, b""), errors
    assert "Traceback" not in errors
    assert "hush-hush" not in errors
    assert sorted(home.rglob("*")) == before, "nothing is left"
    return errors


@pytest.mark.parametrize("table", [KEYS, FILES, VARIABLES, OPTIONS, EMPTY_HOME])
async def test_it_names_what_was_wrong_and_what_to_do(
    table: Mapping[str, Bad], tmp_path: Path
) -> None:
    missing: dict[str, Any] = {}

    async def look(name: str, bad: Bad, home: Path) -> None:
        home.mkdir()
        errors = await printed(bad, home)
        if not all(words in errors for words in bad.expected):
            missing[name] = (bad.expected, errors)

    for number, (name, bad) in enumerate(table.items()):
        await look(name, bad, tmp_path / str(number))
    assert not missing, "\n".join(map(repr, missing.items()))


@pytest.mark.parametrize("words", ["init --domain", "daemon --check"])
async def test_a_platform_that_is_away_is_named_in_plain_words(words: str, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        domain = f"http://127.0.0.1:{taken.getsockname()[1]}"
        away = Bad((), tuple(words.split()), status=1)
        if words.startswith("init"):
            away = away._replace(arguments=(*away.arguments, domain))
        else:
            away = away._replace(config=with_options(domain=domain))
        errors = await printed(away, tmp_path)
    assert domain in errors
    assert "can't be reached: Connection refused" in errors
    assert not any(word in errors for word in ("NoAnswer", "Error", "Errno")), errors
