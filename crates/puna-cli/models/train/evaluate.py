"""The held-out scores of a Hugging Face folder, as transformers computes them.

    python evaluate.py FOLDER HELDOUT.jsonl [--limit N] [--longest N] [--answers OUT.jsonl]

An answer counts if greedy decoding with `Llama4ForConditionalGeneration` gives exactly the expected text. It does if each
token of the expected answer is the most likely one after those before it, which one forward pass tells; other answers are
generated where they matter: tool calls and JSON, which are also checked for being well-formed, and with --answers, which
writes every answer and its tokens for `check_answers.py`. Prints a line for each skill, and perplexity of the text.
"""

import argparse
import ast
import io
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import Llama4ForConditionalGeneration

import tiles
from sample import Sample
from tokenizer import Prompt


def conversation(item: dict, images: bytes) -> Sample:
    """An item as a sample; the expected answer is its last turn."""
    turns = []
    for message in item["messages"]:
        parts = (
            message["content"]
            if isinstance(message["content"], list)
            else [{"type": "text", "text": message["content"]}]
        )
        read = []
        for part in parts:
            if part["type"] == "text":
                read.append(part["text"])
            else:
                offset, size = map(int, part["path"].split("@")[1].split("+"))
                read.append(Image.open(io.BytesIO(images[offset : offset + size])).convert("RGB"))
        turns.append((message["role"], read))
    return Sample(item["skill"], item["id"], [*turns, ("assistant", [item["answer"]])])


def well_formed(skill: str, answer: str) -> bool:
    try:
        if skill == "json":
            json.loads(answer)
            return True
        calls = ast.parse(answer, mode="eval").body
        return isinstance(calls, ast.List) and all(isinstance(c, ast.Call) and not c.args for c in calls.elts)
    except (ValueError, SyntaxError):
        return False


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("folder", type=Path)
    args.add_argument("heldout", type=Path)
    args.add_argument("--limit", type=int, default=10**9, help="items of a skill")
    args.add_argument("--longest", type=int, default=10**9, help="tokens of a recall prompt")
    args.add_argument("--answers", type=Path, help="write every answer")
    args = args.parse_args()
    torch.set_num_threads(1)
    model = Llama4ForConditionalGeneration.from_pretrained(args.folder, dtype=torch.float32).eval()
    prompt = Prompt(args.folder, "tokenizer.json")
    images = args.heldout.with_suffix(".images").read_bytes()
    right, formed, nats = defaultdict(list), defaultdict(list), []
    written = open(args.answers, "w") if args.answers else None
    for line in open(args.heldout):
        item = json.loads(line)
        skill = item["skill"] + (f" {item['length']}" if "length" in item else "")
        if item.get("tokens", 0) > args.longest or len(right[skill]) >= args.limit:
            continue
        if skill == "text":
            ids = torch.tensor([[prompt.id["<|begin_of_text|>"], *prompt.text(item["text"])]])
            with torch.no_grad():
                logits = model(input_ids=ids).logits[0, :-1].double()
            losses = torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none")
            nats.append((losses.sum().item(), len(losses), len(item["text"].encode())))
            right[skill].append(0)
            continue
        sample = conversation(item, images)
        ids, _, pixels = prompt.encode(sample, tiles.cut, generation=True)
        expected = prompt.encode(sample, tiles.cut)[0]
        inputs = {"pixel_values": torch.from_numpy(np.stack(pixels))} if pixels else {}
        with torch.no_grad():
            tokens = torch.tensor([expected])
            logits = model(input_ids=tokens, logits_to_keep=len(expected) - len(ids) + 1, **inputs).logits[0, :-1]
        answered, answer = expected[len(ids) :], item["answer"]
        if logits.argmax(-1).tolist() != answered:
            answer = None
            if written or item["skill"] in ("json", "tools"):
                tokens = torch.tensor([ids])
                with torch.no_grad():
                    out = model.generate(
                        tokens, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=80, **inputs
                    )
                answered = out[0, len(ids) :].tolist()
                answer = prompt.tokenizer.decode(answered)
        right[skill].append(answer == item["answer"])
        if item["skill"] in ("json", "tools"):
            formed[skill].append(well_formed(item["skill"], answer))
        if written:
            record = {"id": item["id"], "answer": answer, "right": answer == item["answer"], "tokens": answered}
            written.write(json.dumps(record) + "\n")
    for skill, values in right.items():
        if skill == "text":
            total, count, size = (sum(column) for column in zip(*nats))
            print(
                f"text          perplexity {math.exp(total / count):.2f} a token, {total / size / math.log(2):.3f} bits a byte"
            )
            continue
        more = f"   well-formed {100 * sum(formed[skill]) / len(formed[skill]):.1f} %" if skill in formed else ""
        print(f"{skill:12}  {100 * sum(values) / len(values):5.1f} % of {len(values)}{more}")


if __name__ == "__main__":
    main()
