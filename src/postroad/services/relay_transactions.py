"""The mail transactions of one outgoing connection: groups in, outcomes out.

Takes groups from the lane while the session has room, splits those with many recipients over transactions, and
knows for every recipient whether it was answered, is under way or must go again when the connection ends.
Everything is a callback of the connection; only content that is not in memory costs a task.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from postroad.contracts.errors import StoreUnavailable
from postroad.contracts.queue_store import StoredContent
from postroad.rules.deliver_by import is_too_late, left_of, returned
from postroad.rules.replies import (
    MAY_HAVE_IT,
    NextHop,
    lacking_promise,
    limits_of,
    outcome_of,
    outcome_of_cut,
    outcome_of_lacking,
    wants_another_transaction,
)
from postroad.rules.verp import is_told_apart, reverse_path_of
from postroad.services.conversion import Conversions
from postroad.services.lanes import Sender, Tally, WorkSource
from postroad.services.parcel import Parcel
from postroad.services.relay_forms import Errand, Forms, Sending, Unfit
from postroad.services.relay_parts import Surroundings
from postroad.vocabulary.endpoint import Endpoint, TlsFacts
from postroad.vocabulary.enhanced_status import EnhancedStatus
from postroad.vocabulary.envelope import DeliverBy, Recipient
from postroad.vocabulary.limits import TRANSACTIONS_IN_FLIGHT
from postroad.vocabulary.outcome import Fate, Outcome
from postroad.wire.smtp.client import ClientSession
from postroad.wire.smtp.client_events import Ended, OutgoingTransaction, RecipientAnswered, Stage, TransactionEnded

_OUR_STORE = EnhancedStatus(4, 3, 0)
_LEAVING = 421


class Flight:
    """One transaction under way. `answered` counts the RCPT replies, which come in order (RFC 2920 section 3.1)."""

    __slots__ = ("accepted", "again", "answered", "content", "parcel", "recipients")

    def __init__(self, parcel: Parcel, content: bytes | StoredContent, recipients: tuple[Recipient, ...]) -> None:
        self.parcel = parcel
        self.content = content
        self.recipients = recipients
        self.answered = 0
        self.accepted: list[Recipient] = []
        self.again: list[Recipient] = []

    def unsettled(self) -> list[Recipient]:
        """Those without an outcome: accepted, to go again, or not answered."""
        return [*self.accepted, *self.again, *self.recipients[self.answered :]]


class Transactions:
    """`advance` is called when something that was waited for is there and the connection must be driven on."""

    def __init__(
        self,
        *,
        connection: Sender,
        lane: WorkSource,
        session: ClientSession,
        around: Surroundings,
        advance: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._lane = lane
        self._session = session
        self._clock = around.clock
        self._forms = Forms(
            around.store,
            around.conversions or Conversions(None, around.clock),
            lambda parcel: self._preparing is parcel,
        )
        self._tasks = around.tasks
        self._errors = around.errors
        self._advance = advance
        self.tally: Tally | None = None
        self._messages_max = around.settings.messages_per_connection
        self._recipients_max = around.settings.recipients_per_transaction
        self._extensions: dict[str, str] = {}
        self._by = NextHop()
        self._remote: Endpoint | None = None
        self._tls: TlsFacts | None = None
        self._reports = False
        self._flights: deque[Flight] = deque()
        self._partial: deque[Parcel] = deque()
        self._preparing: Parcel | None = None
        self._begun = 0
        self._others_turn = False
        self.concluded = 0
        """Transactions that the server answered to the end."""
        self.cut_something = False

    def ready(self, extensions: dict[str, str], by: NextHop, remote: Endpoint, tls: TlsFacts | None) -> None:
        self._extensions = self._forms.extensions = extensions
        self._by = by
        self._remote = remote
        self._tls = tls
        self._reports = "DSN" in extensions
        # RFC 9422 section 3.1
        said = limits_of(extensions)
        self._messages_max = min(self._messages_max, said.get("MAILMAX", self._messages_max))
        self._recipients_max = min(self._recipients_max, said.get("RCPTMAX", self._recipients_max))

    @property
    def is_idle(self) -> bool:
        return not self._flights and self._preparing is None

    # ---- beginning -------------------------------------------------------------------------------

    def feed(self) -> bool:
        """Begin what there is room for. True if anything was begun."""
        began = False
        while self._preparing is None and len(self._flights) < TRANSACTIONS_IN_FLIGHT and self._session.can_begin:
            parcel = self._next()
            if parcel is None:
                break
            began = self._begin(parcel) or began
        return began

    def _next(self) -> Parcel | None:
        idle = not self._flights
        if self._begun >= self._messages_max:
            if idle:
                self._give_back()
                self._session.quit()
            return None
        if self._partial and not (self._others_turn and self._lane.waiting):
            self._others_turn = True
            return self._partial.popleft()
        self._others_turn = False
        parcel = self._lane.take()
        if parcel is not None:
            self._lane.is_busy(self._connection)
        elif self._partial:
            return self._partial.popleft()
        elif idle and self._lane.wants_slot_back:
            self._session.quit()
        else:
            self._lane.has_room(self._connection, idle)
        return parcel

    def _give_back(self) -> None:
        """What has recipients left goes on over the next connection, where the lane has others."""
        for parcel in reversed(self._partial):
            if self._lane.put_back(parcel):
                continue
            text = f"The rest of the recipients did not fit into one connection to {self._by.name}."
            parcel.outcomes.extend(outcome_of_cut(each, text, None, self._by) for each in parcel.unsent)
            parcel.unsent = ()
            self._conclude(parcel)
        self._partial.clear()

    def _begin(self, parcel: Parcel) -> bool:
        """Begin its next transaction. False if that must wait for its content, or came to nothing."""
        parcel.remote, parcel.remote_name, parcel.tls = self._remote, self._by.name, self._tls
        if parcel.content is None:
            self._prepare(parcel, self._forms.fetch(parcel))
            return False
        work = parcel.work
        envelope = work.envelope
        deliver_by = envelope.deliver_by
        if deliver_by is not None or envelope.require_tls:
            now = self._clock.now()
            if deliver_by is not None and is_too_late(deliver_by, work.queued_at, now):
                self._return_all(parcel, deliver_by)
                return False
            deliver_by = None if deliver_by is None else left_of(deliver_by, work.queued_at, now)
            broken = lacking_promise(
                self._extensions, tls=self._tls, require_tls=envelope.require_tls, deliver_by=deliver_by
            )
            if broken is not None:
                self._fail_all(parcel, Unfit(broken))
                return False
        sending = self._forms.sending(parcel)
        if isinstance(sending, Unfit):
            self._fail_all(parcel, sending)
            return False
        if not isinstance(sending, Sending):
            self._prepare(parcel, sending)
            return False
        at_once = 1 if envelope.verp and is_told_apart(envelope) else self._recipients_max
        recipients = parcel.unsent[:at_once]
        parcel.unsent = parcel.unsent[at_once:]
        parcel.next_hop_reports = self._reports
        parcel.next_hop_keeps_time = "DELIVERBY" in self._extensions
        if parcel.unsent:
            self._partial.appendleft(parcel)
        self._flights.append(Flight(parcel, sending.content, recipients))
        self._begun += 1
        self._session.begin(
            OutgoingTransaction(
                envelope.reverse_path if not envelope.verp else reverse_path_of(envelope, recipients[0]),
                recipients,
                sending.size_bytes,
                sending.body,
                sending.smtputf8,
                envelope.ret,
                envelope.envid,
                envelope.require_tls,
                deliver_by,
                envelope.priority,
            ),
            sending.in_memory(),
        )
        return True

    def _return_all(self, parcel: Parcel, deliver_by: DeliverBy) -> None:
        parcel.outcomes.extend(returned(recipient, deliver_by) for recipient in parcel.unsent)
        parcel.unsent = ()
        self._conclude(parcel)

    def _fail_all(self, parcel: Parcel, unfit: Unfit) -> None:
        for recipient in parcel.unsent:
            parcel.outcomes.append(
                outcome_of_lacking(
                    recipient,
                    unfit.lack,
                    self._by,
                    size_bytes=unfit.size_bytes or parcel.work.size_bytes,
                    extensions=self._extensions,
                    unconvertible=unfit.unconvertible,
                )
            )
        parcel.unsent = ()
        self._conclude(parcel)

    def _conclude(self, parcel: Parcel) -> None:
        if parcel.is_concluded:
            self._lane.concluded(parcel)

    # ---- content that is not in memory -----------------------------------------------------------

    def _prepare(self, parcel: Parcel, errand: Errand) -> None:
        self._preparing = parcel
        self._tasks.create_task(self._prepared(parcel, errand))

    async def _prepared(self, parcel: Parcel, errand: Errand) -> None:
        trouble = ""
        there = True
        unfit: Unfit | None = None
        try:
            unfit = await errand()
        except KeyError:
            there = False
        except StoreUnavailable as error:
            trouble = f"The content could not be read from our own store: {error}"
        except Exception as error:
            self._errors(f"content of {parcel.work.queue_id}", error)
            trouble = "The content could not be read from our own store; the error was reported."
        if self._preparing is not parcel:
            return  # the connection ended meanwhile and the parcel has gone back to its lane
        self._preparing = None
        if not there:
            self._lane.gone(parcel)
        elif unfit is not None:
            self._fail_all(parcel, unfit)
        elif trouble:
            self._defer(parcel, parcel.unsent, trouble)
            parcel.unsent = ()
            self._conclude(parcel)
        elif parcel.unsent:
            self._partial.appendleft(parcel)
        self._advance()

    def content_failed(self, text: str) -> None:
        """The content of the transaction under way could not be read to its end: the connection must go, for
        nothing but its end tells the server that the message is not whole."""
        flight = self._flights.popleft()
        self._defer(flight.parcel, tuple(flight.unsettled()), text)
        if not flight.parcel.unsent:
            self._conclude(flight.parcel)

    def _defer(self, parcel: Parcel, recipients: tuple[Recipient, ...], text: str) -> None:
        parcel.outcomes.extend(Outcome(recipient, Fate.DEFERRED, _OUR_STORE, text) for recipient in recipients)

    def stored_content(self) -> StoredContent:
        content = self._flights[0].content
        assert not isinstance(content, bytes), "octets in memory are given to the session at once"
        return content

    # ---- what the server said --------------------------------------------------------------------

    def recipient_answered(self, event: RecipientAnswered) -> None:
        flight = self._flights[0]
        flight.answered += 1
        reply = event.reply
        if reply.code < 300:
            flight.accepted.append(event.recipient)
        elif wants_another_transaction(reply, len(flight.accepted)):
            flight.again.append(event.recipient)
        else:
            flight.parcel.outcomes.append(outcome_of(event.recipient, reply, self._by))

    def transaction_ended(self, event: TransactionEnded) -> None:
        flight = self._flights.popleft()
        parcel = flight.parcel
        self.concluded += 1
        by = self._by
        for recipient in event.accepted:
            parcel.outcomes.append(outcome_of(recipient, event.reply, by))
        if self.tally is not None:
            reply = event.reply
            if reply.code < 400 or reply.code >= 500:
                self.tally.succeeded()
            else:
                self.tally.refused(reply, before_recipients=not flight.answered)
        if flight.again:
            if not parcel.unsent:
                self._partial.append(parcel)
            parcel.unsent = (*flight.again, *parcel.unsent)
        if parcel.is_concluded:
            self._lane.concluded(parcel)

    def ended(self, event: Ended) -> None:
        """The session is over: whoever has no answer goes again, but those whose message the server may have."""
        if self.tally is not None and event.reply is not None and event.reply.code == _LEAVING:
            self.tally.refused(event.reply, before_recipients=False)
        parcels: dict[Parcel, None] = {}
        for number, flight in enumerate(self._flights):
            parcel = flight.parcel
            parcels[parcel] = None
            if number == 0 and event.stage is Stage.END_OF_DATA:
                text = MAY_HAVE_IT.format(host=self._by.name) if event.reply is None else self._words(event)
                parcel.outcomes.extend(outcome_of_cut(each, text, event.reply, self._by) for each in flight.accepted)
                flight.accepted.clear()
                self.cut_something = True
            parcel.unsent = (*flight.unsettled(), *parcel.unsent)
        parcels.update(dict.fromkeys(self._partial))
        if self._preparing is not None:
            parcels[self._preparing] = None
        self._flights.clear()
        self._partial.clear()
        self._preparing = None
        for parcel in reversed(parcels):
            if not parcel.unsent:
                self._conclude(parcel)
                continue
            self.cut_something = True
            parcel.cuts += 1
            if not self._lane.put_back(parcel):
                text = self._words(event)
                parcel.outcomes.extend(outcome_of_cut(each, text, event.reply, self._by) for each in parcel.unsent)
                parcel.unsent = ()
                self._conclude(parcel)

    def _words(self, event: Ended) -> str:
        return f"The connection to {self._by.name} ended at {event.stage.value}: {event.reason}."
