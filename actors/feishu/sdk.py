"""The one way to lark-oapi: its frame codec and its request models, and nothing else.

``import lark_oapi`` executes more than ten thousand modules: 2.8 s and 174 MB for the
few used here. What it needs is in leaf modules that do not need the package
bodies above them. So :func:`load` puts an empty package (a namespace with the right
``__path__``) into ``sys.modules`` for each package whose body would pull in the rest,
and then imports the leaf the usual way: about 0.2 s and 23 MB for codec and models.

What follows from that:

* In this process a plain ``import lark_oapi`` afterwards finds the empty package. Use
  :func:`load`; code that needs the whole SDK runs in a process of its own.
* Packages that are there already, whole or empty, are left as they are: whoever came
  first wins, and the leaves are the same.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.platform.longconn import Frame

ROOT: Final = "lark_oapi"
_EMPTIED_PARENTS: Final = frozenset({ROOT, f"{ROOT}.ws", f"{ROOT}.api"})
"""Packages whose bodies import their whole family; all below ``api`` do so too."""


def load(name: str) -> ModuleType:
    """Import one leaf module of lark-oapi without executing the packages above it.

    *name* is absolute and names the module that defines what is wanted, as in
    ``load("lark_oapi.api.cardkit.v1.model.create_card_request").CreateCardRequest``.
    A package name gives the empty package, so name the leaf.

    Raises:
        ImportError: lark-oapi is not installed, or has no such module.
    """
    parts = name.split(".")
    if parts[0] != ROOT:
        raise ImportError(f"{name} is not in {ROOT}; import it the usual way", name=name)
    for depth in range(1, len(parts)):
        package = ".".join(parts[:depth])
        if package in _EMPTIED_PARENTS or package.startswith(f"{ROOT}.api."):
            _ensure_empty_package(package)
    return importlib.import_module(name)


def _ensure_empty_package(name: str) -> None:
    if name in sys.modules:
        return
    # The parent is in sys.modules by now, so finding executes no package body.
    found = importlib.util.find_spec(name)
    if found is None or found.submodule_search_locations is None:
        raise ImportError(f"no package {name}; install lark-oapi>=1.7.5,<2", name=name)
    # A spec without loader is what a namespace package has: __path__ and no body.
    spec = importlib.machinery.ModuleSpec(name, loader=None, is_package=True)
    spec.submodule_search_locations = list(found.submodule_search_locations)
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


_pb: Final = load(f"{ROOT}.ws.pb.pbbp2_pb2")
_DecodeError: Final[type[Exception]] = load(f"{ROOT}.ws.pb.google.protobuf.message").DecodeError


def encode_frame(frame: Frame) -> bytes:
    """Return *frame* as the bytes of one binary WebSocket message.

    Raises:
        LocalProtocolError: a field does not fit the platform's frame format.
    """
    message: Any = _pb.Frame()
    try:
        # The four required scalars are set also when 0: proto2 wants them present.
        message.SeqID = frame.seq_id
        message.LogID = frame.log_id
        message.service = frame.service
        message.method = frame.method
        for key, value in frame.headers:
            header = message.headers.add()
            header.key = key
            header.value = value
        if frame.payload_encoding is not None:
            message.payload_encoding = frame.payload_encoding
        if frame.payload_type is not None:
            message.payload_type = frame.payload_type
        if frame.payload is not None:
            message.payload = frame.payload
        if frame.log_id_new is not None:
            message.LogIDNew = frame.log_id_new
        encoded: bytes = message.SerializeToString()
    except (TypeError, ValueError) as error:
        raise LocalProtocolError(f"frame cannot be encoded: {error}") from error
    return encoded


def decode_frame(data: bytes) -> Frame:
    """Read the bytes of one binary WebSocket message.

    Raises:
        RemoteProtocolError: not a frame, or one without its required fields.
    """
    try:
        message: Any = _pb.Frame.FromString(data)
    except (_DecodeError, ValueError, RecursionError) as error:
        # ValueError: text that is not UTF-8. RecursionError: groups nested without end.
        raise RemoteProtocolError(f"not a frame: {type(error).__name__}") from error
    missing: list[str] = message.FindInitializationErrors()
    if missing:
        raise RemoteProtocolError(f"a frame without {', '.join(missing)}")

    def optional(field: str) -> Any:
        return getattr(message, field) if message.HasField(field) else None

    return Frame(
        seq_id=message.SeqID,
        log_id=message.LogID,
        service=message.service,
        method=message.method,
        headers=tuple((header.key, header.value) for header in message.headers),
        payload_encoding=optional("payload_encoding"),
        payload_type=optional("payload_type"),
        payload=optional("payload"),
        log_id_new=optional("LogIDNew"),
    )
