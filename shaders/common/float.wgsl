// 1 / (1 + exp(-v)), 0 where exp would overflow.
fn sigmoid(v: f32) -> f32 {
    return select(1.0 / (1.0 + exp(-max(v, -87.0))), 0.0, v < -87.0);
}
