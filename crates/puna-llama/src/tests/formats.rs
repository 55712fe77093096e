//! One model in every way that files store it gives the same logits.
