"""The feature specs this release trains with. A bundle carries its own copy, so changing one here changes no live bundle."""

from schemas.features.spec import FeatureSpec, Field

_LANGUAGES = 512
_REGIONS = 512
_TOPICS = 4096
_AUTHORS = 32_768

TWEET = FeatureSpec(
    name="tweet-v1",
    seed="roost-tweet-v1",
    query=(
        Field("languages", "languages", "hash", _LANGUAGES, slots=4, table="language"),
        Field("region", "region", "hash", _REGIONS, table="region"),
        Field("interests", "interests", "hash", _TOPICS, slots=8, table="topic"),
        Field("follows", "follows", "hash", _AUTHORS, slots=16, table="author"),
        Field("history_authors", "history_authors", "hash", _AUTHORS, slots=16, table="author"),
        Field("history_topics", "history_topics", "hash", _TOPICS, slots=16, table="topic"),
        Field("history_languages", "history_languages", "hash", _LANGUAGES, slots=16, table="language"),
        Field("context_author", "context.author_id", "hash", _AUTHORS, table="author"),
        Field("context_language", "context.language", "hash", _LANGUAGES, table="language"),
        Field("context_topic", "context.topic", "hash", _TOPICS, table="topic"),
    ),
    candidate=(
        Field("language", "language", "hash", _LANGUAGES),
        Field("author", "author_id", "hash", _AUTHORS),
        Field("topics", "topics", "hash", _TOPICS, slots=6, table="topic"),
        Field("region", "region", "hash", _REGIONS),
        Field("author_followers", "author_followers", "log", 28),
        Field("favorites", "counters.favorite", "log", 24),
        Field("retweets", "counters.retweet", "log", 24),
        Field("replies", "counters.reply", "log", 24),
        Field("clicks", "counters.click", "log", 24),
    ),
)

CATALOG = {spec.name: spec for spec in (TWEET,)}
