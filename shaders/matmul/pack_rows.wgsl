// Rows of activations as signed bytes, for `packed_tile`: of every 32 values, 8 words of bytes, their scale, and the scale
// times the sum of the first 16 bytes, of the last 16, and of all. A scale is a 127th of the largest magnitude.
//
// Eight threads take 32 values, four each. The rows follow one another.

struct Params {
    // Of 32 values each, in all and for one y of the grid: a multiple of eight.
    blocks: u32,
    span: u32,
    // In vectors of four.
    x_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(1) @binding(1) var<storage, read_write> codes: array<u32>;

const THREADS = 64u;

// The largest magnitude of each thread's values, as the bits of a float, and the sum of its bytes.
var<workgroup> peaks: array<u32, THREADS>;
var<workgroup> sums: array<i32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) index: u32, @builtin(workgroup_id) group: vec3<u32>) {
    let lane = index % 8u;
    let in_span = group.x * (THREADS / 8u) + index / 8u;
    let block = group.y * params.span + in_span;
    let held = in_span < params.span && block < params.blocks;
    var v = vec4<f32>();
    if held {
        v = x[params.x_base + 8u * block + lane];
    }
    // As integers, magnitudes compare as the floats do, and infinities and NaNs are the largest.
    let bits = bitcast<vec4<u32>>(v) & vec4<u32>(0x7fffffffu);
    peaks[index] = max(max(bits.x, bits.y), max(bits.z, bits.w));
    workgroupBarrier();
    var peak = 0u;
    for (var i = 0u; i < 8u; i++) {
        peak = max(peak, peaks[index - lane + i]);
    }
    // Zero for values below 2^-100, whose inverse might be infinite. NaN where a value is not finite: the products are, too.
    var scale = 0u;
    var inverse = 0.0;
    if peak >= 0x7f800000u {
        scale = 0x7fc00000u;
    } else if peak >= 27u << 23u {
        scale = bitcast<u32>(bitcast<f32>(peak) / 127.0);
        inverse = 127.0 / bitcast<f32>(peak);
    }
    let q = clamp(vec4<i32>(round(v * inverse)), vec4<i32>(-127), vec4<i32>(127));
    sums[index] = q.x + q.y + q.z + q.w;
    workgroupBarrier();
    if !held {
        return;
    }
    let bytes = bitcast<vec4<u32>>(q) & vec4<u32>(0xffu);
    codes[12u * block + lane] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
    if lane == 0u {
        let low = sums[index] + sums[index + 1u] + sums[index + 2u] + sums[index + 3u];
        let high = sums[index + 4u] + sums[index + 5u] + sums[index + 6u] + sums[index + 7u];
        codes[12u * block + 8u] = scale;
        codes[12u * block + 9u] = bitcast<u32>(bitcast<f32>(scale) * f32(low));
        codes[12u * block + 10u] = bitcast<u32>(bitcast<f32>(scale) * f32(high));
        codes[12u * block + 11u] = bitcast<u32>(bitcast<f32>(scale) * f32(low + high));
    }
}
