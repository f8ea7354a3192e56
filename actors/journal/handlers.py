"""Which function carries out which message. It runs inside a transaction of its store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from actors.journal import (
    access,
    commands,
    conversations,
    correspondence,
    history,
    ledgers,
    looking,
    questions,
    roster,
    rows,
    sweeping,
    waiting,
)
from actors.journal.db import Db
from actors.messages import journal

Handler = Callable[[Db, Any], Any]
"""Takes the message; answers at once, or by ``Later``."""

HANDLERS: Final[Mapping[type, Handler]] = {
    journal.Append: rows.append,
    journal.Unprepared: rows.unprepared,
    journal.Dispatch: rows.dispatch,
    journal.Prepare: rows.prepare,
    journal.FindWaiting: waiting.waiting,
    journal.DropWaiting: waiting.drop_waiting,
    journal.DropMessage: waiting.drop_message,
    journal.FindHistory: history.find_history,
    journal.TopicHad: history.topic_had,
    journal.Close: rows.close,
    journal.ClaimCommand: commands.claim_command,
    journal.NoteAnswer: commands.note_answer,
    journal.OfferNext: rows.offer_next,
    journal.Acked: rows.acked,
    journal.Release: rows.release,
    journal.ReleaseUnknown: sweeping.release_unknown,
    journal.Queue: waiting.queue,
    journal.LookAtRows: looking.look_at_rows,
    journal.Explain: history.explain,
    journal.Prune: rows.prune,
    journal.LoadLease: ledgers.load_lease,
    journal.SaveLease: ledgers.save_lease,
    journal.LoadRoster: roster.load_roster,
    journal.SaveSession: roster.save_session,
    journal.ForgetSession: roster.forget_session,
    journal.SaveUnread: roster.save_unread,
    journal.NoteConversation: conversations.note_conversation,
    journal.FindConversations: conversations.find_conversations,
    journal.OpenCard: ledgers.open_card,
    journal.NoteCard: ledgers.note_card,
    journal.CloseCard: ledgers.close_card,
    journal.OpenCards: ledgers.open_cards,
    journal.WhoseCard: ledgers.whose_card,
    journal.Correspondent: correspondence.correspondent,
    journal.FindAttachment: correspondence.find_attachment,
    journal.FindChat: correspondence.find_chat,
    journal.FindTurnPlace: correspondence.find_turn_place,
    journal.NoteSent: correspondence.note_sent,
    journal.WhereIs: correspondence.where_is,
    journal.Unanswered: correspondence.unanswered,
    journal.Overdue: correspondence.overdue,
    journal.EnterQuestion: questions.enter_question,
    journal.ForgetQuestion: questions.forget_question,
    journal.FindQuestion: questions.find_question,
    journal.AnswerQuestion: questions.answer_question,
    journal.NoteQuestionCard: questions.note_question_card,
    journal.CloseQuestion: questions.close_question,
    journal.EnterApproval: ledgers.enter_approval,
    journal.ForgetApproval: ledgers.forget_approval,
    journal.ApprovalsLeft: ledgers.approvals_left,
    journal.EnterTyping: ledgers.enter_typing,
    journal.ForgetTyping: ledgers.forget_typing,
    journal.TypingLeft: ledgers.typing_left,
    journal.CountCalls: access.count_calls,
    journal.LoadAccess: access.load_access,
    journal.SaveAccess: access.save_access,
}
