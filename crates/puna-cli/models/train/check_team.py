"""Shows that two processes make the gradients and the weights that one makes.

    python check_team.py DATA

takes three steps alone and with a helper, from the same seed.
"""

import sys
from pathlib import Path

import torch

from model import Fast, build
from optim import Mean, Optimizer
from pretrain_tower import Heads
from team import Team
from tokenizer import Prompt
from train import work


def run(data: Path, workers: int):
    prompt = Prompt(data)
    model = build(prompt, 3)
    torch.manual_seed(3)
    fast, heads = Fast(model), Heads(model.config.text_config.hidden_size)
    with torch.no_grad():
        for p in model.parameters():
            p += torch.randn_like(p) * 0.02
    named = [*model.named_parameters(), *((f"heads.{name}", p) for name, p in heads.named_parameters())]
    team = Team(named, Optimizer(named), Mean(named, 0.99), work(fast, heads, data, prompt, {}), workers)
    out = []
    for step in range(3):
        losses = team.gradients(1000 + step)
        sums = {name: sum(b.of[name] for b in team.buffers).clone() for name, _ in named}
        team.update(step + 1, 1e-3, 1e-3)
        out.append((losses, sums, {name: p.detach().clone() for name, p in named}))
    return out


def main() -> None:
    torch.set_num_threads(1)
    data = Path(sys.argv[1])
    alone, two = run(data, 1), run(data, 2)
    for step, ((la, ga, wa), (lb, gb, wb)) in enumerate(zip(alone, two)):
        worst = lambda a, b: max(
            (a[n] - b[n]).abs().max().item() / max(a[n].abs().max().item(), 1e-6) for n in a
        )
        grad, weight = worst(ga, gb), worst(wa, wb)
        print(f"step {step}: losses {la} and {lb}; gradients differ by {grad:.1e} of a tensor's largest, weights by {weight:.1e}")
        # Behind the first update, signs of gradients next to nothing decide single weights.
        assert step > 0 or (grad < 1e-3 and weight < 1e-3)


if __name__ == "__main__":
    main()
