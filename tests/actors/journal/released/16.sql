PRAGMA application_id = 1818325611;
PRAGMA user_version = 16;
BEGIN TRANSACTION;
CREATE TABLE access (
        account TEXT PRIMARY KEY,
        book    BLOB NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "access" VALUES('default',X'7B227573657273223A5B5D2C2267726F757073223A5B226F635F31225D2C2261646D696E73223A5B5D2C227265717565737473223A5B5D7D');
CREATE TABLE approval (
        entry_id   TEXT PRIMARY KEY,
        account    TEXT NOT NULL,
        message_id TEXT,
        opening    BLOB,
        last_card  TEXT NOT NULL
    );
INSERT INTO "approval" VALUES('om_ask','default','om_ask',NULL,'{}');
CREATE TABLE binding (
        chat_id    TEXT PRIMARY KEY,
        session_id TEXT NOT NULL
    ) WITHOUT ROWID;
INSERT INTO "binding" VALUES('oc_bound','s_bound');
CREATE TABLE calls (
        account TEXT NOT NULL,
        month   TEXT NOT NULL,
        calls   INTEGER NOT NULL,
        PRIMARY KEY (account, month)
    ) WITHOUT ROWID;
INSERT INTO "calls" VALUES('default','2026-11',12);
CREATE TABLE card (
        card_id       TEXT PRIMARY KEY,
        account       TEXT NOT NULL,
        chat_id       TEXT NOT NULL,
        turn_id       TEXT NOT NULL,
        session_id    TEXT NOT NULL,
        session_alias TEXT NOT NULL,
        message_id    TEXT,
        opened_at     INTEGER NOT NULL,
        closed_at     INTEGER,
        outcome       TEXT
    , text BLOB NOT NULL DEFAULT '', term INTEGER, panels BLOB);
INSERT INTO "card" VALUES('c_open','default','oc_1','turn_c_open','s','blue','om_card',1,NULL,NULL,X'736F206661723A20E5A49AE8AFADE8A880',NULL,NULL);
INSERT INTO "card" VALUES('c_closed','default','oc_1','turn_c_closed','s','blue',NULL,1,10,'complete','',NULL,NULL);
CREATE TABLE content (
        row_id   INTEGER PRIMARY KEY REFERENCES inbound ON DELETE CASCADE,
        payload  BLOB NOT NULL,
        prepared BLOB
    );
INSERT INTO "content" VALUES(1,X'7B226576656E74223A227265636569766564227D',NULL);
INSERT INTO "content" VALUES(2,X'7B7D',X'87A7636861745F6964A86F635F626F756E64AA6D6573736167655F6964A46F6D5F31A973656E6465725F6964A46F755F31A9636861745F74797065A3703270A7636F6E74656E74BA7465787420666F722074686520626F756E642073657373696F6EA46D65746181A46B696E64A76D657373616765AB6174746163686D656E747390');
INSERT INTO "content" VALUES(3,X'7B7D',X'87A7636861745F6964A46F635F31AA6D6573736167655F6964A46F6D5F31A973656E6465725F6964A46F755F31A9636861745F74797065A3703270A7636F6E74656E74AEE5A49AE8AFADE8A88020F09F8E89A46D65746181A46B696E64A76D657373616765AB6174746163686D656E747390');
INSERT INTO "content" VALUES(4,X'7B7D',X'87A7636861745F6964A46F635F32AA6D6573736167655F6964A46F6D5F31A973656E6465725F6964A46F755F31A9636861745F74797065A3703270A7636F6E74656E74A964656C697665726564A46D65746181A46B696E64A76D657373616765AB6174746163686D656E747390');
CREATE TABLE conversation (
        agent           TEXT NOT NULL,
        cwd             TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        title           TEXT,
        used_at         INTEGER NOT NULL,
        PRIMARY KEY (agent, cwd, conversation_id)
    ) WITHOUT ROWID;
INSERT INTO "conversation" VALUES('claude','/work','conv_1','A title: 多语言',1000);
CREATE TABLE given (
        session_id TEXT NOT NULL,
        chat_id    TEXT NOT NULL,
        account    TEXT NOT NULL,
        PRIMARY KEY (chat_id, session_id)
    ) WITHOUT ROWID;
INSERT INTO "given" VALUES('s_owner','oc_1','default');
INSERT INTO "given" VALUES('s_owner','oc_2','default');
CREATE TABLE inbound (
        row_id        INTEGER PRIMARY KEY AUTOINCREMENT,
        account       TEXT NOT NULL,
        event_id      TEXT NOT NULL UNIQUE,
        message_key   TEXT,
        kind          TEXT NOT NULL,
        state         TEXT NOT NULL,
        chat_id       TEXT,
        routed_to      TEXT,
        attempt       INTEGER NOT NULL DEFAULT 0,
        connection_id INTEGER,
        session_id    TEXT,
        lease_epoch   INTEGER,
        received_at   INTEGER NOT NULL,
        changed_at    INTEGER NOT NULL,
        note          TEXT
    , answer BLOB, offered_at INTEGER, seen_at INTEGER, topic TEXT, joined_to INTEGER);
INSERT INTO "inbound" VALUES(1,'default','e_received','om_received','message','received',NULL,NULL,0,NULL,NULL,NULL,1000,1000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "inbound" VALUES(2,'default','e_bound',NULL,'message','ready','oc_bound','s_bound',0,NULL,NULL,NULL,1000,1000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "inbound" VALUES(3,'default','e_open',NULL,'message','delivered','oc_1','',1,7,'s_owner',1,1000,3000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "inbound" VALUES(4,'default','e_delivered',NULL,'message','offered','oc_2','',1,7,'s_owner',1,1000,2000,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "inbound" VALUES(5,'default','e_answered','om_answered','message','answered','oc_3','',0,NULL,NULL,NULL,1000,4000,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE lease (
        one        INTEGER PRIMARY KEY CHECK (one = 1),
        owner      TEXT,
        dispatcher TEXT,
        granted    TEXT,
        epoch      INTEGER NOT NULL
    );
INSERT INTO "lease" VALUES(1,'s_owner',NULL,NULL,41);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('generation',1);
CREATE TABLE question (
        question_id TEXT PRIMARY KEY,
        session_id  TEXT NOT NULL,
        asked_at    INTEGER NOT NULL,
        asked       BLOB NOT NULL
    );
INSERT INTO "question" VALUES('q_1','s_owner',1000,X'88AB7175657374696F6E5F6964A3715F31AA73657373696F6E5F6964A7735F6F776E6572A76163636F756E74A764656661756C74A7636861745F6964A46F635F31A9636861745F74797065A567726F7570A97175657374696F6E739184A87175657374696F6EACE593AAE4B880E4B8AAEFBC9FA6686561646572A0A76F7074696F6E739182A56C6162656CA141AB6465736372697074696F6EA0A86D756C7469706C65C2AB61736B65645F61745F6D73CD03E8A5746F706963C0');
CREATE TABLE sent (
        message_id TEXT PRIMARY KEY,
        account    TEXT NOT NULL,
        chat_id    TEXT NOT NULL,
        sent_at    INTEGER NOT NULL
    , topic TEXT);
INSERT INTO "sent" VALUES('om_sent','default','oc_1',9,NULL);
CREATE TABLE session (
        session_id TEXT PRIMARY KEY,
        alias      TEXT NOT NULL,
        agent      TEXT NOT NULL,
        cwd        TEXT NOT NULL,
        reply_mode TEXT,
        seen_at    INTEGER NOT NULL
    , role TEXT, choices TEXT NOT NULL DEFAULT '{}', started TEXT, conversation TEXT) WITHOUT ROWID;
INSERT INTO "session" VALUES('s_owner','blue','claude','/work',NULL,5,NULL,'{}',NULL,NULL);
CREATE TABLE turn_place (
        session_id TEXT NOT NULL,
        account    TEXT NOT NULL,
        chat_id    TEXT NOT NULL,
        thread_id  TEXT NOT NULL,
        chat_type  TEXT NOT NULL,
        message_id TEXT NOT NULL,
        sender_id  TEXT NOT NULL,
        row_id     INTEGER NOT NULL, topic TEXT,
        PRIMARY KEY (session_id, account, chat_id, thread_id)
    );
INSERT INTO "turn_place" VALUES('s_owner','default','oc_1','omt_1','group','om_topic','ou_1',1,'omt_1');
CREATE TABLE typing (
        message_id  TEXT NOT NULL,
        turn_id     TEXT NOT NULL,
        account     TEXT NOT NULL,
        reaction_id TEXT,
        term        INTEGER NOT NULL,
        PRIMARY KEY (message_id, turn_id)
    );
INSERT INTO "typing" VALUES('om_typing','t_1','default','re_1',1);
CREATE TABLE unread (
        session_id TEXT NOT NULL REFERENCES session ON DELETE CASCADE,
        chat_id    TEXT NOT NULL,
        PRIMARY KEY (session_id, chat_id)
    ) WITHOUT ROWID;
INSERT INTO "unread" VALUES('s_owner','oc_1');
CREATE UNIQUE INDEX inbound_message ON inbound (account, message_key)
        WHERE message_key IS NOT NULL;
CREATE INDEX inbound_received ON inbound (account, row_id) WHERE state = 'received';
CREATE INDEX inbound_ready ON inbound (routed_to, row_id) WHERE state = 'ready';
CREATE INDEX inbound_pending ON inbound (received_at) WHERE state IN ('received', 'ready');
CREATE INDEX inbound_offered ON inbound (connection_id, row_id) WHERE state = 'offered';
CREATE INDEX inbound_unanswered ON inbound (session_id, row_id)
        WHERE state IN ('offered', 'delivered');
CREATE INDEX inbound_delivered ON inbound (changed_at) WHERE state = 'delivered';
CREATE INDEX inbound_chat ON inbound (chat_id) WHERE state IN ('received', 'ready', 'offered');
CREATE INDEX inbound_damaged ON inbound (row_id) WHERE state = 'damaged';
CREATE INDEX inbound_closed ON inbound (received_at)
        WHERE state IN ('answered', 'command', 'damaged', 'expired', 'refused');
CREATE INDEX sent_by_age ON sent (sent_at);
CREATE INDEX card_message ON card (message_id) WHERE message_id IS NOT NULL;
CREATE INDEX card_open ON card (opened_at) WHERE closed_at IS NULL;
CREATE INDEX card_closed ON card (closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX inbound_claimed ON inbound (row_id)
        WHERE state = 'received' AND answer IS NOT NULL;
CREATE INDEX turn_place_last ON turn_place (session_id, row_id);
CREATE INDEX turn_place_chat ON turn_place (chat_id, row_id);
CREATE INDEX inbound_last ON inbound (account, chat_id, row_id) WHERE chat_id IS NOT NULL;
CREATE INDEX question_of ON question (session_id);
CREATE INDEX question_asked ON question (asked_at);
CREATE INDEX inbound_joined ON inbound (joined_to, row_id) WHERE joined_to IS NOT NULL;
CREATE INDEX conversation_used ON conversation (used_at);
CREATE INDEX inbound_topic ON inbound (account, topic, row_id) WHERE topic IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('inbound',5);
COMMIT;
