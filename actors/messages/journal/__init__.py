"""What the journal accepts. Every answer is sent after the commit it speaks of."""

from __future__ import annotations

from actors.messages.journal.answers import (
    Done,
    Failed,
)
from actors.messages.journal.asking import ask_journal, ask_journal_until_stored
from actors.messages.journal.conversations import (
    FindConversations,
    NoteConversation,
)
from actors.messages.journal.looking import (
    ChatSeen,
    ChatWaiting,
    Explain,
    Explained,
    LookAtRows,
    RowGiven,
    RowsSeen,
    RowWaiting,
)
from actors.messages.journal.questions import (
    AnswerQuestion,
    CloseQuestion,
    EnterQuestion,
    FindQuestion,
    ForgetQuestion,
    NoteQuestionCard,
    OpenQuestion,
    QuestionClosed,
)
from actors.messages.journal.records import (
    ApprovalLeft,
    ApprovalOpening,
    ApprovalsLeft,
    CardOutcome,
    CardTurn,
    ChatKnownAs,
    CloseCard,
    Correspondence,
    Correspondent,
    CountCalls,
    EnterApproval,
    EnterTyping,
    FindAttachment,
    FindChat,
    FindTurnPlace,
    ForgetApproval,
    ForgetTyping,
    GivenAttachment,
    LedgerEntry,
    LoadAccess,
    MessageAt,
    NoteCard,
    NoteSent,
    OpenCard,
    OpenCards,
    Overdue,
    SaveAccess,
    TurnPlace,
    TypingEntry,
    TypingLeft,
    Unanswered,
    UnansweredRow,
    WhereIs,
    WhoseCard,
    text_entry_id,
)
from actors.messages.journal.rows import (
    Acked,
    Append,
    Appended,
    Capacity,
    ClaimCommand,
    Claimed,
    Close,
    Dispatch,
    DropMessage,
    DropWaiting,
    FindHistory,
    FindWaiting,
    ForgetSession,
    LaneFull,
    LoadLease,
    LoadRoster,
    NoteAnswer,
    OfferNext,
    Prepare,
    PreparedRow,
    Prune,
    Queue,
    QueueState,
    Release,
    Released,
    ReleaseUnknown,
    SaveLease,
    SaveSession,
    SaveUnread,
    TopicHad,
    Unprepared,
    WaitingRow,
)

JournalMessage = (
    Append
    | Unprepared
    | Dispatch
    | Prepare
    | FindWaiting
    | DropWaiting
    | DropMessage
    | FindHistory
    | TopicHad
    | Close
    | ClaimCommand
    | NoteAnswer
    | OfferNext
    | Acked
    | Release
    | ReleaseUnknown
    | Queue
    | LookAtRows
    | Explain
    | Prune
    | LoadLease
    | SaveLease
    | LoadRoster
    | SaveSession
    | ForgetSession
    | SaveUnread
    | NoteConversation
    | FindConversations
    | OpenCard
    | NoteCard
    | CloseCard
    | OpenCards
    | WhoseCard
    | Correspondent
    | FindAttachment
    | FindChat
    | EnterQuestion
    | ForgetQuestion
    | FindQuestion
    | AnswerQuestion
    | NoteQuestionCard
    | CloseQuestion
    | FindTurnPlace
    | NoteSent
    | WhereIs
    | Unanswered
    | Overdue
    | EnterApproval
    | ForgetApproval
    | ApprovalsLeft
    | EnterTyping
    | ForgetTyping
    | TypingLeft
    | CountCalls
    | LoadAccess
    | SaveAccess
)

__all__ = [
    "Acked",
    "AnswerQuestion",
    "Append",
    "Appended",
    "ApprovalLeft",
    "ApprovalOpening",
    "ApprovalsLeft",
    "Capacity",
    "CardOutcome",
    "CardTurn",
    "ChatKnownAs",
    "ChatSeen",
    "ChatWaiting",
    "ClaimCommand",
    "Claimed",
    "Close",
    "CloseCard",
    "CloseQuestion",
    "Correspondence",
    "Correspondent",
    "CountCalls",
    "Dispatch",
    "Done",
    "DropMessage",
    "DropWaiting",
    "EnterApproval",
    "EnterQuestion",
    "EnterTyping",
    "Explain",
    "Explained",
    "Failed",
    "FindAttachment",
    "FindChat",
    "FindConversations",
    "FindHistory",
    "FindQuestion",
    "FindTurnPlace",
    "FindWaiting",
    "ForgetApproval",
    "ForgetQuestion",
    "ForgetSession",
    "ForgetTyping",
    "GivenAttachment",
    "JournalMessage",
    "LaneFull",
    "LedgerEntry",
    "LoadAccess",
    "LoadLease",
    "LoadRoster",
    "LookAtRows",
    "MessageAt",
    "NoteAnswer",
    "NoteCard",
    "NoteConversation",
    "NoteQuestionCard",
    "NoteSent",
    "OfferNext",
    "OpenCard",
    "OpenCards",
    "OpenQuestion",
    "Overdue",
    "Prepare",
    "PreparedRow",
    "Prune",
    "QuestionClosed",
    "Queue",
    "QueueState",
    "Release",
    "ReleaseUnknown",
    "Released",
    "RowGiven",
    "RowWaiting",
    "RowsSeen",
    "SaveAccess",
    "SaveLease",
    "SaveSession",
    "SaveUnread",
    "TopicHad",
    "TurnPlace",
    "TypingEntry",
    "TypingLeft",
    "Unanswered",
    "UnansweredRow",
    "Unprepared",
    "WaitingRow",
    "WhereIs",
    "WhoseCard",
    "ask_journal",
    "ask_journal_until_stored",
    "text_entry_id",
]
