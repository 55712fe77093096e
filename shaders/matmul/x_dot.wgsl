// Eight weights times the eight activations from x[at] on.
fn x_dot(v: Octet, at: u32) -> f32 {
    return dot(v.lo, vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]))
        + dot(v.hi, vec4<f32>(x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]));
}
