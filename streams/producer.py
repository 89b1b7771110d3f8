"""The producer SDK: typed events onto the input topics. Holds no state of candidates or users, and reads no settings.

    with Producer("127.0.0.1:9092") as producer:
        producer.tweet("t:1", author_id="a:7", text="hello", language="en")
        producer.engagement("t:1", user_id="ann", kind="favorite")

A record is checked before it is queued (`InvalidRecord` says what to mend). It is in the log once its delivery report came; a
record that was not acknowledged raises `DeliveryFailed` at the next call, at `flush`, or at the end of the `with`.
"""

import itertools
import time
import uuid
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self, overload

from schemas.codec import encode
from schemas.errors import DeliveryFailed, InvalidInput, InvalidRecord
from schemas.positions import SOURCE_TOPICS, Positions
from schemas.records.candidates import UNDETERMINED, Account, Article, Tweet
from schemas.records.feedback import Engagement, EngagementKind, Impression
from schemas.records.users import User
from schemas.tokens import context_token
from schemas.wire.client import Setting
from schemas.wire.dlq import PRODUCER_HEADER
from schemas.wire.tracing import Tracing
from streams.delivery import Delivery, Event, OnDelivery, address, ending, reporting
from streams.outbox import Outbox, raise_for

__all__ = ["Delivery", "Event", "OnDelivery", "Producer"]

_MAX_NAME_BYTES = 64


class Producer:
    """Sends events. May be shared by threads; `on_delivery` is called from whichever thread calls the producer next."""

    def __init__(
        self,
        bootstrap: str,
        *,
        name: str | None = None,
        delivery_timeout_s: float = 120.0,
        tracing: Tracing | None = None,
        **overrides: Setting,
    ) -> None:
        """Connect in the background.

        Args:
            bootstrap: host:port of the brokers, comma-separated.
            name: of the program that sends, 1 to 64 bytes, such as `timeline-writer`: goes with each record as a header, by which
                `roost dlq` tells whose records could not be processed.
            delivery_timeout_s: a record not acknowledged for this long has failed.
            tracing: makes a span of each record, and sends its context along, for embedder and nodes to go on with. Its owner
                closes it.
            overrides: client settings, `_` for `.`, such as `linger_ms=5` for bulk loads.

        Raises:
            InvalidInput: the name is empty or too long.
        """
        said = None if name is None else name.encode(errors="replace")
        if said is not None and not 1 <= len(said) <= _MAX_NAME_BYTES:
            raise InvalidInput(f"a producer's name has 1 to {_MAX_NAME_BYTES} bytes, not {len(said)}")
        self._headers = [] if said is None else [(PRODUCER_HEADER, said)]
        self._outbox = Outbox(bootstrap, **{"message_timeout_ms": int(delivery_timeout_s * 1000), **overrides})
        self._tracing = tracing
        # begins above every sequence of an earlier run of this program, so that a tie in event time goes to the later run
        self._sequences = itertools.count(time.time_ns() // 1000)

    @overload
    def tweet(self, tweet: Tweet, /, *, on_delivery: OnDelivery | None = None) -> None: ...

    @overload
    def tweet(
        self,
        candidate_id: str,
        /,
        *,
        author_id: str,
        text: str = "",
        language: str = UNDETERMINED,
        region: str = "",
        topics: Sequence[str] = (),
        author_followers: int = 0,
        created_ms: int | None = None,
        event_time_ms: int | None = None,
        sequence: int | None = None,
        source_time_ms: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None: ...

    def tweet(
        self,
        tweet: Tweet | str,
        /,
        *,
        author_id: str = "",
        text: str = "",
        language: str = UNDETERMINED,
        region: str = "",
        topics: Sequence[str] = (),
        author_followers: int = 0,
        created_ms: int | None = None,
        event_time_ms: int | None = None,
        sequence: int | None = None,
        source_time_ms: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Send a tweet's create or update: a whole `Tweet`, or its id and attributes.

        Args:
            created_ms: when the tweet came to be; the event time by default, so give it with every update.
            event_time_ms: the version's high half; now by default.
            sequence: the version's low half; counted up by this producer by default.
        """
        if isinstance(tweet, str):
            when = _now_ms() if event_time_ms is None else event_time_ms
            tweet = Tweet(
                candidate_id=tweet,
                event_time_ms=when,
                sequence=self._sequence(sequence),
                author_id=author_id,
                created_ms=when if created_ms is None else created_ms,
                language=language,
                region=region,
                topics=tuple(topics),
                text=text,
                author_followers=author_followers,
                source_time_ms=source_time_ms,
            )
        self.send(tweet, on_delivery=on_delivery)

    def account(
        self,
        candidate_id: str,
        /,
        *,
        followers: int = 0,
        text: str = "",
        language: str = UNDETERMINED,
        region: str = "",
        topics: Sequence[str] = (),
        created_ms: int | None = None,
        event_time_ms: int | None = None,
        sequence: int | None = None,
        source_time_ms: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Send an account's create or update; arguments as of `tweet`."""
        when = _now_ms() if event_time_ms is None else event_time_ms
        account = Account(
            candidate_id=candidate_id,
            event_time_ms=when,
            sequence=self._sequence(sequence),
            created_ms=when if created_ms is None else created_ms,
            language=language,
            region=region,
            topics=tuple(topics),
            text=text,
            followers=followers,
            source_time_ms=source_time_ms,
        )
        self.send(account, on_delivery=on_delivery)

    def article(
        self,
        candidate_id: str,
        /,
        *,
        publisher_id: str,
        text: str = "",
        language: str = UNDETERMINED,
        region: str = "",
        topics: Sequence[str] = (),
        publisher_followers: int = 0,
        created_ms: int | None = None,
        event_time_ms: int | None = None,
        sequence: int | None = None,
        source_time_ms: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Send an article's create or update; arguments as of `tweet`."""
        when = _now_ms() if event_time_ms is None else event_time_ms
        article = Article(
            candidate_id=candidate_id,
            event_time_ms=when,
            sequence=self._sequence(sequence),
            publisher_id=publisher_id,
            created_ms=when if created_ms is None else created_ms,
            language=language,
            region=region,
            topics=tuple(topics),
            text=text,
            publisher_followers=publisher_followers,
            source_time_ms=source_time_ms,
        )
        self.send(article, on_delivery=on_delivery)

    def delete(
        self,
        candidate_id: str,
        /,
        *,
        event_time_ms: int | None = None,
        sequence: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Delete a tweet, account or article as of the event time (now by default): a later version of it may follow."""
        when, number = _now_ms() if event_time_ms is None else event_time_ms, self._sequence(sequence)
        event: Event
        if candidate_id.startswith(Account.PREFIX):
            event = Account(candidate_id, when, number, when, deleted=True)
        elif candidate_id.startswith(Article.PREFIX):
            event = Article(candidate_id, when, number, "", when, deleted=True)
        else:
            event = Tweet(candidate_id, when, number, "", when, deleted=True)
        self.send(event, on_delivery=on_delivery)

    def engagement(
        self,
        candidate_id: str,
        *,
        user_id: str,
        kind: EngagementKind | str,
        event_id: str | None = None,
        event_time_ms: int | None = None,
        request_id: str | None = None,
        source_time_ms: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Send what a user did with a candidate.

        Args:
            event_id: unique; a repeat within 10 minutes counts once. A fresh one by default.
            request_id: the answer that showed the candidate; None when it was found elsewhere.
        """
        known = [member.value for member in EngagementKind if member is not EngagementKind.UNKNOWN]
        if kind not in known:
            raise InvalidRecord(f"engagement kind {str(kind)!r} is not one of {', '.join(known)}")
        event = Engagement(
            event_id=uuid.uuid4().hex if event_id is None else event_id,
            user_id=user_id,
            candidate_id=candidate_id,
            kind=EngagementKind(kind),
            event_time_ms=_now_ms() if event_time_ms is None else event_time_ms,
            request_id=request_id,
            source_time_ms=source_time_ms,
        )
        self.send(event, on_delivery=on_delivery)

    def impression(
        self,
        candidate_id: str,
        *,
        user_id: str,
        request_id: str,
        surface: str,
        position: int,
        event_time_ms: int | None = None,
        bundle: str | None = None,
        query_token: str | None = None,
        token: str | None = None,
        context: Mapping[str, str] | None = None,
        source_time_ms: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Send that a candidate was shown. Copy request id, bundle and tokens from the answer that gave it.

        Args:
            context: where Roost did not answer, the context that a query would have had, such as the clicked tweet's.
        """
        event = Impression(
            request_id=request_id,
            candidate_id=candidate_id,
            user_id=user_id,
            surface=surface,
            position=position,
            event_time_ms=_now_ms() if event_time_ms is None else event_time_ms,
            bundle=bundle,
            query_token=context_token(context) if query_token is None and context else query_token,
            token=token,
            source_time_ms=source_time_ms,
        )
        self.send(event, on_delivery=on_delivery)

    def user(
        self,
        user_id: str,
        *,
        languages: Sequence[str] = (),
        region: str = "",
        follows: Sequence[str] = (),
        interests: Sequence[str] = (),
        deleted: bool = False,
        event_time_ms: int | None = None,
        sequence: int | None = None,
        source_time_ms: int | None = None,
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Send a user's declared profile, whole; or, with `deleted`, the request to remove the user."""
        profile = User(
            user_id=user_id,
            event_time_ms=_now_ms() if event_time_ms is None else event_time_ms,
            sequence=self._sequence(sequence),
            deleted=deleted,
            languages=tuple(languages),
            region=region,
            follows=tuple(follows),
            interests=tuple(interests),
            source_time_ms=source_time_ms,
        )
        self.send(profile, on_delivery=on_delivery)

    def send(self, event: Event, *, on_delivery: OnDelivery | None = None) -> None:
        """Check and queue an event; waits while the queue is full.

        Raises:
            InvalidRecord: the event breaks a rule of the contracts; nothing was sent.
            DeliveryFailed: an earlier record was not acknowledged, or this one is too large.
        """
        raise_for(self._outbox.take_failures())
        try:
            event.check(append_time_ms=_now_ms())
            topic, key = address(event)
            value = encode(event)
        # for a value that does not fit its field, such as a string where a number belongs
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidRecord(f"the {event.SUBJECT} does not fit its schema: {error}") from error
        if self._tracing is None:
            report = None if on_delivery is None else reporting(on_delivery)
            self._outbox.produce(topic, value, key, on_delivery=report, headers=self._headers)
        else:
            self._produce_traced(self._tracing, topic, key, value, on_delivery)

    def _produce_traced(self, tracing: Tracing, topic: str, key: bytes, value: bytes, on_delivery: OnDelivery | None) -> None:
        attributes = {"messaging.system": "kafka", "messaging.operation.type": "send", "messaging.destination.name": topic}
        span = tracing.span(f"send {topic}", "producer", attributes=attributes)
        report = reporting(ending(span, on_delivery))
        try:
            self._outbox.produce(topic, value, key, on_delivery=report, headers=[*self._headers, *span.context])
        except DeliveryFailed as error:
            span.end(error=str(error))
            raise

    def send_and_wait(self, event: Event, *, timeout_s: float = 30.0) -> Delivery:
        """Send an event and return where it lies; raises `DeliveryFailed` when it, or one before it, was not acknowledged."""
        outcomes: list[Delivery | DeliveryFailed] = []
        self.send(event, on_delivery=outcomes.append)
        deadline = time.monotonic() + timeout_s
        while not outcomes:
            if time.monotonic() >= deadline:
                raise DeliveryFailed(f"no acknowledgement within {timeout_s:.0f} s; is the broker up?")
            self._outbox.poll(0.05)
        outcome = outcomes[0]
        if isinstance(outcome, DeliveryFailed):
            # it is among them, unless another thread was told of it; others that failed would be told by nobody else
            raise_for(self._outbox.take_failures())
            raise outcome
        return outcome

    @property
    def written(self) -> Positions:
        """The next offset behind what this producer has had acknowledged, by topic and partition: `min_offset` of a retrieval.

        Of the topics that an index follows: users and impressions are in none.
        """
        written: dict[str, dict[int, int]] = {}
        for (topic, partition), end in dict(self._outbox.ends).items():
            if topic in SOURCE_TOPICS:
                written.setdefault(topic, {})[partition] = end
        return written

    @property
    def unacknowledged(self) -> int:
        """How many events the broker has yet to acknowledge, as far as `poll` has heard."""
        return len(self._outbox)

    def poll(self) -> None:
        """Call what `on_delivery` calls are due. Sending does so too; a program that pauses calls this."""
        self._outbox.poll(0)

    def flush(self, *, timeout_s: float | None = None) -> None:
        """Wait until everything sent is acknowledged; raises `DeliveryFailed` when something was not."""
        self._outbox.flush_all(timeout_s=timeout_s)
        raise_for(self._outbox.take_failures())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.flush()
        except DeliveryFailed as failure:
            if error is None:
                raise
            # the exception under way says more; it keeps the news of the lost records
            error.add_note(str(failure))

    def _sequence(self, given: int | None) -> int:
        return next(self._sequences) if given is None else given


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
