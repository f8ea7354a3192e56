"""The wheel in a clean environment of every Python there is, from the registry to an answer."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from actors.sandbox.access import TOKEN_HEADER
from tests.kit.daemon import environment
from tests.kit.sizes import NIGHTLY

ROOT = Path(__file__).parents[2]
MINORS = (11, 12, 13, 14)

pytestmark = pytest.mark.skipif(not NIGHTLY, reason="it installs much: make nightly")


def interpreters() -> dict[str, str]:
    """Version → interpreter, of this machine's path and of pyenv."""
    found: dict[str, str] = {}
    for minor in MINORS:
        versions = sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python"))
        for program in (f"python3.{minor}", *map(str, reversed(versions))):
            path = shutil.which(program)
            if path is None:
                continue
            try:
                subprocess.run([path, "-c", "import ensurepip"], check=True, capture_output=True)
            except subprocess.CalledProcessError:
                continue  # a shim of a version that is not chosen, or one without venv
            found[f"3.{minor}"] = path
            break
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = target.glob("*.whl")
    return made


@pytest.mark.parametrize("version", [*interpreters(), "uv tool"] if NIGHTLY else ["every"])
def test_it_installs_answers_and_sets_up(version: str, wheel: Path, tmp_path: Path) -> None:
    larkd = installed(version, wheel, tmp_path)
    home = environment() | {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [larkd, *arguments], env=home, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version").startswith("larkd ")
    assert "commands:" in run()
    with in_sandbox(larkd, home) as http:
        chat = http.get("/sandbox/state").json()["chats"][0]
        answered(http, chat["chat_id"])
        domain = str(http.base_url).rstrip("/")
        begun = json.loads(run("init", "--no-wait", "--json", "--domain", domain))
        http.post("/sandbox/registrations", json={"url": begun["link"]}).raise_for_status()
        code = ("--device-code", begun["device_code"])
        done = json.loads(run("init", "--json", "--domain", domain, *code))
        assert (done["connected"], done["missing"]) == (True, [])
        assert run("daemon", "--check").startswith("ok: account default")
        assert "actors.cli daemon" in run("service", "install", "--dry-run")
        with running([larkd, "daemon", "--listen", "127.0.0.1:0"], home) as lines:
            assert next(lines).startswith("larkd ready on 127.0.0.1:")
            status = json.loads(run("status", "--json"))
            assert (status["version"], status["sessions"]) == (1, [])
            assert "default: connect" in run("status")
            findings = json.loads(run("doctor", "--json"))["findings"]
            assert [one for one in findings if one["state"] == "fail"] == []
            assert "stopped larkd" in run("daemon", "stop")


def installed(version: str, wheel: Path, folder: Path) -> str:
    """Install the wheel as its users do; return the command."""
    if version == "uv tool":
        uv = shutil.which("uv")
        if uv is None:
            pytest.skip("no uv: https://docs.astral.sh/uv")
        places = {"UV_TOOL_DIR": str(folder / "tools"), "UV_TOOL_BIN_DIR": str(folder / "bin")}
        install = [uv, "tool", "install", "--python", sys.executable, str(wheel)]
        subprocess.run(install, env=environment() | places, check=True, capture_output=True)
        return str(folder / "bin" / "larkd")
    subprocess.run([interpreters()[version], "-m", "venv", str(folder / "venv")], check=True)
    pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return str(folder / "venv" / "bin" / "larkd")


def answered(http: httpx.Client, chat_id: str) -> None:
    """Write to the bot once it listens, and wait until a card holds the whole answer."""
    until = time.monotonic() + 60
    written = False
    while time.monotonic() < until:
        if not written and any(one["pings"] for one in http.get("/sandbox/connections").json()):
            sent = {"chat_id": chat_id, "text": "hello, short"}
            http.post("/sandbox/send", json=sent).raise_for_status()
            written = True
        if "Done" in json.dumps(http.get("/sandbox/state").json()["cards"]):
            return
        time.sleep(0.1)
    raise AssertionError("no answer in a minute")


@contextmanager
def in_sandbox(larkd: str, home: dict[str, str]) -> Iterator[httpx.Client]:
    """Run it in the sandbox until it has answered; give its control API."""
    with running([larkd, "daemon", "--sandbox"], home) as lines:
        page = next(line.split()[-1] for line in lines if line.startswith("chat page: "))
        match = re.fullmatch(r"(http://[^/]+)/.*token=(\S+)", page)
        assert match is not None, page
        headers = {TOKEN_HEADER: match[2]}
        with httpx.Client(base_url=match[1], headers=headers, trust_env=False, timeout=60) as http:
            yield http


@contextmanager
def running(command: list[str], home: dict[str, str]) -> Iterator[Iterator[str]]:
    """Run it while the block does; give the lines it prints."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=home
    )
    try:
        assert process.stdout is not None
        yield iter(process.stdout)
    finally:
        process.terminate()
        process.wait(timeout=60)
        assert process.stdout is not None
        process.stdout.close()
