"""The text and the digits that puna-tiny is trained on, gathered from packages into plain files.

    python sources.py DATA

writes DATA/text.txt (passages of English, one a line, a blank line between works), DATA/text.heldout.txt (the same,
never trained on) and DATA/digits.csv.gz. Sources and licences:

* the King James Bible, public domain, as Debian's `bible-kjv` prints it;
* "The Rust Programming Language" and "Rust by Example", MIT or Apache-2.0, from the toolchain's own documentation;
* the UCI "Optical Recognition of Handwritten Digits" test set, CC BY 4.0, as scikit-learn (BSD-3-Clause) carries it.
"""

import html
import io
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from zlib import crc32

# One passage in this many is held out.
HELD_OUT = 60
PASSAGE = 1600


def kjv() -> list[str]:
    """Chapters, without verse numbers."""
    out = subprocess.run(["bible", "-f", "gen1:1-rev22:21"], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    chapters, name = [], None
    for line in out.stdout.decode("latin-1").splitlines():
        found = re.match(r"(\S+ ?\S*?)(\d+):(\d+) (.*)", line)
        if not found:
            continue
        book, chapter, _, verse = found.groups()
        if (book, chapter) != name:
            name = (book, chapter)
            chapters.append([])
        chapters[-1].append(verse.strip())
    return [" ".join(chapter) for chapter in chapters]


def book(path: Path) -> list[str]:
    """The prose of a book that mdBook made: its paragraphs, without code listings."""
    page = path.read_text()
    page = page[page.find("<main>") :]
    passages, section = [], []
    for found in re.finditer(r"<(h[1-3]|p|li)\b[^>]*>(.*?)</\1>", page, re.S):
        text = html.unescape(re.sub(r"<[^>]+>", "", found.group(2)))
        text = re.sub(r"\s+", " ", text).replace("\u2019", "'").replace("\u2018", "'")
        text = (
            text.replace("\u201c", '"').replace("\u201d", '"').replace("\u2014", " - ").replace("\u2026", "...").strip()
        )
        if found.group(1)[0] == "h":
            if section:
                passages.append(" ".join(section))
            section = []
        elif len(text) > 40 and text.isascii():
            section.append(text)
    return passages + [" ".join(section)]


def pieces(passages: list[str]) -> list[str]:
    """Passages of about a page: long ones are cut after a sentence."""
    out = []
    for passage in passages:
        while len(passage) > PASSAGE * 3 // 2:
            end = max(passage.rfind(mark, 0, PASSAGE) for mark in (". ", "? ", ": ")) + 1
            end = end or PASSAGE
            out.append(passage[:end].strip())
            passage = passage[end:].strip()
        if len(passage) > 200:
            out.append(passage)
    return out


def digits(data: Path) -> None:
    if (data / "digits.csv.gz").exists():
        return
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(data), "scikit-learn==1.9.1"]
    subprocess.run(command, check=True)
    wheel = next(data.glob("scikit_learn-*.whl"))
    with zipfile.ZipFile(wheel) as package:
        (data / "digits.csv.gz").write_bytes(package.read("sklearn/datasets/data/digits.csv.gz"))
    wheel.unlink()


def main() -> None:
    data = Path(sys.argv[1])
    data.mkdir(parents=True, exist_ok=True)
    digits(data)
    docs = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    docs = Path(docs) / "share/doc/rust/html"
    works = [kjv(), book(docs / "book/print.html"), book(docs / "rust-by-example/print.html")]
    train, held_out = io.StringIO(), io.StringIO()
    for work in works:
        for piece in pieces(work):
            out = held_out if crc32(piece.encode()) % HELD_OUT == 0 else train
            out.write(piece + "\n")
        train.write("\n")
    for name, text in (("text.txt", train), ("text.heldout.txt", held_out)):
        with open(data / name, "w") as file:
            text.seek(0)
            shutil.copyfileobj(text, file)
        print(name, (data / name).stat().st_size)


if __name__ == "__main__":
    main()
