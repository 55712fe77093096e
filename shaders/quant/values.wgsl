// What the weight formats are expanded to.

// Eight consecutive weights.
struct Octet {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

// 32 consecutive weights of a block format: 16 in `a`, 16 in `b`, a signed byte each, the first in the lowest bits.
// A weight is scale * byte + low, with .x of both for `a` and .y for `b`.
struct Run {
    a: vec4<u32>,
    b: vec4<u32>,
    scale: vec2<f32>,
    low: vec2<f32>,
}

// The four bytes of a word as numbers.
fn u8x4(word: u32) -> vec4<f32> {
    return vec4<f32>(vec4<u32>(word & 0xffu, (word >> 8u) & 0xffu, (word >> 16u) & 0xffu, word >> 24u));
}

// The four bytes of a word as signed numbers.
fn i8x4(word: u32) -> vec4<f32> {
    let v = vec4<i32>(bitcast<vec4<i32>>(vec4<u32>(word << 24u, word << 16u, word << 8u, word)));
    return vec4<f32>(v >> vec4<u32>(24u));
}

// Four words of bytes, from each of which `by` is taken: no byte is above 127, nor `by`.
fn minus(words: vec4<u32>, by: u32) -> vec4<u32> {
    // The upper bit keeps a byte from borrowing of the next one.
    return ((words | vec4<u32>(0x80808080u)) - vec4<u32>(by * 0x01010101u)) ^ vec4<u32>(0x80808080u);
}

// 32 consecutive weights.
struct Values {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
    e: vec4<f32>,
    f: vec4<f32>,
    g: vec4<f32>,
    h: vec4<f32>,
}

// Four consecutive weights of each of four outputs.
struct Four {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

// 16 consecutive numbers.
struct Values16 {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}
