"""Shows that the training forward pass and its gradients are those of transformers.

    python check_fast.py DATA

compares logits and gradients on text that crosses chunks, on pictures of one and of several tiles, with random weights.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import tiles
from model import CHUNK, Fast, build
from sample import ask, rng
from skill_image import draw_shape
from skill_text import text
from tokenizer import Prompt


def compare(name: str, a, b, tolerance: float) -> None:
    worst = (a - b).abs().max().item() / max(b.abs().max().item(), 1e-9)
    print(f"{name}: {worst:.1e} of the largest value")
    assert worst < tolerance, name


def main() -> None:
    torch.set_num_threads(1)
    data = Path(sys.argv[1])
    prompt = Prompt(data)
    model = build(prompt, 3)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) * 0.05
    fast, r = Fast(model), rng("check")
    wide = draw_shape(r, "red", "star").resize((150, 64), Image.Resampling.BILINEAR)
    picture = ask("shape", [draw_shape(r, "blue", "circle", True), wide, "What do you see?"], "Two shapes.")
    for name, sample in (("text", text(r, data, False, 3 * CHUNK)), ("pictures", picture)):
        ids, _, pixels = prompt.encode(sample, tiles.cut)
        ids = torch.tensor([ids])
        pixels = torch.from_numpy(np.stack(pixels)) if pixels else None
        gradients = []
        for run in (
            lambda: fast.logits(fast.hidden(ids, pixels)[0]),
            lambda: model(input_ids=ids, pixel_values=pixels).logits,
        ):
            model.zero_grad()
            logits = run()
            F = torch.nn.functional
            F.cross_entropy(logits[0, :-1], ids[0, 1:]).backward()
            gradients.append(
                (logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
            )
        (a, da), (b, db) = gradients
        print(f"{name}: {ids.shape[1]} tokens")
        compare("  logits", a, b, 1e-4)
        # transformers gives unused experts a gradient of zero.
        for key, other in db.items():
            mine = da.get(key, torch.zeros_like(other))
            worst = (mine - other).abs().max().item() / max(other.abs().max().item(), 1e-6)
            assert worst < 2e-3, (key, worst)
        print(f"  gradients of {len(db)} parameters agree")


if __name__ == "__main__":
    main()
