"""Files and directories: the configuration file, the state directory, lock and tokens."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from actors.host import config_file, state_dir, tokens
from protocol.config.places import DaemonInfo, StateDir
from protocol.errors import ConfigurationError
from protocol.wire.auth import proof
from protocol.wire.messages import Register
from protocol.wire.vocabulary import ROLES, Role

HOME = Path("/home/ann")


@pytest.fixture
def state(tmp_path: Path) -> StateDir:
    found = StateDir(tmp_path / "state")
    state_dir.create(found)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def the_problem(caught: pytest.ExceptionInfo[ConfigurationError]) -> str:
    (problem,) = caught.value.problems
    return problem


# ── the configuration file ──────────────────────────────────────────────────


def test_the_configuration_is_named_or_found(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    named = env | {"LARKD_CONFIG": "/named"}
    assert config_file.find(None, env, HOME) is None
    (tmp_path / "larkd").mkdir()
    as_json = tmp_path / "larkd" / "config.json"
    as_json.write_text("{}")
    assert config_file.find(None, env, HOME) == as_json
    assert config_file.find(None, named, HOME) == Path("/named")
    assert config_file.find(Path("/flag"), named, HOME) == Path("/flag")
    as_json.with_suffix(".toml").write_text("")
    assert config_file.find(Path("/flag"), env, HOME) == Path("/flag")
    with pytest.raises(ConfigurationError, match="exist; remove one"):
        config_file.find(None, env, HOME)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'language = "zh"\n[[channels]]\nid = "f"\n'),
        ("c.json", '{"language": "zh", "channels": [{"id": "f"}]}'),
        ("c.json", '\ufeff{"language": "zh", "channels": [{"id": "f"}]}'),
        ("anything", 'language = "zh"\nchannels = [{id = "f"}]'),
    ],
)
def test_toml_and_json_mean_the_same(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    assert config_file.load(path) == {"language": "zh", "channels": [{"id": "f"}]}


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("c.toml", b'a = "x"\nb = = 1\n', "line 2, column 5: Invalid value"),
        ("c.toml", b'a = 1\nb = "open', "line 2, column 10 (end of file): Unterminated string"),
        (
            "c.toml",
            b"a = 1\na = 2\n",
            "line 2, column 6: Cannot overwrite a value; this key stands twice",
        ),
        ("c.toml", b"[a]\n[a]\n", "line 2, column 3: Cannot declare ('a',) twice; put all keys of"),
        ("c.toml", b"a = yes\n", "line 1, column 5: Invalid value; text stands in double quotes"),
        ("c.toml", b'a = "x\n', "line 1, column 7: Illegal character '\\n'; close the quotes"),
        ("c.json", b'{"a": 1,\n "b" 2}', "line 2, column 6: Expecting ':' delimiter"),
        ("c.json", b"[]", "line 1, column 1: the file is one JSON object: {…}"),
        ("c.json", b'{"a": 1, "a": 2}', "the key 'a' stands twice in one object; remove one"),
        ("c.json", b'{"a": NaN}', "NaN is no JSON number"),
        ("c.json", b"", "line 1, column 1: Expecting value"),
        ("c.toml", b' {"a": 1}', "holds JSON, its name ends with .toml; rename it to c.json"),
        ("c.toml", b'{"a": 1,', "holds JSON, its name ends with .toml; rename it to c.json"),
        ("c", b"{}", "holds JSON, its name has no ending; rename it to c.json"),
        ("c.json", b"[a]\nb = 1\n", "holds TOML, its name ends with .json; rename it to c.toml"),
        ("c.json", b"a = 1\n", "holds TOML, its name ends with .json; rename it to c.toml"),
        ("c.toml", 'a = "é"\nb = "'.encode() + b'\xff"', "line 2, column 6: not UTF-8 text"),
        ("c.json", b"[" * 100_000, "maximum recursion depth exceeded"),
        ("c.toml", b"#" * (1024 * 1024 + 1), "can't be read: larger than 1048576 bytes"),
    ],
)
def test_a_malformed_file_is_reported_with_its_place(
    tmp_path: Path, name: str, content: bytes, wanted: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        config_file.load(path)
    assert the_problem(caught).startswith(f"{path}: {wanted}")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"c\.toml: no such file; write it"):
        config_file.load(tmp_path / "c.toml")
    with pytest.raises(ConfigurationError, match="can't be read: Is a directory"):
        config_file.load(tmp_path)


def test_a_secret_file_is_beside_the_configuration_or_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    beside = tmp_path / "config.toml"
    assert config_file.read_secret("secret", beside=beside) == "s3cret\n"
    assert config_file.read_secret(str(tmp_path / "secret"), beside=None) == "s3cret\n"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_file.read_secret("~/secret", beside=Path("/elsewhere/c")) == "s3cret\n"
    with pytest.raises(OSError, match="no home directory"):
        config_file.read_secret("~nobody-of-that-name/secret", beside=None)


# ── the state directory ─────────────────────────────────────────────────────


def test_the_state_directory_is_private_whatever_the_umask(tmp_path: Path) -> None:
    found = StateDir(tmp_path / "deep" / "state")
    before = os.umask(0)
    try:
        state_dir.create(found)
    finally:
        os.umask(before)
    assert [mode(path) for path in (found.root, found.tokens, found.attachments)] == [0o700] * 3
    state_dir.create(found)


def test_a_directory_that_anybody_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigurationError, match=f"chmod 700 {tmp_path}"):
        state_dir.create(StateDir(tmp_path))


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    for root in (tmp_path / "state", tmp_path / "state" / "inner"):
        with pytest.raises(ConfigurationError) as caught:
            state_dir.create(StateDir(root))
        assert f"the state directory {root} can't be used" in the_problem(caught)
        assert "--state-dir or LARKD_STATE_DIR" in the_problem(caught)


def test_a_directory_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ro").mkdir(mode=0o500)
    # File modes do not bind root; the kernel's own file system does.
    closed = tmp_path / "ro" if os.geteuid() else Path("/sys/kernel")
    with pytest.raises(ConfigurationError, match=r"can't be used: .* not permitted|denied"):
        state_dir.create(StateDir(closed / "state"))


# ── the lock ────────────────────────────────────────────────────────────────

HOLDER = """
import sys, pathlib
from actors.host import state_dir
from protocol.config.places import StateDir
with state_dir.locked(StateDir(pathlib.Path(sys.argv[1]))):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_daemon_learns_who_is_serving_until_that_one_dies(state: StateDir) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(state.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(state_dir.AlreadyRunning) as caught, state_dir.locked(state):
            raise AssertionError
        assert str(caught.value) == (
            f"another larkd (pid {holder.pid}) is serving this state directory"
        )
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with state_dir.locked(state):
        assert state.lock.read_text() == f"{os.getpid()}\n"


def test_the_lock_is_free_after_an_orderly_exit(state: StateDir) -> None:
    for _ in range(2):
        with state_dir.locked(state):
            pass
    assert mode(state.lock) == 0o600


def test_a_lock_without_a_pid_is_a_lock(state: StateDir) -> None:
    with state_dir.locked(state):
        state.lock.write_text("")
        with (
            pytest.raises(state_dir.AlreadyRunning, match=r"\(pid unknown\)"),
            state_dir.locked(state),
        ):
            raise AssertionError


def test_a_lock_that_is_a_link_is_not_followed(state: StateDir, tmp_path: Path) -> None:
    state.lock.symlink_to(tmp_path / "victim")
    with pytest.raises(ConfigurationError, match="can't be used"), state_dir.locked(state):
        raise AssertionError
    assert not (tmp_path / "victim").exists()


# ── tokens ──────────────────────────────────────────────────────────────────


def test_tokens_are_made_once_private_and_43_url_safe_characters(state: StateDir) -> None:
    first = tokens.open_tokens(state, secrets.token_urlsafe)
    made = {role: state.token(role).read_text() for role in ROLES}
    assert len(set(made.values())) == 3
    for role, token in made.items():
        assert len(token) == 43
        assert mode(state.token(role)) == 0o600
        assert proves(first, token, role)
    tokens.open_tokens(state, secrets.token_urlsafe)
    assert {role: state.token(role).read_text() for role in ROLES} == made


def test_only_the_missing_token_is_made_at_the_first_start(state: StateDir) -> None:
    state_dir.write_private(state.token("session"), b"k" * 43)
    tokens.open_tokens(state, secrets.token_urlsafe)
    assert state.token("session").read_bytes() == b"k" * 43
    assert state.token("observer").exists()


def test_a_token_that_went_missing_is_not_made_in_silence(state: StateDir) -> None:
    tokens.open_tokens(state, secrets.token_urlsafe)
    state.database.touch()  # a daemon served here
    state.token("observer").unlink()
    with pytest.raises(ConfigurationError) as caught:
        tokens.open_tokens(state, secrets.token_urlsafe)
    assert the_problem(caught) == (
        f"{state.token('observer')} is missing; make a new one:"
        f" larkd tokens rotate observer --state-dir {state.root}"
    )
    tokens.rotate(state, "observer", secrets.token_urlsafe)
    tokens.open_tokens(state, secrets.token_urlsafe)


def test_a_line_end_that_an_editor_added_does_no_harm(state: StateDir) -> None:
    tokens.open_tokens(state, secrets.token_urlsafe)
    path = state.token("session")
    token = path.read_bytes()
    path.write_bytes(token + b"\n")
    assert tokens.read_token(path) == token


@pytest.mark.parametrize(
    ("content", "file_mode", "wanted"),
    [
        (b"", 0o600, "is empty; make a new one: larkd tokens rotate session"),
        (b"short", 0o600, "is not 43 URL-safe characters; make a new one"),
        (b"x" * 44, 0o600, "is not 43 URL-safe characters"),
        (b"x" * 42 + b" ", 0o600, "is not 43 URL-safe characters"),
        (b"x" * 42 + b"\xff", 0o600, "is not 43 URL-safe characters"),
        (b"x" * 43, 0o640, "can be read by other users (mode 0640); make a new one"),
        (b"x" * 43, 0o604, "can be read by other users (mode 0604); make a new one"),
    ],
)
def test_a_token_that_can_not_be_trusted_is_refused(
    state: StateDir, content: bytes, file_mode: int, wanted: str
) -> None:
    path = state.token("session")
    path.write_bytes(content)
    path.chmod(file_mode)
    with pytest.raises(ConfigurationError) as caught:
        tokens.open_tokens(state, secrets.token_urlsafe)
    assert the_problem(caught).startswith(f"{path} {wanted}")
    assert "xxx" not in the_problem(caught)


def test_every_bad_token_is_reported_at_once(state: StateDir) -> None:
    state.token("dispatcher").mkdir()
    state.token("session").symlink_to(state.root / "nowhere")
    state.token("observer").touch(mode=0o600)
    with pytest.raises(ConfigurationError) as caught:
        tokens.open_tokens(state, secrets.token_urlsafe)
    assert [problem.split(".token ")[1].split(";")[0] for problem in caught.value.problems] == [
        "is not a file",
        "can't be read: Too many levels of symbolic links",
        "is empty",
    ]
    for role, problem in zip(ROLES, caught.value.problems, strict=True):
        assert problem.endswith(f"larkd tokens rotate {role} --state-dir {state.root}")


def proves(found: tokens.TokenFiles, token: str, role: Role) -> bool:
    """Whether a proof made with *token* holds for *role*."""
    given = proof(token.encode(), b"nonce", "s", role)
    register = Register(
        protocol=1, session_id="s", role=role, proof=given, pid=1, proxy_version="1"
    )
    return found.verify(b"nonce", register) is not None


def test_a_rotated_token_is_in_force_at_once_and_the_old_one_is_not(state: StateDir) -> None:
    found = tokens.open_tokens(state, secrets.token_urlsafe)
    old, other = state.token("session").read_text(), state.token("observer").read_text()
    assert proves(found, old, "session")
    assert tokens.rotate(state, "session", secrets.token_urlsafe) == state.token("session")
    new = state.token("session").read_text()
    assert mode(state.token("session")) == 0o600
    assert proves(found, new, "session")
    assert not proves(found, old, "session")
    assert proves(found, other, "observer"), "the other roles keep theirs"


def test_a_token_opened_to_others_proves_nothing_until_it_is_put_right(state: StateDir) -> None:
    found = tokens.open_tokens(state, secrets.token_urlsafe)
    path = state.token("session")
    token = path.read_text()
    path.chmod(0o644)
    assert not proves(found, token, "session")
    path.chmod(0o600)
    assert proves(found, token, "session")
    path.unlink()
    assert not proves(found, token, "session")


def test_rotating_where_no_larkd_ever_ran_makes_nothing(tmp_path: Path) -> None:
    nowhere = StateDir(tmp_path / "typo")
    with pytest.raises(ConfigurationError, match="is not the state directory of a larkd"):
        tokens.rotate(nowhere, "session", secrets.token_urlsafe)
    assert not nowhere.root.exists()


# ── daemon.json ─────────────────────────────────────────────────────────────

INFO = DaemonInfo(
    host="127.0.0.1", port=7345, pid=12, version="0.1.0", generation=3, started_at=1_700_000_000_000
)


def test_daemon_json_names_where_the_daemon_serves_until_it_leaves(state: StateDir) -> None:
    assert state_dir.read_daemon_info(state) is None
    state_dir.write_daemon_info(state, INFO)
    assert mode(state.daemon_json) == 0o600
    assert msgspec.json.decode(state.daemon_json.read_bytes()) == {
        "host": "127.0.0.1",
        "port": 7345,
        "pid": 12,
        "version": "0.1.0",
        "generation": 3,
        "started_at": 1_700_000_000_000,
    }
    assert state_dir.read_daemon_info(state) == INFO
    state_dir.remove_daemon_info(state)
    state_dir.remove_daemon_info(state)
    assert state_dir.read_daemon_info(state) is None


def test_a_torn_daemon_json_is_no_daemon(state: StateDir) -> None:
    state.daemon_json.write_text('{"host": "127')
    assert state_dir.read_daemon_info(state) is None


def test_a_file_is_replaced_whole_or_not_at_all(state: StateDir) -> None:
    state_dir.write_private(state.daemon_json, b"old")
    reader = state.daemon_json.open("rb")
    with reader:
        state_dir.write_private(state.daemon_json, b"new")
        assert reader.read() == b"old"
    assert state.daemon_json.read_bytes() == b"new"
    assert sorted(path.name for path in state.root.iterdir()) == [
        "attachments",
        "daemon.json",
        "tokens",
    ]


def test_what_a_crash_left_half_written_is_written_over(state: StateDir) -> None:
    (state.root / ".daemon.json.new").write_text("half")
    state_dir.write_private(state.daemon_json, b"whole")
    assert state.daemon_json.read_bytes() == b"whole"
