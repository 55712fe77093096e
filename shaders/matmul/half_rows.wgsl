// Rows of activations as 16-bit floats, for `shared_tile` with HALF and for `matrix_tile`. A row is a vector with its scale,
// then eight values a vector. The scale is the power of two that brings the largest magnitude to 8 .. 16: sums of a few
// products with weights below a thousand stay finite, and values down to a 2^17th of the largest are normal numbers.
//
// A workgroup takes a row. The rows follow one another.

struct Params {
    // Of a row, in vectors of four: an even number.
    width: u32,
    // In the same.
    x_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> halves: array<vec4<u32>>;

const THREADS = 64u;

// The largest magnitude of each thread's values, as the bits of a float.
var<workgroup> peaks: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let first = params.x_base + group.y * params.width;
    var mine = 0u;
    for (var i = index; i < params.width; i += THREADS) {
        // As integers, magnitudes compare as the floats do, and infinities and NaNs are the largest.
        let bits = bitcast<vec4<u32>>(x[first + i]) & vec4<u32>(0x7fffffffu);
        mine = max(mine, max(max(bits.x, bits.y), max(bits.z, bits.w)));
    }
    peaks[index] = mine;
    workgroupBarrier();
    var peak = 0u;
    for (var i = 0u; i < THREADS; i++) {
        peak = max(peak, peaks[i]);
    }
    // Zero for rows below 2^-100, whose inverse might be infinite. NaN where a value is not finite: the products are, too.
    var scale = 0u;
    var inverse = 0.0;
    if peak >= 0x7f800000u {
        scale = 0x7fc00000u;
    } else if peak >= 27u << 23u {
        scale = ((peak >> 23u) - 3u) << 23u;
        inverse = bitcast<f32>((257u - (peak >> 23u)) << 23u);
    }
    let vectors = params.width / 2u;
    let to = group.y * (vectors + 1u);
    if index == 0u {
        halves[to] = vec4<u32>(scale, 0u, 0u, 0u);
    }
    for (var i = index; i < vectors; i += THREADS) {
        let a = x[first + 2u * i] * inverse;
        let b = x[first + 2u * i + 1u] * inverse;
        halves[to + 1u + i] =
            vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
    }
}
