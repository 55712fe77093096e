// The weights `w`, read by byte address. Blocks of 18, 34 or 210 bytes begin anywhere in a word.
// ALIGNED: every address given to `load_u32` and `load4` is a multiple of 4.

fn word(i: u32) -> u32 {
#if WINDOWED
    // Elements of uniforms take 16 bytes.
    return w[i >> 2u][i & 3u];
#else
    return w[i];
#endif
}

fn load_u32(at: u32) -> u32 {
#if ALIGNED
    return word(at >> 2u);
#else
    let i = at >> 2u;
    let shift = (at & 3u) * 8u;
    // Two shifts, because a shift by 32 has no meaning.
    return (word(i) >> shift) | ((word(i + 1u) << (31u - shift)) << 1u);
#endif
}

// Four consecutive words.
fn load4(at: u32) -> vec4<u32> {
    let i = at >> 2u;
    let v = vec4<u32>(word(i), word(i + 1u), word(i + 2u), word(i + 3u));
#if ALIGNED
    return v;
#else
    let shift = vec4<u32>((at & 3u) * 8u);
    let next = vec4<u32>(v.yzw, word(i + 4u));
    return (v >> shift) | ((next << (vec4<u32>(31u) - shift)) << vec4<u32>(1u));
#endif
}

fn load_u8(at: u32) -> u32 {
    return (word(at >> 2u) >> ((at & 3u) * 8u)) & 0xffu;
}

fn load_u16(at: u32) -> u32 {
#if ALIGNED
    // Even addresses only.
    return (word(at >> 2u) >> ((at & 2u) * 8u)) & 0xffffu;
#else
    return load_u8(at) | (load_u8(at + 1u) << 8u);
#endif
}

fn load_f16(at: u32) -> f32 {
    return unpack2x16float(load_u16(at)).x;
}
