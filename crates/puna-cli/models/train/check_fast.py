"""Shows that the training forward pass and its gradients are those of transformers.

    python check_fast.py DATA

compares logits, losses and gradients on text that crosses chunks, on pictures of one and of several tiles, and on sequences
that share a batch, with random weights.
"""

import sys
from pathlib import Path

import torch
from PIL import Image

import tiles
from model import CHUNK, Fast, build
from sample import ask, rng
from skill_image import draw_shape
from skill_text import text
from tokenizer import Prompt
from train import loss, tensors


def gradients(model) -> dict:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def compare_gradients(mine: dict, theirs: dict) -> None:
    # transformers gives unused experts a gradient of zero.
    for name, other in theirs.items():
        worst = (mine.get(name, torch.zeros_like(other)) - other).abs().max().item()
        assert worst < 2e-3 * max(other.abs().max().item(), 1e-6), (name, worst)
    print(f"  gradients of {len(theirs)} parameters agree")


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
    samples = [prompt.encode(sample, tiles.cut) for sample in (text(r, data, False, 3 * CHUNK), picture)]
    packed = [samples[1], samples[0], samples[1]]
    for name, batch in (("text", samples[:1]), ("pictures", samples[1:]), ("three sequences in one batch", packed)):
        print(f"{name}: {sum(len(ids) for ids, _, _ in batch)} tokens")
        model.zero_grad()
        losses, worst = 0, 0.0
        tokens, lengths, _, pixels = tensors(batch)
        with torch.no_grad():
            mine = fast.logits(fast.hidden(tokens, lengths, pixels)[0]).split(lengths)
        for sample, rows in zip(batch, mine):
            tokens, _, weights, pixels = tensors([sample])
            logits = model(input_ids=tokens[None], pixel_values=pixels).logits[0]
            worst = max(worst, ((rows - logits).abs().max() / logits.abs().max()).item())
            each = torch.nn.functional.cross_entropy(logits[:-1], tokens[1:], reduction="none")
            losses = losses + (each * weights[:-1]).sum()
        losses.backward()
        theirs = gradients(model)
        model.zero_grad()
        # As in training: the last layer and the head where something is learned.
        value, *_ = loss(fast, batch, 1.0, 1)
        value.backward()
        difference = abs(value.item() - losses.item()) / losses.item()
        print(f"  logits differ by {worst:.1e} of the largest, losses by {difference:.1e}")
        assert worst < 1e-4 and difference < 1e-5
        compare_gradients(gradients(model), theirs)


if __name__ == "__main__":
    main()
