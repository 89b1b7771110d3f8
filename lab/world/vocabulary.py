"""Names of languages, topics and regions, and short sentences to read in tables. Knows no probabilities."""

from functools import cache

# (code, share of users, openings, endings); the topic's hashtag stands between
_LEXICON: tuple[tuple[str, float, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "en",
        0.32,
        ("Just saw", "Big news on", "Cannot stop thinking about", "A quiet word on", "Everybody talks of"),
        ("and I am smiling", "what a day", "more tomorrow", "who else was there?", "this changes things"),
    ),
    (
        "ja",
        0.16,
        ("今日の", "やっぱり", "ついに", "みんなの", "朝から"),
        ("が最高でした", "の話をしよう", "が気になる", "に行ってきた", "はすごい"),
    ),
    (
        "es",
        0.13,
        ("Hoy vimos", "Gran noticia de", "No dejo de pensar en", "Todos hablan de", "Por fin"),
        ("qué alegría", "mañana más", "¿quién estuvo allí?", "esto lo cambia todo", "y sonrío"),
    ),
    (
        "pt",
        0.10,
        ("Hoje vimos", "Grande notícia de", "Não paro de pensar em", "Toda gente fala de", "Finalmente"),
        ("que alegria", "amanhã há mais", "quem esteve lá?", "isto muda tudo", "e estou a sorrir"),
    ),
    (
        "ar",
        0.08,
        ("شاهدت اليوم", "خبر كبير عن", "لا أتوقف عن التفكير في", "الجميع يتحدث عن", "وأخيرا"),
        ("يا له من يوم", "غدا المزيد", "من كان هناك؟", "هذا يغير كل شيء", "وأنا سعيد"),
    ),
    (
        "tr",
        0.06,
        ("Bugün gördüm:", "Büyük haber:", "Aklımdan çıkmıyor:", "Herkes konuşuyor:", "Sonunda"),
        ("ne güzel bir gün", "yarın devamı var", "kim oradaydı?", "bu her şeyi değiştirir", "gülümsüyorum"),
    ),
    (
        "fr",
        0.05,
        ("Vu aujourd'hui :", "Grande nouvelle pour", "Je pense encore à", "Tout le monde parle de", "Enfin"),
        ("quelle journée", "la suite demain", "qui y était ?", "ça change tout", "et je souris"),
    ),
    (
        "de",
        0.04,
        ("Heute gesehen:", "Große Neuigkeit zu", "Ich denke noch an", "Alle reden über", "Endlich"),
        ("was für ein Tag", "morgen mehr", "wer war dabei?", "das ändert alles", "und ich lächle"),
    ),
    (
        "ko",
        0.03,
        ("오늘 본", "드디어", "모두가 말하는", "아침부터", "역시"),
        ("정말 좋았어요", "이야기해요", "내일 또 봐요", "대단해요", "다녀왔어요"),
    ),
    (
        "hi",
        0.03,
        ("आज देखा", "बड़ी ख़बर", "सब बात कर रहे हैं", "आख़िरकार", "सुबह से"),
        ("क्या दिन था", "कल फिर", "कौन वहाँ था?", "सब बदल गया", "मन ख़ुश है"),
    ),
    (
        "ru",
        0.03,
        ("Сегодня видел", "Большая новость:", "Все говорят про", "Наконец-то", "С утра"),
        ("какой день", "завтра ещё", "кто там был?", "это меняет всё", "и я улыбаюсь"),
    ),
    (
        "th",
        0.02,
        ("วันนี้เห็น", "ข่าวใหญ่เรื่อง", "ทุกคนพูดถึง", "ในที่สุด", "ตั้งแต่เช้า"),
        ("วันที่ดีมาก", "พรุ่งนี้มีอีก", "ใครอยู่ที่นั่นบ้าง", "เปลี่ยนทุกอย่าง", "ยิ้มเลย"),
    ),
)

LANGUAGES = tuple(entry[0] for entry in _LEXICON)
_SHARES = tuple(entry[1] for entry in _LEXICON)

_TOPICS = (
    "music",
    "football",
    "cooking",
    "travel",
    "movies",
    "space",
    "gardening",
    "running",
    "chess",
    "photography",
    "painting",
    "books",
    "cats",
    "dogs",
    "politics",
    "economy",
    "climate",
    "cycling",
    "baking",
    "fashion",
    "gaming",
    "anime",
    "history",
    "physics",
    "medicine",
    "startups",
    "crypto",
    "basketball",
    "tennis",
    "swimming",
    "hiking",
    "architecture",
    "theatre",
    "poetry",
    "birds",
    "trains",
    "coffee",
    "sailing",
    "astronomy",
    "jazz",
)


def language_shares(count: int) -> tuple[float, ...]:
    """Return the share of users and authors of each of the first `count` languages; they add up to 1."""
    total = sum(_SHARES[:count])
    return tuple(share / total for share in _SHARES[:count])


@cache
def topic_names(count: int) -> tuple[str, ...]:
    """Return `count` distinct topic names."""
    return tuple(_TOPICS[:count]) + tuple(f"topic-{number}" for number in range(len(_TOPICS), count))


@cache
def region_names(count: int) -> tuple[str, ...]:
    """Return `count` distinct region names."""
    return tuple(f"region-{number}" for number in range(count))


def sentence(language: int, topic: str, number: int) -> str:
    """Return the text of a tweet: the same for the same arguments.

    Args:
        language: index into `LANGUAGES`.
        topic: the name of the tweet's first topic.
        number: any number, such as the tweet's; it chooses the words.
    """
    _, _, openings, endings = _LEXICON[language]
    opening, ending = openings[number % len(openings)], endings[number // len(openings) % len(endings)]
    return f"{opening} #{topic} {ending}"
