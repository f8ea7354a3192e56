"""Adding an app: comments stay, the secret has a file, and nothing is written that is wrong."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import msgspec
import pytest

from actors.host import config_file
from actors.host.config_edit import NewApp, add_app
from protocol.config.settings import Secret
from protocol.errors import ConfigurationError

FIRST = NewApp(app_id="cli_a000000000000001", app_secret="one", domain="lark", admins=("ou_1",))
SECOND = NewApp(app_id="cli_a000000000000002", app_secret="two")


def test_the_first_app_makes_a_configuration(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    written = add_app(path, FIRST, {})
    assert (written.account, written.config) == ("default", path)
    assert written.secret.read_text() == "one\n"
    assert "one" not in path.read_text()
    for file in (path, written.secret):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (account,) = config_file.settings(config_file.load(path), {}, path).accounts
    assert (account.app_id, account.app_secret) == (FIRST.app_id, Secret("one"))
    assert account.base_url == "https://open.larksuite.com"
    assert account.policy.admins == account.policy.allow_from == {"ou_1"}
    assert "[[channels]]" in path.read_text()


OLD = """\
# mine, dear to me
language = "zh"  # 中文

[[channels]]
id = "feishu"
type = "feishu"
  [channels.options]
  appId = "cli_b000000000000000"  # the old one
  appSecret = { env = "OLD" }
  replyMode = "static"
"""


def test_another_app_goes_beside_the_old_one_and_comments_stay(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(OLD)
    written = add_app(path, SECOND, {"OLD": "s"})
    assert written.account == SECOND.app_id
    assert path.read_text().startswith(OLD)
    accounts = config_file.settings(config_file.load(path), {"OLD": "s"}, path).accounts
    assert [one.account_id for one in accounts] == ["default", SECOND.app_id]
    assert [one.app_id for one in accounts] == ["cli_b000000000000000", SECOND.app_id]
    assert {one.reply_mode for one in accounts} == {"static"}
    third = NewApp(app_id="cli_a000000000000003", app_secret="3", account="third")
    assert add_app(path, third, {"OLD": "s"}).account == "third"
    assert len(config_file.settings(config_file.load(path), {"OLD": "s"}, path).accounts) == 3


def test_json_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"language": "zh"}))
    add_app(path, FIRST, {})
    add_app(path, SECOND, {})
    raw = json.loads(path.read_text())
    assert raw["language"] == "zh"
    assert len(config_file.settings(raw, {}, path).accounts) == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (OLD.replace('"static"', '"loud"'), "channels[0].options.replyMode: is a string"),
        (
            OLD.replace("cli_b000000000000000", SECOND.app_id),
            "is configured already, as account default",
        ),
        ("a = = 1", "line 1, column 5: Invalid value"),
        ('{"a": 1}', "holds JSON"),
    ],
)
def test_nothing_is_written_that_the_daemon_would_refuse(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        add_app(path, SECOND, {"OLD": "s"})
    assert problem in str(caught.value)
    assert path.read_text() == text
    assert [one.name for one in tmp_path.iterdir()] == ["config.toml"]


def test_an_account_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    add_app(path, FIRST, {})
    add_app(path, SECOND, {})
    before = path.read_text()
    third = msgspec.structs.replace(SECOND, app_id="cli_c000000000000000", account=SECOND.app_id)
    with pytest.raises(ConfigurationError, match="there is an account"):
        add_app(path, third, {})
    assert path.read_text() == before
