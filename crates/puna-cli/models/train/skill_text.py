"""Plain English to continue, and facts hidden in it to recall."""

from functools import lru_cache
from pathlib import Path
from random import Random

from sample import Sample
from skill_chat import NAMES, PALETTE_WORDS, WORDS

# A token is about this many characters of the text; only lengths of passages depend on it.
CHARS = 3.3


@lru_cache(maxsize=2)
def passages(data: Path, held_out: bool):
    text = (data / ("text.heldout.txt" if held_out else "text.txt")).read_text()
    return [line for line in text.split("\n") if line]


def passage(r: Random, data: Path, held_out: bool, chars: int) -> str:
    """Consecutive text of about `chars` characters that begins with a sentence."""
    lines = passages(data, held_out)
    i = r.randrange(len(lines))
    text = lines[i]
    start = text.find(". ", r.randrange(max(1, len(text) // 2))) + 2 if r.random() < 0.7 else 0
    text = text[start if start > 1 else 0 :]
    while len(text) < chars:
        i = (i + 1) % len(lines)
        text += " " + lines[i]
    end = text.rfind(" ", 0, chars)
    return text[: end if end > 0 else chars]


def text(r: Random, data: Path, held_out: bool, tokens: int) -> Sample:
    body = passage(r, data, held_out, int(tokens * CHARS))
    return Sample("text", f"text:{body}", spans=[(body, False)])


KINDS = {
    "number": (
        "The {} number of {} is {}.",
        "What is the {} number of {}?",
        "secret lucky magic red house phone".split(),
    ),
    "word": ("The {} word of {} is {}.", "What is the {} word of {}?", "secret magic hidden first".split()),
    "colour": ("The {} of {} is {}.", "What colour is the {} of {}?", "coat hat boat house car door".split()),
}


def fact(r: Random, name: str, trained: bool):
    """(what is stated, what is asked, the answer) about a person. Numbers are learned last: more of them in training."""
    kind = r.choice(["number", "number", *(["number"] * 2 if trained else []), "word", "colour"])
    stated, asked, whats = KINDS[kind]
    what = r.choice(whats)
    value = str(r.randint(100, 9999)) if kind == "number" else r.choice(WORDS if kind == "word" else PALETTE_WORDS)
    return stated.format(what, name, value), asked.format(what, name), value


def recall(r: Random, data: Path, held_out: bool, tokens: int, depth: float | None = None) -> Sample:
    """Facts at random places of a text of about `tokens` tokens, then questions about them.

    With `depth` (0 the beginning, 1 the end) there is one question, about the fact at that place.
    """
    n = r.randint(1, 4) if tokens > 60 else r.randint(1, 2)
    names = r.sample(NAMES, n)
    facts = [fact(r, name, not held_out) for name in names]
    # Sentences of the passage, the facts between them.
    body = passage(r, data, held_out, max(40, int((tokens - 22 * n - 12) * CHARS)))
    cuts = [0] + [i + 2 for i in range(len(body) - 2) if body[i : i + 2] in (". ", "? ", "! ", "; ", ": ")]
    places = [r.choice(cuts) for _ in facts]
    if depth is not None:
        places[0] = min(cuts, key=lambda c: abs(c - depth * len(body)))
    order = sorted(range(n), key=lambda i: places[i])
    parts, at, answered = [], 0, []
    for i in order:
        parts += [body[at : places[i]], facts[i][0] + " "]
        at = places[i]
    story = "".join(parts) + body[at:]
    ask = [0] if depth is not None or held_out else r.sample(range(n), n)
    turns = []
    for k, i in enumerate(ask):
        _, question, value = facts[i]
        first = k == 0
        turns += [("user", [f"{story}\n\n{question}" if first else question]), ("assistant", [value])]
        answered.append(question)
    return Sample("recall", f"recall:{[f[0] for f in facts]}", turns)
