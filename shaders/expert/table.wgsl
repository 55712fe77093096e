// The picks of the router and where each expert's matrix lies in the bound window.
// Three words an expert: its first byte in `w`, in the second matrix (not used here), and its first scale. An expert of
// another window has NONE.

@group(1) @binding(3) var<storage, read> scale: array<f32>;
@group(1) @binding(4) var<storage, read> ids: array<u32>;
@group(1) @binding(5) var<storage, read> scores: array<f32>;
@group(1) @binding(6) var<storage, read> table: array<u32>;

// (first byte, first scale) of the expert of a pick.
fn locate(pick: u32) -> vec2<u32> {
    let expert = ids[params.pick_base + pick];
    if expert >= params.n_experts {
        return vec2<u32>(NONE);
    }
    let at = params.table_base + 3u * expert;
    return vec2<u32>(table[at], table[at + 2u]);
}
