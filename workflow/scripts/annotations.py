"""Make the table of names of emoji from the packages that publish them; or compare the table with them.

The names and keywords are Unicode's (CLDR), from npm's cldr-annotations-full; the groups and their order are those of
Unicode's emoji-test.txt as emojibase-data has them. Both archives are compared with their digests before they are read.

Example:
  python workflow/scripts/annotations.py                     # brings the archives by `npm pack`
  python workflow/scripts/annotations.py --archives FOLDER   # reads those that lie there
  python workflow/scripts/annotations.py --check             # writes nothing; says what differs
"""

import argparse
import difflib
import json
import subprocess
import tarfile
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import _path  # noqa: F401
from stiltsweep import catalog, files
from stiltsweep.errors import UserError, run_script
from stiltsweep.languages import ENGLISH, Languages
from stiltsweep.sources.package.emoji_names import ABOUT, KEYWORD_STOP, LEFT, TABLE, clean
from stiltsweep.sources.package.home_assistant import digest

ARCHIVES = {
    # package@version -> SHA-256 of the archive that the registry serves
    "cldr-annotations-full@48.2.0": "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1",
    "emojibase-data@17.0.0": "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
}
COVERED = 0.99
"""Share of the items that a language must name to have a column."""
NEAR = 0.8
"""Similarity (difflib's ratio, without case and accents) from which a name counts as the English one."""
ENGLISH_NAMES = 0.2
"""Share of names near English from which a language has no column: Filipino has 35%, the next (Dutch) 19%."""

GROUPS: dict[str, tuple[str, ...]] = {
    # Unicode's group -> its subgroups that are left out, since a name does not tell the group: hearts, holes and cats
    # among smileys; people who do sport, or footprints, among people; clocks, moons and weather among places; thread
    # among activities.
    "smileys-emotion": ("heart", "emotion", "cat-face", "monkey-face"),
    "people-body": ("person-activity", "person-sport", "person-resting", "person-symbol", "family"),
    "animals-nature": (),
    "food-drink": (),
    "travel-places": ("time", "sky-weather", "hotel"),
    "activities": ("arts-crafts",),
    "objects": (),
}
LEFT_OUT = {
    # English name -> why: found wrong where 40 names in each of 21 languages were read.
    "dragon face": "zh says tap (of water)",
    "skis": "zh says skiing",
    "hair pick": "zh says hair clip",
    "face savoring food": "ru says tasty, th the tongue at the corner of the mouth",
    "red envelope": "ko says New Year's money",
    "pine decoration": "ko says Japanese decoration",
    "student": "th says graduate",
    "martial arts uniform": "th says judo suit",
    "vampire": "vi says male demon",
    "briefs": "am says short statement; swimming trunks in eight languages",
    "spade suit": "a symbol",
    "heart suit": "a symbol",
    "diamond suit": "a symbol",
    "club suit": "a symbol",
}
GENDERS = frozenset({"man", "woman", "men", "women", "person", "people"})
"""Words that make variants of one name; of such variants only the first is kept, as many languages have one name."""
MODIFIERS = GENDERS | frozenset(
    {
        "man’s",
        "woman’s",
        "old",
        "older",
        "oncoming",
        "open",
        "closed",
        "red",
        "green",
        "blue",
        "orange",
        "black",
        "white",
        "brown",
        "small",
        "big",
        "light",
        "dark",
        "low",
        "medium",
        "high",
        "raised",
        "lowered",
        "left",
        "right",
        "tilted",
        "left-facing",
        "right-facing",
        "leftwards",
        "rightwards",
        "pointing",
        "up",
        "down",
        "incoming",
        "spiral",
        "tear-off",
        "round",
        "straight",
        "triangular",
        "linked",
        "broken",
        "running",
        "hatching",
        "baby",
        "front-facing",
        "tropical",
        "hot",
        "soft",
    }
)
"""Words without which names are variants of one thing: a cluster, which is in one part of the data."""
SIZES = {"test": 40, "dev": 8, "train": 32}
"""Items of each group in each part, as far as there are so many; the others are for intermediate tasks."""
LOCALES = {"tl": "fil"}
"""Languages that CLDR calls otherwise."""


def archives(folder: Path, bring: bool) -> dict[str, Path]:
    """Return the archives by package, brought by `npm pack` where asked for, compared with their digests.

    Raises:
      UserError: one cannot be had, or is another.
    """
    paths = {}
    for package, expected in ARCHIVES.items():
        path = folder / f"{package.replace('@', '-')}.tgz"
        if bring:
            try:
                subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError) as error:
                raise UserError(
                    f"npm pack {package} failed ({error}). Bring the archive by hand and name its folder: --archives."
                ) from None
        if not path.is_file():
            raise UserError(f"{path} is missing. Bring it with: npm pack {package}")
        if (actual := files.digest_file(path)) != expected:
            raise UserError(f"{path} has the digest {actual}, not {expected}. Remove it and bring it again.")
        paths[package.partition("@")[0]] = path
    return paths


def read(archive: tarfile.TarFile, name: str) -> Any:
    """Return one JSON file of an archive; None where it has none."""
    try:
        member = archive.extractfile(f"package/{name}")
    except KeyError:
        return None
    return None if member is None else json.load(member)


def annotations(archive: tarfile.TarFile, language: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return emoji -> its name and keywords in one language, as published."""
    locale = LOCALES.get(language, language)
    document = read(archive, f"annotations/{locale}/annotations.json") or {"annotations": {}}
    table: Mapping[str, Any] = document["annotations"].get("annotations", {})
    return {key: (value["tts"][0], tuple(value.get("default", ()))) for key, value in table.items() if "tts" in value}


def groups(archive: tarfile.TarFile) -> dict[str, tuple[str, str]]:
    """Return emoji -> Unicode's group and subgroup, in Unicode's order; without the selector of its picture."""
    meta = read(archive, "meta/groups.json")
    listed = [one for one in read(archive, "en/data.json") if "group" in one]
    return {
        one["emoji"].replace("\ufe0f", ""): (meta["groups"][str(one["group"])], meta["subgroups"][str(one["subgroup"])])
        for one in sorted(listed, key=lambda one: one["order"])
    }


def words(name: str) -> list[str]:
    """Return the words of an English name in lower case."""
    return clean(name).lower().replace(":", " ").replace(",", " ").split()


def without(name: str, dropped: frozenset[str]) -> str:
    """Return an English name without some of its words, in its own order; the name itself where nothing is left."""
    return " ".join(word for word in words(name) if word not in dropped) or " ".join(words(name))


def plain(name: str) -> str:
    """Return a name without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFD", clean(name).casefold()) if not unicodedata.combining(c))


@cache
def near(name: str, english: str) -> bool:
    """Whether a name is the English one or nearly."""
    return difflib.SequenceMatcher(None, plain(name), plain(english), autojunk=False).ratio() >= NEAR


def parts(
    kept: Mapping[str, tuple[str, str]], names: Mapping[str, Mapping[str, tuple[str, tuple[str, ...]]]]
) -> dict[str, str]:
    """Return emoji -> its part of the data, by whole clusters; what cannot be tested of a test cluster has none.

    An item is tested where no language calls it by its English name or nearly, and no other item by the same name.
    """
    english = names[ENGLISH]
    testable = set(kept)
    for language, table in names.items():
        shown = {key: clean(table[key][0]) for key in kept if key in table}
        common = Counter(name.casefold() for name in shown.values())
        testable &= {key for key, name in shown.items() if common[name.casefold()] == 1}
        if language != ENGLISH:
            testable -= {key for key, name in shown.items() if near(name, english[key][0])}
    members: dict[str, list[str]] = {}
    for key in kept:
        members.setdefault(without(english[key][0], MODIFIERS), []).append(key)
    counts: Counter[tuple[str, str]] = Counter()
    part_of: dict[str, str] = {}
    for cluster in sorted(members, key=digest):
        keys = members[cluster]
        group = kept[keys[0]][0]
        part = LEFT
        for candidate, size in SIZES.items():
            fit = [key for key in keys if key in testable] if candidate == "test" else keys
            if fit and counts[group, candidate] < size:
                part, keys = candidate, fit
                break
        for key in keys:
            part_of[key] = part
            counts[kept[key][0], part] += 1
    return part_of


def table(sources: Mapping[str, Path]) -> str:
    """Return the whole table as text."""
    languages = Languages.read([catalog.BUILT_IN / "languages.csv"]).rows
    with tarfile.open(sources["cldr-annotations-full"]) as archive:
        names = {code: annotations(archive, code) for code in sorted(languages)}
    with tarfile.open(sources["emojibase-data"]) as archive:
        grouped = groups(archive)
    english = names[ENGLISH]
    variants: set[str] = set()
    kept: dict[str, tuple[str, str]] = {}
    for key, (group, subgroup) in grouped.items():
        if key not in english or group not in GROUPS or subgroup in GROUPS[group] or english[key][0] in LEFT_OUT:
            continue
        if (head := without(english[key][0], GENDERS)) not in variants:
            variants.add(head)
            kept[key] = (group, subgroup)
    for code in [code for code in names if code != ENGLISH]:
        own = [key for key in kept if key in names[code]]
        loans = sum(near(names[code][key][0], english[key][0]) for key in own)
        if len(own) < COVERED * len(kept) or loans > ENGLISH_NAMES * len(own):
            del names[code]
    part = parts(kept, names)
    codes = [ENGLISH, *(code for code in names if code != ENGLISH)]
    lines = ["\t".join([*ABOUT, *codes])]
    for key, (group, subgroup) in kept.items():
        if key not in part:
            continue
        about = [
            "-".join(f"{ord(character):x}" for character in key),
            group,
            subgroup,
            without(english[key][0], MODIFIERS),
            part[key],
            KEYWORD_STOP.join(english[key][1]),
        ]
        row = [*about, *(names[code].get(key, ("",))[0] for code in codes)]
        if any("\t" in field or "\n" in field for field in row):
            raise UserError(f"{english[key][0]}: a name holds a tab or a line break, which the table cannot hold.")
        lines.append("\t".join(row))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, bring, make, and write or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archives", type=Path, help="folder of the archives (default: bring them by `npm pack`)")
    parser.add_argument("--check", action="store_true", help="compare the table with the packages and write nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = table(archives(arguments.archives or Path(folder), bring=arguments.archives is None))
    if not arguments.check:
        files.write_text(TABLE, made)
        print(f"{TABLE.name}: {made.count(chr(10)) - 1} items")
        return
    if TABLE.read_text(encoding="utf-8") != made:
        raise UserError(f"{TABLE.name} differs from what is published. Make it again without --check.")
    print(f"{TABLE.name}: as published, {made.count(chr(10)) - 1} items")


if __name__ == "__main__":
    run_script(main)
