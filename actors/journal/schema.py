"""The journal's tables, and how an older journal becomes one of today; for both stores.

Times are milliseconds since 1970. No statement scans a table that grows with the age
of the installation: each has its index, partial where only few rows are concerned.

The text is SQLite's; ``postgres/schema.py`` has the words in which PostgreSQL differs.
"""

from __future__ import annotations

from typing import Final

# inbound.routed_to is the session its chat was bound to when the row was dispatched, ''
# when the chat was unbound. So the oldest row for a session is one step into
# inbound_ready, however many rows wait for sessions that are away.
#
# content is apart from inbound, and goes when its row is answered: what is kept for
# de-duplication is small, and whole pages come free. (Emptying a row in its place would
# leave its page as large as before.)
#
# AUTOINCREMENT: the id of a pruned row is never given to another one, so that a late
# message about the old row can't touch the new.
MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('generation', 0);

    CREATE TABLE inbound (
        row_id        INTEGER PRIMARY KEY AUTOINCREMENT,
        account       TEXT NOT NULL,
        event_id      TEXT NOT NULL UNIQUE,
        message_key   TEXT,
        kind          TEXT NOT NULL,
        state         TEXT NOT NULL,
        chat_id       TEXT,
        heard_by      TEXT,
        attempt       INTEGER NOT NULL DEFAULT 0,
        connection_id INTEGER,
        session_id    TEXT,
        lease_epoch   INTEGER,
        received_at   INTEGER NOT NULL,
        changed_at    INTEGER NOT NULL,
        note          TEXT
    );
    CREATE TABLE content (
        row_id   INTEGER PRIMARY KEY REFERENCES inbound ON DELETE CASCADE,
        payload  BLOB NOT NULL,
        prepared BLOB
    );
    CREATE UNIQUE INDEX inbound_message ON inbound (account, message_key)
        WHERE message_key IS NOT NULL;
    CREATE INDEX inbound_received ON inbound (account, row_id) WHERE state = 'received';
    CREATE INDEX inbound_ready ON inbound (heard_by, row_id) WHERE state = 'ready';
    CREATE INDEX inbound_pending ON inbound (received_at) WHERE state IN ('received', 'ready');
    CREATE INDEX inbound_offered ON inbound (connection_id, row_id) WHERE state = 'offered';
    CREATE INDEX inbound_unanswered ON inbound (session_id, row_id)
        WHERE state IN ('offered', 'delivered');
    CREATE INDEX inbound_delivered ON inbound (changed_at) WHERE state = 'delivered';
    CREATE INDEX inbound_chat ON inbound (chat_id) WHERE state IN ('received', 'ready', 'offered');
    CREATE INDEX inbound_damaged ON inbound (row_id) WHERE state = 'damaged';
    CREATE INDEX inbound_closed ON inbound (received_at)
        WHERE state IN ('answered', 'command', 'damaged', 'expired', 'refused');

    CREATE TABLE lease (
        one        INTEGER PRIMARY KEY CHECK (one = 1),
        owner      TEXT,
        dispatcher TEXT,
        granted    TEXT,
        epoch      INTEGER NOT NULL
    );
    INSERT INTO lease VALUES (1, NULL, NULL, NULL, 0);

    CREATE TABLE binding (
        chat_id    TEXT PRIMARY KEY,
        session_id TEXT NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE session (
        session_id TEXT PRIMARY KEY,
        alias      TEXT NOT NULL,
        agent      TEXT NOT NULL,
        cwd        TEXT NOT NULL,
        reply_mode TEXT,
        seen_at    INTEGER NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE unread (
        session_id TEXT NOT NULL REFERENCES session ON DELETE CASCADE,
        chat_id    TEXT NOT NULL,
        PRIMARY KEY (session_id, chat_id)
    ) WITHOUT ROWID;

    CREATE TABLE given (
        session_id TEXT NOT NULL,
        chat_id    TEXT NOT NULL,
        account    TEXT NOT NULL,
        PRIMARY KEY (chat_id, session_id)
    ) WITHOUT ROWID;

    CREATE TABLE sent (
        message_id TEXT PRIMARY KEY,
        account    TEXT NOT NULL,
        chat_id    TEXT NOT NULL,
        sent_at    INTEGER NOT NULL
    );
    CREATE INDEX sent_by_age ON sent (sent_at);

    CREATE TABLE approval (
        message_id TEXT PRIMARY KEY,
        account    TEXT NOT NULL,
        last_card  TEXT NOT NULL
    );

    CREATE TABLE calls (
        account TEXT NOT NULL,
        month   TEXT NOT NULL,
        calls   INTEGER NOT NULL,
        PRIMARY KEY (account, month)
    ) WITHOUT ROWID;

    CREATE TABLE access (
        account TEXT PRIMARY KEY,
        book    BLOB NOT NULL
    ) WITHOUT ROWID;

    CREATE TABLE card (
        card_id       TEXT PRIMARY KEY,
        account       TEXT NOT NULL,
        chat_id       TEXT NOT NULL,
        turn_id       TEXT NOT NULL,
        session_id    TEXT NOT NULL,
        session_alias TEXT NOT NULL,
        message_id    TEXT,
        text          TEXT NOT NULL DEFAULT '',
        opened_at     INTEGER NOT NULL,
        closed_at     INTEGER,
        outcome       TEXT
    );
    CREATE INDEX card_message ON card (message_id) WHERE message_id IS NOT NULL;
    CREATE INDEX card_open ON card (opened_at) WHERE closed_at IS NULL;
    CREATE INDEX card_closed ON card (closed_at) WHERE closed_at IS NOT NULL;
    """,
    # card.text as bytes: PostgreSQL's text can't hold U+0000. A table's column can't change
    # its type in SQLite, so there is a new one.
    """
    ALTER TABLE inbound RENAME COLUMN heard_by TO routed_to;

    ALTER TABLE card RENAME COLUMN text TO text_before;
    ALTER TABLE card ADD COLUMN text BLOB NOT NULL DEFAULT '';
    UPDATE card SET text = CAST(text_before AS BLOB) WHERE closed_at IS NULL;
    ALTER TABLE card DROP COLUMN text_before;
    """,
    # card.term is NULL for a card from before the column. typing holds the Typing marks that
    # are on messages, or may be; reaction_id is NULL while the platform has not answered.
    """
    ALTER TABLE card ADD COLUMN term INTEGER;
    ALTER TABLE card ADD COLUMN panels BLOB;

    CREATE TABLE typing (
        message_id  TEXT PRIMARY KEY,
        account     TEXT NOT NULL,
        reaction_id TEXT,
        term        INTEGER NOT NULL
    );
    """,
    """
    ALTER TABLE session ADD COLUMN role TEXT;
    ALTER TABLE session ADD COLUMN choices TEXT NOT NULL DEFAULT '{}';
    """,
    # answer is what a command's sender is to be answered: see commands.py.
    """
    ALTER TABLE inbound ADD COLUMN answer BLOB;
    CREATE INDEX inbound_claimed ON inbound (row_id)
        WHERE state = 'received' AND answer IS NOT NULL;
    """,
    # Where a session was given a message last: where a turn of its own may be shown.
    """
    CREATE TABLE turn_place (
        session_id TEXT NOT NULL,
        account    TEXT NOT NULL,
        chat_id    TEXT NOT NULL,
        thread_id  TEXT NOT NULL,
        chat_type  TEXT NOT NULL,
        message_id TEXT NOT NULL,
        sender_id  TEXT NOT NULL,
        row_id     INTEGER NOT NULL,
        PRIMARY KEY (session_id, account, chat_id, thread_id)
    );
    CREATE INDEX turn_place_last ON turn_place (session_id, row_id);
    """,
    # What a chat is, for who writes there unprompted.
    """
    CREATE INDEX turn_place_chat ON turn_place (chat_id, row_id);
    """,
    # When a row took each step, NULL for one that did so before; see history.py. A row whose
    # chat is known is a prompt, or a message that was refused there.
    """
    ALTER TABLE inbound ADD COLUMN offered_at INTEGER;
    ALTER TABLE inbound ADD COLUMN seen_at INTEGER;
    CREATE INDEX inbound_last ON inbound (account, chat_id, row_id) WHERE chat_id IS NOT NULL;
    """,
    # Each turn puts a mark of its own: of two attempts at a message the later may be over
    # before the platform has answered the earlier.
    """
    ALTER TABLE typing RENAME TO typing_before;
    CREATE TABLE typing (
        message_id  TEXT NOT NULL,
        turn_id     TEXT NOT NULL,
        account     TEXT NOT NULL,
        reaction_id TEXT,
        term        INTEGER NOT NULL,
        PRIMARY KEY (message_id, turn_id)
    );
    INSERT INTO typing (message_id, turn_id, account, reaction_id, term)
        SELECT message_id, '', account, reaction_id, term FROM typing_before;
    DROP TABLE typing_before;
    """,
    # How an agent was started from a chat; NULL for any other session.
    """
    ALTER TABLE session ADD COLUMN started TEXT;
    """,
    # Questions nobody has answered yet.
    """
    CREATE TABLE question (
        question_id TEXT PRIMARY KEY,
        session_id  TEXT NOT NULL,
        asked_at    INTEGER NOT NULL,
        asked       BLOB NOT NULL
    );
    CREATE INDEX question_of ON question (session_id);
    CREATE INDEX question_asked ON question (asked_at);
    """,
    # topic is the id of a topic that is a place of its own; NULL: the row is of its chat.
    """
    ALTER TABLE inbound ADD COLUMN topic TEXT;
    ALTER TABLE turn_place ADD COLUMN topic TEXT;
    """,
    # Which rows are one prompt together: see joined.py.
    """
    ALTER TABLE inbound ADD COLUMN joined_to INTEGER;
    CREATE INDEX inbound_joined ON inbound (joined_to, row_id) WHERE joined_to IS NOT NULL;
    """,
    # The conversations of agents; session.conversation is the one that it was in last.
    """
    ALTER TABLE session ADD COLUMN conversation TEXT;
    CREATE TABLE conversation (
        agent           TEXT NOT NULL,
        cwd             TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        title           TEXT,
        used_at         INTEGER NOT NULL,
        PRIMARY KEY (agent, cwd, conversation_id)
    ) WITHOUT ROWID;
    CREATE INDEX conversation_used ON conversation (used_at);
    """,
    # The last message of a topic that is a place, and its first; and where ours went.
    """
    CREATE INDEX inbound_topic ON inbound (account, topic, row_id) WHERE topic IS NOT NULL;
    ALTER TABLE sent ADD COLUMN topic TEXT;
    """,
    # An entry is there before its card is sent: message_id is NULL while the platform has not
    # answered, and opening is what to ask it with.
    """
    ALTER TABLE approval RENAME TO approval_before;
    CREATE TABLE approval (
        entry_id   TEXT PRIMARY KEY,
        account    TEXT NOT NULL,
        message_id TEXT,
        opening    BLOB,
        last_card  TEXT NOT NULL
    );
    INSERT INTO approval (entry_id, account, message_id, last_card)
        SELECT message_id, account, message_id, last_card FROM approval_before;
    DROP TABLE approval_before;
    """,
    # Each change of a row evaluates the condition of each index, for the row before and after.
    # For a list of more than two values SQLite makes a table each time: two of them were a
    # quarter of all statements' time. See states.py.
    """
    DROP INDEX inbound_chat;
    CREATE INDEX inbound_chat ON inbound (chat_id)
        WHERE (state = 'received' OR state = 'ready' OR state = 'offered') IS TRUE;
    DROP INDEX inbound_closed;
    CREATE INDEX inbound_closed ON inbound (received_at)
        WHERE (state = 'answered' OR state = 'command' OR state = 'damaged'
            OR state = 'expired' OR state = 'refused') IS TRUE;
    """,
)
"""``MIGRATIONS[n]`` brings a journal of version n to version n + 1; one that was ever
released is never edited here, only followed by another one."""
