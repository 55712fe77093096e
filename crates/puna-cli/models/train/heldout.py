"""Writes the held-out sets: what `evaluate.py` and puna's own evaluation ask.

    python heldout.py DATA OUT

writes OUT/heldout.jsonl and OUT/heldout.images. A line is one item:

    {"id": "digit-003", "skill": "digit", "messages": [...], "answer": "7"}      greedy decoding must give the answer
    {"id": "recall-0512-07", "skill": "recall", "tokens": 512, ...}              the same; tokens: length of the prompt
    {"id": "text-004", "skill": "text", "text": "..."}                           perplexity of the text after a BOS

Messages are Llama 4 turns as puna reads them: roles, and a content that is a string or a list of {"type": "text", "text"}
and {"type": "image", "path": "heldout.images@OFFSET+BYTES"}: a PNG file at that place of the file of images.
No item, and no question of its last turn, is ever trained on: see `sample.py`; digits are drawn from other samples
of the data set, though maybe of the same writers.
"""

import io
import json
import sys
from pathlib import Path

import mixture
import skill_text
import tiles
from sample import rng
from tokenizer import Prompt

COUNTS = dict(
    text=40, chat=240, system=80, tools=80, json=80, guard=120, digit=130, shape=110, bars=100, number=110, two=60
)  # fmt: skip
# Tokens of a recall prompt: how many items. Training goes up to 1024.
RECALL = {128: 30, 256: 30, 512: 30, 1024: 24, 2048: 14, 4096: 8, 8192: 4}


class Writer:
    def __init__(self):
        self.lines, self.images = [], bytearray()

    def picture(self, image) -> dict:
        grey = all(abs(r - g) + abs(g - b) == 0 for _, (r, g, b) in image.getcolors(1 << 16) or [(0, (1, 2, 3))])
        png = io.BytesIO()
        (image.convert("L") if grey else image).save(png, "PNG", optimize=True)
        place = f"heldout.images@{len(self.images)}+{len(png.getvalue())}"
        self.images += png.getvalue()
        return {"type": "image", "path": place}

    def item(self, name: str, skill: str, sample, **more) -> None:
        record = {"id": name, "skill": skill, **more}
        if sample.spans:
            record["text"] = sample.spans[0][0]
        else:
            record["messages"] = [
                {"role": role, "content": parts[0] if len(parts) == 1 and isinstance(parts[0], str) else
                 [{"type": "text", "text": p} if isinstance(p, str) else self.picture(p) for p in parts]}
                for role, parts in sample.turns[:-1]
            ]  # fmt: skip
            record["answer"] = sample.turns[-1][1][0]
        self.lines.append(json.dumps(record))


def wanted(name: str, sample) -> bool:
    """Digits and texts are kept apart where they are drawn."""
    return name in ("text", "digit", "two") or (sample.held_out() and not sample.useless)


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    writer, prompt = Writer(), Prompt(data)
    for name, count in COUNTS.items():
        r, made, seen = rng("held out", name), 0, set()
        while made < count:
            sample = mixture.make("chat" if name == "system" else name, r, data, 512, held_out=True)
            if sample.skill != name or not wanted(name, sample) or sample.key in seen:
                continue
            seen.add(sample.key)
            writer.item(f"{name}-{made:03}", name, sample)
            made += 1
    for length, count in RECALL.items():
        r, made = rng("held out recall", length), 0
        while made < count:
            sample = skill_text.recall(r, data, True, length, depth=made / (count - 1))
            if not sample.held_out():
                continue
            tokens = len(prompt.encode(sample, tiles.cut, generation=True)[0])
            writer.item(f"recall-{length:04}-{made:02}", "recall", sample, length=length, tokens=tokens)
            made += 1
    out.mkdir(parents=True, exist_ok=True)
    (out / "heldout.jsonl").write_text("\n".join(writer.lines) + "\n")
    (out / "heldout.images").write_bytes(writer.images)
    print(len(writer.lines), "items,", (out / "heldout.jsonl").stat().st_size, "+", len(writer.images), "bytes")


if __name__ == "__main__":
    main()
