"""Frames of the long connection, with lark-oapi's own generated protobuf module.

``import lark_oapi`` executes ten thousand modules. Bare packages with the right path,
put into ``sys.modules`` first, let the one module be imported alone; a package that
is there already is used as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

import msgspec

CONTROL: Final = 0
DATA: Final = 1


class Frame(msgspec.Struct, kw_only=True):
    seq_id: int = 0
    log_id: int = 0
    service: int = 0
    method: int = CONTROL
    headers: dict[str, str] = {}
    payload: bytes = b""


class NotAFrame(Exception):
    """The bytes are no frame."""


def encode(frame: Frame) -> bytes:
    message = _pb.Frame()
    message.SeqID, message.LogID = frame.seq_id, frame.log_id
    message.service, message.method = frame.service, frame.method
    for key, value in frame.headers.items():
        header = message.headers.add()
        header.key, header.value = key, value
    message.payload = frame.payload
    encoded: bytes = message.SerializeToString()
    return encoded


def decode(data: bytes) -> Frame:
    """Read one frame.

    Raises:
        NotAFrame: not a frame, or without a required field.
    """
    message = _pb.Frame()
    try:
        message.ParseFromString(data)
    except Exception as wrong:  # the generated module raises whatever it trips over
        raise NotAFrame(str(wrong)) from wrong
    if not message.IsInitialized():
        raise NotAFrame("a required field is missing")
    return Frame(
        seq_id=message.SeqID,
        log_id=message.LogID,
        service=message.service,
        method=message.method,
        headers={header.key: header.value for header in message.headers},
        payload=bytes(message.payload),
    )


def _load() -> Any:
    for name in ("lark_oapi", "lark_oapi.ws"):
        if name not in sys.modules:
            spec = importlib.util.find_spec(name)
            if spec is None or spec.submodule_search_locations is None:
                raise ImportError("lark-oapi is not installed; pip install lark-oapi")
            package = ModuleType(name)
            package.__path__ = list(spec.submodule_search_locations)
            package.__spec__ = spec
            sys.modules[name] = package
    return importlib.import_module("lark_oapi.ws.pb.pbbp2_pb2")


_pb: Final = _load()
