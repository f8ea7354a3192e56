"""lark-oapi's codec and models, without the rest of lark-oapi."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.feishu import sdk
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.platform.longconn import Frame

MODELS = (
    "lark_oapi.api.cardkit.v1.model.create_card_request",
    "lark_oapi.api.cardkit.v1.model.content_card_element_request",
    "lark_oapi.api.im.v1.model.reply_message_request",
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
frames = st.builds(
    Frame,
    seq_id=st.integers(0, 2**64 - 1),
    log_id=st.integers(0, 2**64 - 1),
    service=st.integers(-(2**31), 2**31 - 1),
    method=st.integers(0, 1),
    headers=st.lists(st.tuples(text, text), max_size=6).map(tuple),
    payload_encoding=st.none() | text,
    payload_type=st.none() | text,
    payload=st.none() | st.binary(max_size=40),
    log_id_new=st.none() | text,
)


@given(frame=frames)
def test_a_frame_comes_back_as_it_went(frame: Frame) -> None:
    assert sdk.decode_frame(sdk.encode_frame(frame)) == frame


def test_required_fields_are_written_also_when_zero() -> None:
    # Field numbers 1 to 4, as varints: a proto2 reader wants all four.
    assert sdk.encode_frame(Frame(service=0, method=0)) == bytes([8, 0, 16, 0, 24, 0, 32, 0])


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"junk",
        b"\x08\x01",
        b"\x2a\x02\xff\xff",
        b"\x53" * 100_000,
        bytes([8, 0, 16, 0, 24, 0, 32, 0, 0x4A, 1, 0xFF]),
    ],
    ids=["nothing", "text", "half", "bad header", "nested groups", "not UTF-8"],
)
def test_junk_is_the_peers_fault(junk: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        sdk.decode_frame(junk)


@given(junk=st.binary(max_size=60))
def test_any_bytes_are_a_frame_or_the_peers_fault(junk: bytes) -> None:
    try:
        sdk.decode_frame(junk)
    except RemoteProtocolError:
        return


@given(frame=frames, data=st.data())
def test_changed_bytes_are_a_frame_or_the_peers_fault(frame: Frame, data: st.DataObject) -> None:
    raw = bytearray(sdk.encode_frame(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        sdk.decode_frame(bytes(raw))
    except RemoteProtocolError:
        return


def test_a_frame_that_cannot_be_written_is_our_fault() -> None:
    with pytest.raises(LocalProtocolError):
        sdk.encode_frame(Frame(service=2**31, method=0))


def test_only_lark_oapi_is_loaded_here() -> None:
    with pytest.raises(ImportError, match="json"):
        sdk.load("json.decoder")
    with pytest.raises(ImportError):
        sdk.load("lark_oapi.api.nowhere.v1.model.nothing")


class TestTheCost:
    """In a process of its own, since modules stay once they are there."""

    def test_the_rest_of_the_sdk_stays_out(self) -> None:
        found = _measured(
            f"from actors.feishu import sdk\nfor name in {MODELS!r}: sdk.load(name)\n"
        )
        assert found["modules"] < 700, "all of lark-oapi is more than ten thousand"
        assert not found["corehr"]
        assert not found["client"]
        assert found["rss_mb"] - found["rss_before_mb"] < 40
        # 0.2 s on an idle machine; what this catches is the 2.8 s of the whole.
        assert found["seconds"] < 1.5

    def test_a_plain_import_before_does_not_disturb(self) -> None:
        found = _measured(
            "import types\n"
            "import importlib.util\n"
            "spec = importlib.util.find_spec('lark_oapi')\n"
            "bare = types.ModuleType('lark_oapi')\n"
            "bare.__path__ = list(spec.submodule_search_locations)\n"
            "sys.modules['lark_oapi'] = bare\n"
            f"from actors.feishu import sdk\nfor name in {MODELS!r}: sdk.load(name)\n"
        )
        assert not found["corehr"]

    def test_the_models_are_the_sdks_own(self) -> None:
        found = _measured(
            "from actors.feishu import sdk\n"
            "made = sdk.load('lark_oapi.api.cardkit.v1.model.create_card_request')\n"
            "assert made.CreateCardRequest.builder().build().uri\n"
            "import lark_oapi.api.cardkit.v1.model.create_card_request as again\n"
            "assert again is made\n"
        )
        assert not found["corehr"]


def _measured(source: str) -> dict[str, float]:
    script = (
        "import json, resource, sys, time\n"
        "def rss(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "before, since = rss(), time.perf_counter()\n"
        f"{source}"
        "print(json.dumps({'seconds': time.perf_counter() - since, 'rss_mb': rss(),\n"
        "  'rss_before_mb': before, 'modules': len(sys.modules),\n"
        "  'corehr': 'lark_oapi.api.corehr' in sys.modules,\n"
        "  'client': 'lark_oapi.client' in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result
