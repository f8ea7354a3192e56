"""Connecting to PostgreSQL: how, and what is refused there before anything is written."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

import msgspec
import psycopg
import structlog
from psycopg import conninfo, rows
from psycopg.types.numeric import Int8BinaryDumper

from actors.journal.errors import JournalUnavailable, JournalUnreachable
from actors.journal.postgres.arrays import Column, ColumnDumper

SERVER_VERSION_MIN: Final = 150_000
CONNECT_WITHIN_S: Final = 2
STATEMENT_TIMEOUT_MS_MIN: Final = 2_000
"""A statement waits 1 s for a lock, and has to have time to run then."""
_ALWAYS: Final[dict[str, str | int]] = {
    "connect_timeout": CONNECT_WITHIN_S,
    "keepalives": 1,
    "keepalives_idle": 1,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 2_000,
    "target_session_attrs": "read-write",
}

log = structlog.get_logger()

Connection = psycopg.Connection[rows.TupleRow]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where a cluster's journal is, and who asks for it."""

    database: str
    """A libpq connection string or URL. It may hold a password and is never printed."""
    cluster: str
    node: str

    @property
    def application_name(self) -> str:
        return f"larkd/{self.cluster}@{self.node}"


class CheckedConnection(msgspec.Struct, frozen=True):
    """A connection to a server that may be used."""

    connection: Connection
    replicated: bool
    """Whether the server waited for a synchronous replica at each commit, then."""


def connect(target: Target) -> CheckedConnection:
    """Connect, or raise why not.

    Blocks for :data:`CONNECT_WITHIN_S` a host at most, and as long again for the checks.

    Raises:
        JournalUnavailable: it can't be reached or must not be used; the text names the
            cause and the remedy, and never the password.
    """
    try:
        given = conninfo.conninfo_to_dict(target.database)
    except psycopg.Error as wrong:
        raise JournalUnavailable(
            "cluster.database is no connection string of PostgreSQL; write it as"
            " postgresql://user:password@host:5432/database"
        ) from wrong
    _require_verified(given)
    options = (
        f"{given.get('options') or ''} -c search_path=larkd_{target.cluster}"
        " -c idle_in_transaction_session_timeout=1s -c lock_timeout=1s"
        r" -c default_transaction_isolation=read\ committed"
    ).strip()
    try:
        connection = psycopg.connect(
            **{
                **given,
                **_ALWAYS,
                "application_name": target.application_name,
                "options": options,
            },  # type: ignore[arg-type]  # libpq's own names, checked by it
            autocommit=True,
        )
    except (psycopg.Error, UnicodeError) as failed:  # the latter: of a name that none can be
        reason = str(failed)
        away = any(text in reason for text in _PASSING)
        error = JournalUnreachable if away else JournalUnavailable
        raise error(_explained(reason, given)) from failed
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.adapters.register_dumper(Column, ColumnDumper)
    try:
        replicated = _checked(connection, given, f"larkd_{target.cluster}")
    except psycopg.Error as failed:
        error = JournalUnreachable if connection.closed else JournalUnavailable
        connection.close()
        raise error(_explained(str(failed), given)) from failed
    except BaseException:
        connection.close()
        raise
    return CheckedConnection(connection, replicated)


def is_replicated(connection: Connection) -> bool:
    """Whether the server waits for a synchronous replica at each commit."""
    return _setting(connection, "synchronous_standby_names") != ""


def is_pooled(connection: Connection) -> bool:
    """Whether a pooler stands before the server: the process it names is not the one we have."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row != (connection.info.backend_pid,)


def _require_verified(given: dict[str, Any]) -> None:
    if given.get("sslmode") == "verify-full":
        return
    hosts = str(given.get("hostaddr") or given.get("host") or "").split(",")
    for host in hosts:
        if not _is_here(host):
            raise JournalUnavailable(
                f"the database at {host} is on another machine: give sslmode=verify-full, and"
                " sslrootcert=FILE with the certificate that signed the server's"
            )


def _is_here(host: str) -> bool:
    if host in {"", "localhost"} or host.startswith(("/", "@")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _checked(connection: Connection, given: dict[str, Any], schema: str) -> bool:
    """Return whether commits are replicated, of a server that may be used. One round trip."""
    where = _where(given)
    if connection.info.server_version < SERVER_VERSION_MIN:
        raise JournalUnavailable(
            f"the database at {where} is PostgreSQL"
            f" {connection.info.server_version // 10_000}; 15 or newer is needed"
        )
    asked = connection.execute(_STATE).fetchone()
    fsync, recovering, replicas, search_path, timeout_ms, _ = asked or ("", True, "", "", 0, "")
    if fsync != "on":
        raise JournalUnavailable(
            f"the database at {where} runs with fsync=off and would lose messages acked to"
            " Feishu; set fsync=on there and restart it"
        )
    if recovering:
        raise JournalUnavailable(_in_recovery(where))
    if search_path != schema:
        raise JournalUnavailable(
            f"what {where} leads to takes no options of a connection: it is a pooler;"
            f" {_PAST_POOLER}"
        )
    if 0 < timeout_ms < STATEMENT_TIMEOUT_MS_MIN:
        user = connection.info.user
        raise JournalUnavailable(
            f"the database at {where} ends statements of user {user} after {timeout_ms} ms;"
            f" ALTER ROLE {user} SET statement_timeout = 0"
        )
    return str(replicas).strip() != ""


_STATE: Final = (
    "SELECT current_setting('fsync'), pg_is_in_recovery(),"
    " current_setting('synchronous_standby_names'), current_setting('search_path'),"
    " (extract(epoch FROM current_setting('statement_timeout')::interval) * 1000)::bigint,"
    " set_config('synchronous_commit', 'on', false)"
)
_PAST_POOLER: Final = "name PostgreSQL itself in cluster.database, not a pooler before it"


def _setting(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return "" if row is None else str(row[0]).strip()


def _where(given: dict[str, Any]) -> str:
    host = given.get("host") or given.get("hostaddr") or "its socket"
    return f"{host} port {given.get('port') or 5432}"


def _in_recovery(where: str) -> str:
    return (
        f"the database at {where} is in recovery (a replica): name the primary, or all hosts"
        " of it as host=a,b; or it is read-only for this user: ALTER ROLE … RESET"
        " default_transaction_read_only"
    )


_PASSING: Final = (
    "Connection refused",
    "timeout expired",
    "timed out",
    "starting up",
    "shutting down",
    "server closed the connection",
    "No route to host",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "too many clients",
    "too many connections",
    "connection slots are reserved",
)
"""What may pass by itself: a node waits for it."""
_REMEDIES: Final = (
    ("password authentication failed", "correct user and password in cluster.database"),
    ("no password supplied", "give the password in cluster.database"),
    ("certificate has expired", "renew the server's certificate"),
    ("does not match host name", "name the host as the server's certificate does"),
    (
        "certificate verify failed",  # libpq names no more
        "renew the server's certificate if it has expired, and set sslrootcert to who signed it",
    ),
    ("root certificate file", "set sslrootcert to the certificate that signed the server's"),
    ("server does not support SSL", "turn ssl on in the server"),
    ("does not exist", "create it in the server, or correct cluster.database"),
    (
        "failed to resolve host",
        "correct the host in cluster.database, or see that its name is known here",
    ),
    ("Connection refused", "start the server, or correct host and port in cluster.database"),
    ("timeout expired", "see that the host can be reached from here"),
    ("permission denied", "grant this user the right: GRANT CREATE, CONNECT ON DATABASE …"),
    ("invalid port", "correct cluster.database"),
    ("invalid integer", "correct cluster.database"),
    ("invalid sslmode", "correct cluster.database"),
    ("could not match", "name as many ports as hosts in cluster.database, or one for all"),
    ("unrecognized configuration parameter", "correct the options in cluster.database"),
    ("'idna' codec failed", "correct the host in cluster.database"),
    ("too many connections", "raise the CONNECTION LIMIT of this user or database"),
    ("too many clients", "raise max_connections in the server"),
    ("connection slots are reserved", "raise max_connections in the server"),
    ("unsupported startup parameter", _PAST_POOLER),
)


def _explained(reason: str, given: dict[str, Any]) -> str:
    """Return libpq's reason in one line, with the remedy."""
    password = str(given.get("password") or "")
    line = " ".join(reason.split())
    if password:
        line = line.replace(password, "…")
    where = _where(given)
    if "read-only" in line or "hot standby" in line or "in recovery" in line:
        return _in_recovery(where)
    remedy = next((remedy for text, remedy in _REMEDIES if text in line), "look into its log")
    return f"the database at {where} can't be used ({line}); {remedy}"
