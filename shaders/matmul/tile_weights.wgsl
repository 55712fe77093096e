// Eight weights of the r-th output of a tile of OUTS outputs, with TWO of both matrices, from value k on.
fn weights_at(tile: Tile, first_out: u32, r: u32, k: u32) -> Octet {
    let last = params.n_out - 1u;
    let block = k / BLOCK_LEN * BLOCK_BYTES;
#if TWO
    if r >= OUTS / 2u {
        let o = min(first_out + r - OUTS / 2u, last);
        return dequant_up(tile.up + o * params.up_stride + block, k % BLOCK_LEN);
    }
#endif
    return dequant(tile.w + min(first_out + r, last) * params.w_stride + block, k % BLOCK_LEN);
}

// Expands the DEPTH weights of each output from value k on, shared by so many threads; the kernel's `put_weights` stores
// eight of output r, the e-th of the depth.
fn stage_weights(tile: Tile, first_out: u32, k: u32, index: u32, threads: u32) {
    for (var i = index; i < OUTS * DEPTH / 8u; i += threads) {
        let r = i / (DEPTH / 8u);
        let e = i % (DEPTH / 8u);
        // Rows of plain formats may end within the depth.
        var v = Octet(vec4<f32>(), vec4<f32>());
        if k + 8u * e < params.n_in {
            v = weights_at(tile, first_out, r, k + 8u * e);
        }
        put_weights(r, e, v);
    }
}
