// Rope2d, in place, one pair a thread: the first half of a head's pairs turns by the patch's column, the second by its row.
#import common/turn

struct Params {
    width: u32,
    x_base: u32,
    // Pairs of one axis.
    pairs: u32,
    freq_base: u32,
    grid: u32,
    // Place of the first row in its tile.
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read_write> x: array<f32>;
@group(1) @binding(1) var<storage, read> inv_freq: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>) {
    let patches = params.grid * params.grid;
    let place = (params.first + group.y) % (patches + 1u);
    // The class token, which comes last, does not turn.
    if 2u * id.x >= params.width || place == patches {
        return;
    }
    let pair = id.x % (2u * params.pairs);
    let along = select(place / params.grid, place % params.grid, pair < params.pairs) + 1u;
    let turned = sin_cos(f32(along) * inv_freq[params.freq_base + pair % params.pairs]);
    let at = params.x_base + group.y * params.width + 2u * id.x;
    let u = x[at];
    let v = x[at + 1u];
    x[at] = u * turned.y - v * turned.x;
    x[at + 1u] = u * turned.x + v * turned.y;
}
