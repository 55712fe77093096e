// Value k and the 31 after it, of the block that begins at `block` or, of plain formats, from there on.
fn values(block: u32, k: u32) -> Values {
#if PLAIN
    let a = dequant(block, 0u);
    let b = dequant(block + BLOCK_BYTES, 0u);
    let c = dequant(block + 2u * BLOCK_BYTES, 0u);
    let d = dequant(block + 3u * BLOCK_BYTES, 0u);
    return Values(a.lo, a.hi, b.lo, b.hi, c.lo, c.hi, d.lo, d.hi);
#else
    let r = unpack(block, k % BLOCK_LEN / 32u);
    let s = r.scale;
    let m = r.low;
    return Values(
        i8x4(r.a.x) * s.x + m.x, i8x4(r.a.y) * s.x + m.x, i8x4(r.a.z) * s.x + m.x, i8x4(r.a.w) * s.x + m.x,
        i8x4(r.b.x) * s.y + m.y, i8x4(r.b.y) * s.y + m.y, i8x4(r.b.z) * s.y + m.y, i8x4(r.b.w) * s.y + m.y);
#endif
}
