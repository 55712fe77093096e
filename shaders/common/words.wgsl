// The weight binding, read by byte address. Blocks of 18, 34 or 210 bytes begin anywhere in a word.
// ALIGNED: every address given to `load_u32` is a multiple of 4.

@group(1) @binding(0) var<storage, read> w: array<u32>;

fn load_u32(at: u32) -> u32 {
#if ALIGNED
    return w[at >> 2u];
#else
    let i = at >> 2u;
    let shift = (at & 3u) * 8u;
    // Two shifts, because a shift by 32 has no meaning.
    return (w[i] >> shift) | ((w[i + 1u] << (31u - shift)) << 1u);
#endif
}

fn load_u8(at: u32) -> u32 {
    return (w[at >> 2u] >> ((at & 3u) * 8u)) & 0xffu;
}

fn load_u16(at: u32) -> u32 {
#if ALIGNED
    // Even addresses only.
    return (w[at >> 2u] >> ((at & 2u) * 8u)) & 0xffffu;
#else
    return load_u8(at) | (load_u8(at + 1u) << 8u);
#endif
}

fn load_f16(at: u32) -> f32 {
    return unpack2x16float(load_u16(at)).x;
}

// Eight consecutive weights.
struct Octet {
    lo: vec4<f32>,
    hi: vec4<f32>,
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
