"""Muon for the matrices inside the layers, Adam for the rest, and a running mean of the weights.

Muon (Keller Jordan, 2024) makes the momentum of a matrix orthogonal before it steps; a small model learns in fewer tokens.
Its steps are scaled so that one learning rate serves both, as in "Muon is scalable for LLM training" (2025).
"""

import torch


def orthogonal(m: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The nearest matrix with singular values near 1, by Newton-Schulz; [..., rows, cols]."""
    if m.ndim > 2:
        # One by one: on a CPU twice as fast as a batched product of such sizes.
        return torch.stack([orthogonal(each, steps) for each in m])
    tall = m.shape[0] > m.shape[1]
    x = m.T if tall else m
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        a = x @ x.T
        x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x.T if tall else x


def is_matrix(name: str, p: torch.Tensor) -> bool:
    if "embed" in name or "lm_head" in name or "router" in name or "positional" in name:
        return False
    return p.ndim >= 2


class Optimizer:
    def __init__(self, named, weight_decay: float = 0.02, tower_rate: float = 1):
        self.named = list(named)
        # A tower that can see already learns more slowly than what reads it.
        self.rate = {
            name: tower_rate if "vision_model" in name or "multi_modal" in name else 1 for name, _ in self.named
        }
        self.weight_decay = weight_decay
        self.state = {}
        for name, p in self.named:
            if is_matrix(name, p):
                self.state[name] = {"momentum": torch.zeros_like(p)}
            else:
                self.state[name] = {"m": torch.zeros_like(p), "v": torch.zeros_like(p)}

    @torch.no_grad()
    def step(self, t: int, lr: float, adam_lr: float, only: set | None = None) -> None:
        """Step number `t` from 1 on, of the parameters of these names."""
        for name, p in self.named:
            if p.grad is None or (only is not None and name not in only):
                continue
            state = self.state[name]
            if "momentum" in state:
                momentum = state["momentum"].mul_(0.95).add_(p.grad, alpha=0.05)
                update = orthogonal(p.grad.lerp(momentum, 0.95))
                rate = lr * self.rate[name]
                p.mul_(1 - rate * self.weight_decay)
                p.add_(update, alpha=-rate * 0.2 * max(p.shape[-2:]) ** 0.5)
            else:
                m, v = state["m"], state["v"]
                m.lerp_(p.grad, 0.1)
                v.mul_(0.98).addcmul_(p.grad, p.grad, value=0.02)
                scale = (v / (1 - 0.98**t)).sqrt_().add_(1e-8)
                p.addcdiv_(m, scale, value=-adam_lr * self.rate[name] / (1 - 0.9**t))
            p.grad = None


class Mean:
    """An exponential mean of the weights: about as good as a decayed learning rate, at any time."""

    def __init__(self, named, decay: float):
        self.named, self.decay = list(named), decay
        self.values = {name: p.detach().clone() for name, p in self.named}

    @torch.no_grad()
    def update(self, t: int, only: set | None = None) -> None:
        weight = 1 - min(self.decay, t / (t + 10))
        for name, p in self.named:
            if only is None or name in only:
                self.values[name].lerp_(p, weight)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges the weights and their means."""
        for name, p in self.named:
            value = self.values[name].clone()
            self.values[name].copy_(p)
            p.copy_(value)
