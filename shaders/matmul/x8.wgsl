// Eight activations from x[at] on.
fn x8(at: u32) -> Octet {
    return Octet(
        vec4<f32>(x[at], x[at + 1u], x[at + 2u], x[at + 3u]),
        vec4<f32>(x[at + 4u], x[at + 5u], x[at + 6u], x[at + 7u]));
}
