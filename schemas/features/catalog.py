"""The feature specs this release trains with. A bundle carries its own copy, so changing one here changes no live bundle."""

from schemas.features.spec import FeatureSpec, Field

_LANGUAGES = 512
_REGIONS = 512
_TOPICS = 4096
_AUTHORS = 32_768

_USER = (
    Field("languages", "languages", "hash", _LANGUAGES, slots=4, table="language"),
    Field("region", "region", "hash", _REGIONS, table="region"),
    Field("interests", "interests", "hash", _TOPICS, slots=8, table="topic"),
    Field("follows", "follows", "hash", _AUTHORS, slots=16, table="author"),
    Field("history_authors", "history_authors", "hash", _AUTHORS, slots=16, table="author"),
    Field("history_topics", "history_topics", "hash", _TOPICS, slots=16, table="topic"),
    Field("history_languages", "history_languages", "hash", _LANGUAGES, slots=16, table="language"),
)
_CONTEXT = (
    Field("context_author", "context.author_id", "hash", _AUTHORS, table="author"),
    Field("context_language", "context.language", "hash", _LANGUAGES, table="language"),
    Field("context_topic", "context.topic", "hash", _TOPICS, table="topic"),
)
_CANDIDATE = (
    Field("language", "language", "hash", _LANGUAGES),
    Field("author", "author_id", "hash", _AUTHORS),
    Field("topics", "topics", "hash", _TOPICS, slots=6, table="topic"),
    Field("region", "region", "hash", _REGIONS),
    Field("author_followers", "author_followers", "log", 28),
)
_TWEET = (
    *_CANDIDATE,
    Field("favorites", "counters.favorite", "log", 24),
    Field("retweets", "counters.retweet", "log", 24),
    Field("replies", "counters.reply", "log", 24),
    Field("clicks", "counters.click", "log", 24),
)

TWEET = FeatureSpec(name="tweet-v1", seed="roost-tweet-v1", query=(*_USER, *_CONTEXT), candidate=_TWEET)
# a tweet asks, not the user who reads it
RELATED = FeatureSpec(name="related-v1", seed="roost-related-v1", query=_CONTEXT, candidate=_TWEET)
ACCOUNT = FeatureSpec(
    name="account-v1",
    seed="roost-account-v1",
    query=_USER,
    candidate=(
        *_CANDIDATE,
        Field("follows_received", "counters.follow", "log", 24),
        Field("clicks", "counters.click", "log", 24),
    ),
)
ARTICLE = FeatureSpec(
    name="article-v1",
    seed="roost-article-v1",
    query=_USER,
    candidate=(*_CANDIDATE, Field("retweets", "counters.retweet", "log", 24), Field("clicks", "counters.click", "log", 24)),
)

CATALOG = {spec.name: spec for spec in (TWEET, RELATED, ACCOUNT, ARTICLE)}
