"""Packaged data: what every task promises, in every language it offers."""

import copy
import functools
from collections import Counter
from pathlib import Path

import pytest
import regex

from stiltsweep import catalog, sources
from stiltsweep.catalog import Task
from stiltsweep.errors import UserError
from stiltsweep.records import Row
from stiltsweep.sources import package
from stiltsweep.sources.package import commands, django_messages, emoji_names, home_assistant, localisation

CATALOG = catalog.read()
PACKAGED = [
    task
    for task in {**CATALOG.targets, **CATALOG.intermediates}.values()
    if task.definition["source"]["type"] == "package"
]
TARGETS = {task.name: task for task in PACKAGED if task.role == "target"}
LANGUAGES = sorted(set(TARGETS["intent"].languages) - {"en"})


@functools.cache
def rows(name: str, language: str) -> tuple[Row, ...]:
    return tuple(sources.read(CATALOG.task(name), language)[0])


def of_split(found: tuple[Row, ...], split: str) -> list[Row]:
    return [row for row in found if row["split"] == split]


def with_source(name: str, **changes: object) -> Task:
    task = CATALOG.task(name)
    definition = copy.deepcopy(dict(task.definition))
    definition["source"].update(changes)
    definition["source"] = {key: value for key, value in definition["source"].items() if value is not None}
    return Task(name, task.role, definition)


# ---------------------------------------------------------------------------------------------------------- every task


@pytest.mark.parametrize("task", PACKAGED, ids=lambda task: task.name)
def test_rows_have_the_pinned_counts_and_digest(task: Task, tmp_path: Path) -> None:
    # The digests come from another process, so nothing depends on the order of sets, which changes with the hash seed.
    # `prepare` checks every language in every sweep; here the first, the last and one between stand for them.
    assert all("sha256" in about for about in task.languages.values())
    languages = list(task.languages)
    for language in {languages[0], languages[len(languages) // 2], languages[-1]}:
        meta = sources.prepare(task.reading(), language, tmp_path / f"{language}.parquet")
        assert meta.source["packages"] == task.definition["source"]["packages"]


def test_a_language_does_not_depend_on_which_others_are_offered() -> None:
    for name in ("intent", "slots", "qa"):
        task = CATALOG.task(name)
        alone = Task(name, "target", {**task.definition, "languages": {"fi": {}}})
        assert tuple(sources.read(alone, "fi")[0]) == rows(name, "fi")


def test_the_test_set_does_not_depend_on_the_size_of_the_training_set() -> None:
    for name in ("intent", "slots", "qa"):
        smaller = with_source(name, sizes={**CATALOG.task(name).definition["source"]["sizes"], "train": 50})
        assert of_split(tuple(sources.read(smaller, "en")[0]), "test") == of_split(rows(name, "en"), "test")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"test": 5}}, "Did you mean 'sizes'"),
        ({"builder": "intents"}, "Did you mean 'intent'"),
        ({"intents": None}, "the key 'intents' is missing"),
        ({"intents": ["timer_stat"]}, "Did you mean 'timer_start'"),
        ({"sizes": {"tset": 5}}, "not a split"),
        ({"packages": {"hassil": "3.0.0"}}, "pip install hassil==3.0.0"),
        ({"packages": {"hassle-free-data": "1.0"}}, "not installed.*pip install hassle-free-data==1.0"),
    ],
)
def test_a_wrong_source_says_what_to_write(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(package.read(with_source("intent", **changes).definition, "fi"))


def test_a_language_without_fillers_is_named() -> None:
    with pytest.raises(UserError, match=r"no fillers for language 'sw'.*Add sw.yaml"):
        list(package.read(CATALOG.task("intent").definition, "sw"))


# -------------------------------------------------------------------------------------------- commands: every language


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_intents_have_all_labels_equally_often(language: str) -> None:
    found = of_split(rows("intent", language), "test")
    counts = Counter(row["label"] for row in found)
    assert set(counts) == set(TARGETS["intent"].definition["labels"])
    source = TARGETS["intent"].definition["source"]
    assert max(counts.values()) == min(counts.values()) == source["sizes"]["test"] / len(source["intents"])


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_slots_have_all_types_and_the_tokens_give_the_text_back(language: str) -> None:
    grammar = home_assistant.grammar(language)
    found = rows("slots", language)
    types = Counter(tag[2:] for row in of_split(found, "test") for tag in row["tags"] if tag.startswith("B"))
    assert set(types) == {label[2:] for label in TARGETS["slots"].definition["labels"] if label != "O"}
    sample = home_assistant.sample(language, ["light_on", "timer_start", "set_temperature"], "test", 60, "x", set())
    for sentence in sample:
        row = commands.tag(sentence.text, sentence.spans, grammar.spaced)
        spaces = (" " * after for after in row["space_after"])
        assert "".join(t + s for t, s in zip(row["tokens"], spaces, strict=True)) == sentence.text
        chunks = sum(tag.startswith("B") for tag in row["tags"])
        assert chunks == len(sentence.spans)
    for row in found:
        previous = "O"
        for tag in row["tags"]:
            assert not tag.startswith("I") or previous[1:] == tag[1:], row
            previous = tag


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_no_text_is_twice_and_nothing_is_left_open(language: str) -> None:
    for name, text in (("intent", "text_a"), ("qa", "context")):
        texts = [row[text] for row in rows(name, language)]
        asked = [(row[text], row.get("question")) for row in rows(name, language)]
        assert len(set(asked)) == len(asked)  # one log may be asked two things
        assert not any(mark in t for t in texts for mark in "{}[]<>|~()")
        assert not any("  " in t or t != t.strip() for t in texts)
    texts = ["".join(row["tokens"]) for row in rows("slots", language)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_answers_are_whole_words_and_stand_once(language: str) -> None:
    asked = {q for of_label in TARGETS["qa"].definition["source"]["questions"].values() for q in of_label.values()}
    found = rows("qa", language)
    for row in found:
        (answer,) = row["answers"]
        start, text = answer["start"], answer["text"]
        assert row["context"][start : start + len(text)] == text
        assert row["question"] in asked
        assert row["context"].count(" / ") == TARGETS["qa"].definition["source"]["commands"] - 1
        if home_assistant.grammar(language).spaced:
            around = row["context"][start - 1 : start] + row["context"][start + len(text) :][:1]
            assert not any(character.isalnum() for character in around)
            assert len(row["context"].split()) < 60
    # More than half of the questions there are, in every language: Turkish or Thai do not get an easier set.
    assert len({row["question"] for row in of_split(found, "test")}) > len(asked) / 2


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_command_of_a_log_answers(language: str) -> None:
    source = TARGETS["qa"].definition["source"]
    size = 3 * source["sizes"]["test"]
    label = {
        s.text: s.label for s in home_assistant.sample(language, source["intents"], "test", size, "questions", set())
    }
    for row in rows("qa", language):
        (answer,) = row["answers"]
        assert len(regex.findall(rf"(?<!\d){regex.escape(answer['text'])}(?!\d)", row["context"])) == 1
        at = row["context"].count(" / ", 0, answer["start"])
        commands_of_log = row["context"].split(" / ")
        asked_of = label[commands_of_log.pop(at)]
        assert row["question"] in source["questions"][asked_of].values()
        assert not {label[text] for text in commands_of_log} & {asked_of, *source["fits_too"].get(asked_of, ())}


def test_questions_of_ones_own() -> None:
    """A task written before `fits_too` is read; intents that fit are named; a log that cannot be filled is no row."""
    assert len(list(sources.read(with_source("qa", fits_too=None), "de")[0])) == 40
    for wrong, message in (
        ({"device_on": "light_on"}, "is not: intent -> list of intents"),
        (["light_on"], "is not: intent -> list of intents"),
        ({"device_on": ["light_onn"]}, "'light_onn' is not one of source.intents.*'light_on'"),
        ({"devise_on": ["light_on"]}, "'devise_on' is not one of source.intents.*'device_on'"),
    ):
        with pytest.raises(UserError, match=message):
            list(sources.read(with_source("qa", fits_too=wrong), "de")[0])
    every = TARGETS["qa"].definition["source"]["intents"]
    made = list(sources.read(with_source("qa", fits_too={"light_on": every}), "de")[0])
    asked = set(TARGETS["qa"].definition["source"]["questions"]["light_on"].values())
    assert made and not asked & {row["question"] for row in made}


def test_a_word_is_known_in_all_its_forms() -> None:
    turkish, korean = home_assistant.grammar("tr"), home_assistant.grammar("ko")
    assert commands._forms(turkish, "ROOM", "mutfaktaki") == {"mutfak", "mutfaktaki", "mutfağın", "mutfağı"}
    assert "oturma odasının" in commands._forms(turkish, "ROOM", "oturma odasındaki")
    assert commands._forms(korean, "ROOM", "다락방에") == {"다락방"}
    assert commands._forms(korean, "HOURS", "5시간짜리") == {"5"}
    assert commands._forms(korean, "ROOM", "지붕") == set()


def test_every_template_of_english_is_in_one_split() -> None:
    seen: dict[str, set[str]] = {}
    taken: set[str] = set()
    intents = CATALOG.task("intent").definition["source"]["intents"]
    splits = home_assistant.template_splits("en")
    assert set(splits.values()) == {"train", "dev", "test"}
    for split in ("test", "dev", "train"):
        sentences = home_assistant.sample("en", intents, split, 300, "x", taken)
        seen[split] = {s.pattern for s in sentences}
        assert {s.label for s in sentences} == set(intents)
    assert not (seen["train"] & seen["test"] or seen["train"] & seen["dev"] or seen["dev"] & seen["test"])


def test_templates_that_differ_in_a_list_alone_are_one() -> None:
    a = home_assistant.skeleton("<open> {cover_classes:device_class} <in> {area}")
    b = home_assistant.skeleton("<open> {name} <in> {area}")
    assert a == b == "<open> {DEVICE} <in> {ROOM}"


def test_no_intermediate_shares_an_intent_with_a_target() -> None:
    ours = {intent for task in TARGETS.values() for intent in task.definition["source"].get("intents", ())}
    for task in CATALOG.intermediates.values():
        assert not ours & set(task.definition["source"].get("intents", ()))


# ------------------------------------------------------------------------------------- commands: fillers, forms, spans


def grammar_of(**changes: object) -> home_assistant.Grammar:
    base = {
        "language": "xx",
        "templates": (),
        "rules": {},
        "responses": {},
        "fillers": {"room": ("kitchen",), "room.in": ("in der [Küche]",), "minutes": ("5",)},
        "rewrite": (),
        "refuse": (),
        "spaced": True,
        "glued": False,
    }
    return home_assistant.Grammar(**{**base, **changes})  # type: ignore[arg-type]


def filled(pattern: str, **changes: object) -> home_assistant.Sentence:
    import random

    grammar = grammar_of(**changes)
    return home_assistant.fill(grammar, pattern, "x", ("", ""), random.Random("a"))


def test_brackets_mark_the_slot_in_a_phrase() -> None:
    sentence = filled("mach {room.in} das Licht an")
    assert sentence.text == "mach in der Küche das Licht an"
    assert [(sentence.text[a:b], kind) for a, b, kind in sentence.spans] == [("Küche", "ROOM")]


def test_a_span_takes_the_affixes_of_its_word() -> None:
    # Hebrew: the preposition "in" is a prefix; Korean: the unit and the particle follow the number.
    hebrew = filled("הדלק את האור {room}", fillers={"room": ("ב[מטבח]",)})
    assert [hebrew.text[a:b] for a, b, _ in hebrew.spans] == ["במטבח"]
    korean = filled("{minutes}분짜리 타이머")
    assert [korean.text[a:b] for a, b, _ in korean.spans] == ["5분짜리"]
    thai = filled("ตั้งเวลา{minutes}นาที", spaced=False)
    assert [thai.text[a:b] for a, b, _ in thai.spans] == ["5"]


def test_tokens_of_scripts_without_spaces_are_grapheme_clusters() -> None:
    row = commands.tag("เปิดไฟที่ ห้องน้ำ", [(10, 17, "ROOM")], spaced=False)
    assert row["tokens"] == ["เ", "ปิ", "ด", "ไ", "ฟ", "ที่", "ห้", "อ", "ง", "น้ำ"]
    assert row["tags"] == ["O"] * 6 + ["B-ROOM", "I-ROOM", "I-ROOM", "I-ROOM"]
    assert row["space_after"] == [False] * 5 + [True] + [False] * 4


def test_tokens_of_scripts_with_spaces_are_words_and_marks() -> None:
    row = commands.tag("קבע ל-20 מעלות", [(6, 8, "TEMPERATURE")], spaced=True)
    assert row["tokens"] == ["קבע", "ל", "-", "20", "מעלות"]
    assert row["tags"] == ["O", "O", "O", "B-TEMPERATURE", "O"]
    assert row["space_after"] == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("language", "wrong"),
    [
        ("tr", r"(odası|mutfak|banyo)(yı|nda|ın)? ışık"),  # the room before its lights takes -daki
        ("fi", r"(keittiö|olohuone|kellari) (valot|tuuletin|ikkuna)"),  # the genitive, not the nominative
        ("hu", r"\ba (?=[aeiouáéíóöőúüű])|\baz (?=[bcdfghjklmnpqrstvwxyz])"),  # the article knows the next sound
        ("de", r"(im|vom) (Küche|Garage)|in der (Flur|Keller|Büro)|der (Fenster|Rollo)"),  # gender
        ("ru", r"\b(на|в) (кухня|спальня|гостиная)\b"),  # the prepositional case
        ("ar", r"(?<!\d)([5-9]|10) (ساعة|دقيقة|ثانية)|1[1-9] (ساعات|دقائق|ثوان)"),  # number agreement
        ("pl", r"\bw (kuchnia|salon|łazienka)\b"),
        ("es", r"\b(el (cocina|persiana|ventana)|la (salón|baño|estor))\b"),
        ("el", r"στο (κουζίνα|σοφίτα)|στην (σαλόνι|μπάνιο)"),
        ("en", r"\b1?\d-?(minutes|hours) timer|\bevery \w+s\b"),
    ],
)
def test_slots_stand_in_the_form_their_place_asks_for(language: str, wrong: str) -> None:
    import re

    intents = CATALOG.task("intent").definition["source"]["intents"]
    found = home_assistant.sample(language, intents, "test", 300, "forms", set())
    assert len(found) > 200
    assert not [s.text for s in found if re.search(wrong, s.text)]


def test_no_slot_touches_a_letter_where_words_are_written_apart() -> None:
    assert not home_assistant._usable(grammar_of(), "lights in the {room}ssa")
    assert home_assistant._usable(grammar_of(glued=True), "{minutes}분 타이머")
    assert not home_assistant._usable(grammar_of(), "{room} and {room.in}")
    assert not home_assistant._usable(grammar_of(), "turn {gadget} on")


# ------------------------------------------------------------------------------------------------------------- replies


def test_exactly_one_reply_is_the_right_one() -> None:
    found = rows("reply-choice", "en")
    for row in found:
        assert len(set(row["choices"])) == 4
    counts = Counter(row["label"] for row in of_split(found, "train"))
    assert min(counts.values()) > len(of_split(found, "train")) / 8
    by_command = {row["context"]: row["choices"][row["label"]] for row in found}
    assert all(reply == "Playing next" for command, reply in by_command.items() if command.startswith("skip"))
    assert not any("by 9 hours" in c and "9 hours" not in reply for c, reply in by_command.items())


def test_no_wrong_reply_comes_from_an_intent_that_is_alike() -> None:
    for row in rows("reply-choice", "en"):
        right = row["choices"][row["label"]]
        wrong = [choice for choice in row["choices"] if choice != right]
        if right == "Paused":
            assert "Timer paused" not in wrong
        if right == "Timer resumed":
            assert "Resumed" not in wrong
        if right.endswith("position set"):
            assert right.replace("s position", " position") not in [w.replace("s position", " position") for w in wrong]


def test_half_of_the_replies_fit() -> None:
    for split in ("train", "dev"):
        labels = Counter(row["label"] for row in of_split(rows("reply-match", "en"), split))
        assert abs(labels["match"] - labels["mismatch"]) <= 1


# --------------------------------------------------------------------------------------------------------------- names


def test_names_are_of_one_type_and_in_one_split() -> None:
    found = rows("name-typing", "en")
    size = CATALOG.task("name-typing").definition["source"]["sizes"]["train"]
    names = [row["text_a"].casefold() for row in found]
    assert len(set(names)) == len(names)
    assert len({row["id"] for row in found}) == len(found)
    assert "luxembourg" not in names  # a city and a territory
    assert Counter(row["label"] for row in of_split(found, "train")).most_common()[-1][1] >= 0.9 * size / 5


def test_names_of_another_language_are_test_data_of_the_things_not_trained_on() -> None:
    task = with_source("name-typing", sizes={"train": 300, "dev": 50, "test": 50})
    foreign = list(localisation.name_types(task.definition, "fi"))
    english = list(localisation.name_types(task.definition, "en"))
    assert {row["split"] for row in foreign} == {"test"}
    trained = {row["id"] for row in english if row["split"] != "test"}
    assert not trained & {row["id"] for row in foreign}
    assert {"currency", "territory"} <= {row["label"] for row in foreign}
    with pytest.raises(UserError, match="Did you mean 'city'"):
        list(localisation.name_types(with_source("name-typing", types=["citty"]).definition, "en"))


# ----------------------------------------------------------------------------------------------------------- retrieval


def test_all_languages_search_the_same_candidates() -> None:
    first = [row for row in rows("retrieval", "zh") if row["side"] == "candidate"]
    assert 50 <= len(first) <= TARGETS["retrieval"].definition["source"]["sizes"]["test"]
    for language in TARGETS["retrieval"].languages:
        found = rows("retrieval", language)
        queries = {row["id"]: row for row in found if row["side"] == "query"}
        assert [row for row in found if row["side"] == "candidate"] == first
        assert {row["id"] for row in first} == set(queries)
        assert all(row["gold"] == [row["id"]] for row in queries.values())
        assert len({row["text"].casefold() for row in queries.values()}) == len(queries)
        assert not {row["text"].casefold() for row in queries.values()} & {row["text"].casefold() for row in first}
        assert not any(mark in row["text"] for row in found for mark in ("%", "<", "“"))
    assert "en" not in TARGETS["retrieval"].languages


def test_an_id_is_made_from_the_message_alone() -> None:
    fewer = CATALOG.task("retrieval")
    fewer = Task("retrieval", "target", {**fewer.definition, "languages": {"fi": {}, "de": {}}})
    more = {row["id"]: row["text"] for row in sources.read(fewer, "fi")[0] if row["side"] == "candidate"}
    shared = {row["id"]: row["text"] for row in rows("retrieval", "fi") if row["side"] == "candidate"}
    assert more.keys() & shared.keys()
    assert all(more[key] == shared[key] for key in more.keys() & shared.keys())


def test_placeholders_marks_and_quotation_marks_go() -> None:
    clean = django_messages._clean
    assert clean('Enter <strong>%(name)s</strong> or "%s" .') == "Enter … or …."
    assert clean("Value “%(value)r” isn't valid") == "Value … isn't valid"
    assert clean("the 'slug' of \"users'\" σ' αυτά") == "the slug of users' σ' αυτά"
    assert clean('שלח דוא"ל') == 'שלח דוא"ל'  # the mark of an abbreviation, no quotation


def test_messages_that_are_no_translations_are_not_asked() -> None:
    left = set(TARGETS["retrieval"].definition["source"]["leave_out"])
    assert left and not left & {row["id"] for row in rows("retrieval", "vi")}
    everything = list(package.read(with_source("retrieval", leave_out=[], sizes={"test": 200}).definition, "vi"))
    assert left <= {row["id"] for row in everything}


# ------------------------------------------------------------------------------------------------------ names of emoji


@pytest.mark.parametrize(
    ("language", "item", "name"),
    [
        ("zh", "1f95a", "蛋"),
        ("th", "1f95a", "ไข่"),
        ("km", "1f422", "អណ្តើក"),
        ("my", "1f422", "လိပ်"),
        ("ta", "1f422", "ஆமை"),
        ("fi", "1f422", "kilpikonna"),
        ("tr", "1f511", "anahtar"),
        ("ko", "1f511", "열쇠"),
        ("ru", "1f511", "ключ"),
        ("el", "1f511", "κλειδί"),
        ("ar", "1f511", "مفتاح"),
        ("am", "1f511", "ቁልፍ"),
        ("hu", "1f9d1-200d-1f3eb", "tanár"),  # published as tanár / tanárnő
        ("de", "1f9d1-200d-2695", "Arzt"),  # Arzt/Ärztin
    ],
)
def test_names_are_those_that_cldr_publishes(language: str, item: str, name: str) -> None:
    assert {one.id: one.name for one in emoji_names.items(language)}[item] == name


def test_hidden_characters_brackets_and_second_forms_go() -> None:
    clean = emoji_names.clean
    assert clean("ໜ້າ\u200bຍິ້ມ") == "ໜ້າຍິ້ມ"
    assert clean("Student(in)") == "Student" and clean("a (long) name") == "a name"
    assert clean("סטודנט/ית") == "סטודנט" and clean("tanár / tanárnő") == "tanár"
    assert clean("نیم\u200cباز") == "نیم\u200cباز"  # a joiner is spelling
    for language in CATALOG.targets["naming"].languages:
        names = [one.name for one in emoji_names.items(language) if one.part == "test"]
        assert not [name for name in names if not name or any(mark in name for mark in "()[]\u200b\u200e\u200f")]


def test_an_emoji_is_the_same_item_in_every_language() -> None:
    topic, naming = CATALOG.targets["topic"], CATALOG.targets["naming"]
    tested = [(row["id"], row["label"], row["cluster"]) for row in of_split(rows("topic", "en"), "test")]
    counts = Counter(label for _, label, _ in tested)
    assert set(counts) == set(topic.definition["labels"]) and len(set(counts.values())) == 1
    assert topic.definition["chance"] == pytest.approx(100 / len(counts), abs=0.05)
    assert naming.definition["chance"] == pytest.approx(100 / len(tested), abs=0.05)
    assert set(naming.languages) == set(topic.languages) - {"en"}
    candidates = [(row["id"], row["text"]) for row in rows("naming", "zh") if row["side"] == "candidate"]
    for language in naming.languages:
        assert [
            (row["id"], row["label"], row["cluster"]) for row in of_split(rows("topic", language), "test")
        ] == tested
        found = rows("naming", language)
        assert [(row["id"], row["text"]) for row in found if row["side"] == "candidate"] == candidates
        queries = [row for row in found if row["side"] == "query"]
        assert [row["id"] for row in queries] == [name for name, _, _ in tested]
        assert all(row["gold"] == [row["id"]] for row in queries)


def test_no_tested_name_is_english_or_another_items() -> None:
    import annotations

    english = {row["id"]: row["text"] for row in rows("naming", "zh") if row["side"] == "candidate"}
    for language in CATALOG.targets["naming"].languages:
        queries = {row["id"]: row["text"] for row in rows("naming", language) if row["side"] == "query"}
        assert len({text.casefold() for text in queries.values()}) == len(queries)
        assert not [key for key, text in queries.items() if annotations.near(text, english[key])]


def test_no_emoji_or_variant_of_one_is_in_two_parts() -> None:
    found = {
        "train": of_split(rows("topic", "en"), "train"),
        "dev": of_split(rows("topic", "en"), "dev"),
        "test": of_split(rows("topic", "en"), "test"),
        "keywords, train": of_split(rows("keywords", "en"), "train"),
        "keywords, dev": of_split(rows("keywords", "en"), "dev"),
    }
    clusters = {name: {row["cluster"] for row in part} for name, part in found.items()}
    assert all(clusters.values())
    for name, own in clusters.items():
        assert not own & {one for other, more in clusters.items() if other != name for one in more}


def test_one_set_of_keywords_fits_and_has_no_word_of_the_name() -> None:
    keywords = {one.id: set(one.keywords) for one in emoji_names.items("en")}
    for row in rows("keywords", "en"):
        assert len(set(row["choices"])) == len(row["choices"]) == emoji_names.CHOICES
        for number, choice in enumerate(row["choices"]):
            shared = set(choice.split(", ")) & keywords[row["id"]]
            assert bool(shared) == (number == row["label"])
        assert not set(row["context"].lower().split()) & set(row["choices"][row["label"]].lower().split())
    labels = Counter(row["label"] for row in rows("keywords", "en"))
    assert min(labels.values()) > len(rows("keywords", "en")) / 8


def test_a_language_without_names_is_named() -> None:
    with pytest.raises(UserError, match=r"none in language 'tl'.*Add a row to languages.csv"):
        emoji_names.items("tl")
    with pytest.raises(UserError, match="Did you mean 'objects'"):
        list(package.read(with_source("topic", groups=["object"]).definition, "fi"))


def test_the_licence_of_the_names_lies_beside_them() -> None:
    text = (emoji_names.TABLE.parent / "LICENSE").read_text(encoding="utf-8")
    assert "UNICODE LICENSE V3" in text and "Copyright © 2004-2026 Unicode, Inc." in text and "MIT License" in text


# -------------------------------------------------------------------------------------------------------------- expect


def test_expect_replaces_the_block_and_nothing_else() -> None:
    import expect

    text = "kind: tagging  # why\nlanguages:\n  en: {train: 1}\n\n  fi: {}\nmetrics: [a]  # kept\n"
    assert expect.replaced(text, "languages:\n  no: {}\n") == (
        "kind: tagging  # why\nlanguages:\n  no: {}\nmetrics: [a]  # kept\n"
    )


def test_expect_prints_what_the_catalogue_pins() -> None:
    import expect

    name = "name-typing"
    path = catalog.BUILT_IN / "intermediate" / f"{name}.yaml"
    assert expect.block(CATALOG.task(name))[0] in path.read_text(encoding="utf-8")
