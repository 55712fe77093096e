// Sine and cosine of any finite angle to f32 accuracy.
//
// WGSL bounds the error of sin and cos only within one turn, and positions reach ten million. The angle is therefore
// reduced in integers: the fraction of a turn is the product of its 24-bit significand with a window of the binary
// digits of 1 / (2 pi) (Payne and Hanek, "Radian reduction for trigonometric functions", 1983).

// Digits 32 * i .. 32 * i + 32 of 1 / (2 pi) after the binary point.
fn inverse_turn(i: i32) -> u32 {
    switch i {
        case 0: { return 0x28be60dbu; }
        case 1: { return 0x9391054au; }
        case 2: { return 0x7f09d5f4u; }
        case 3: { return 0x7d4d3770u; }
        case 4: { return 0x36d8a566u; }
        case 5: { return 0x4f10e410u; }
        default: { return 0u; }
    }
}

// Upper half of a 32 x 32 bit product.
fn mul_high(a: u32, b: u32) -> u32 {
    let a_lo = a & 0xffffu;
    let a_hi = a >> 16u;
    let b_lo = b & 0xffffu;
    let b_hi = b >> 16u;
    let low = (a_lo * b_lo) >> 16u;
    let mid = a_hi * b_lo + low;
    let other = a_lo * b_hi + (mid & 0xffffu);
    return a_hi * b_hi + (mid >> 16u) + (other >> 16u);
}

// (sin, cos).
fn sin_cos(angle: f32) -> vec2<f32> {
    let bits = bitcast<u32>(angle);
    // |angle| = significand * 2^exponent
    let significand = (bits & 0x7fffffu) | 0x800000u;
    let exponent = i32((bits >> 23u) & 0xffu) - 150;

    // 64 digits from digit `exponent` on; there are zeros before the binary point.
    let first = exponent >> 5u;
    let shift = u32(exponent & 31);
    let next = inverse_turn(first + 1);
    let hi = (inverse_turn(first) << shift) | ((next >> (31u - shift)) >> 1u);
    let lo = (next << shift) | ((inverse_turn(first + 2) >> (31u - shift)) >> 1u);
    // In units of 2^-32 turns; whole turns wrap away.
    let turn = significand * hi + mul_high(significand, lo);

    // The nearest quarter, and the rest of at most an eighth.
    let quarter = (turn + 0x20000000u) >> 30u;
    let x = f32(bitcast<i32>(turn - (quarter << 30u))) * 1.4629180792671596e-9;
    let xx = x * x;
    let s = x + x * xx * (-1.6666654611e-1 + xx * (8.3321608736e-3 + xx * -1.9515295891e-4));
    let c = 1.0 - 0.5 * xx
        + xx * xx * (4.166664568298827e-2 + xx * (-1.388731625493765e-3 + xx * 2.443315711809948e-5));
    let swapped = select(vec2<f32>(s, c), vec2<f32>(c, s), (quarter & 1u) == 1u);
    let sin_negative = ((quarter & 2u) == 2u) != ((bits >> 31u) == 1u);
    let cos_negative = ((quarter + 1u) & 2u) == 2u;
    return select(swapped, -swapped, vec2<bool>(sin_negative, cos_negative));
}
