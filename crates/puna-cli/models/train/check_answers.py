"""The share of held-out prompts to which puna and transformers give the same greedy answer.

    python check_answers.py PUNA SOURCE HELDOUT.jsonl ANSWERS.jsonl [--mmproj FILE.gguf] [--every N] [--tokenizer FOLDER]

ANSWERS.jsonl is what `evaluate.py --answers` wrote. puna reads each prompt with that answer behind it (`puna logits`); its
own greedy answer is the same exactly if each token of the answer is the most likely one after those before it. SOURCE is the
Hugging Face folder for f32 weights, or a GGUF file, whose tokens FOLDER has.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import tiles
from evaluate import conversation
from tokenizer import Prompt


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("puna", type=Path)
    args.add_argument("source", type=Path)
    args.add_argument("heldout", type=Path)
    args.add_argument("answers", type=Path)
    args.add_argument("--mmproj", type=Path)
    args.add_argument("--every", type=int, default=1, help="only each N-th item")
    args.add_argument("--tokenizer", type=Path)
    args = args.parse_args()
    prompt = Prompt(args.tokenizer or args.source, "tokenizer.json")
    images = args.heldout.with_suffix(".images").read_bytes()
    items = {item["id"]: item for item in map(json.loads, open(args.heldout))}
    answers = [json.loads(line) for line in open(args.answers)][:: args.every]
    files = ["--mmproj", args.mmproj] if args.mmproj else []
    different = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for answer in answers:
            ids, _, pixels = prompt.encode(conversation(items[answer["id"]], images), tiles.cut, generation=True)
            (folder / "ids.txt").write_text(",".join(map(str, ids + answer["tokens"][:-1])))
            if pixels:
                np.save(folder / "p.npy", np.stack(pixels))
            command = [args.puna.resolve(), "logits", args.source, *files, "--tokens-file", folder / "ids.txt"]
            command += ["--pixels", folder / "p.npy"] if pixels else []
            command += ["--kv", "f32", "--out", folder / "l.npy"]
            subprocess.run([str(c) for c in command], check=True, capture_output=True)
            mine = np.load(folder / "l.npy")[len(ids) - 1 :].argmax(-1).tolist()
            if mine != answer["tokens"]:
                different.append(answer["id"])
    share = 100 * (1 - len(different) / len(answers))
    print(f"{len(answers)} prompts: the same greedy answer to {share:.2f} %", *different)


if __name__ == "__main__":
    main()
