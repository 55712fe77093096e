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
