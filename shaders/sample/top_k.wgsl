// TopK, one workgroup a row: the k-th largest value is found by its bits, eight at a time from the highest, with a
// histogram each; then what lies above it is gathered and put in order. Among values equal to the k-th the lowest
// indices are wanted, which are found in the same way.

struct Params {
    width: u32,
    k: u32,
    x_base: u32,
    out_base: u32,
}

const LANES = 256u;
const INFINITY_BITS = 0x7f800000u;

@group(0) @binding(0) var<uniform> params: Params;
@group(1) @binding(0) var<storage, read> x: array<u32>;
@group(1) @binding(1) var<storage, read_write> out: array<f32>;

var<workgroup> counts: array<atomic<u32>, 256>;
// What is known of the highest bits, how many are still wanted among the values that have them, and how many have them.
var<workgroup> found: vec3<u32>;
var<workgroup> gathered: atomic<u32>;
var<workgroup> ranks: array<u32, LANES>;
var<workgroup> ids: array<u32, LANES>;
var<workgroup> sums: array<f32, LANES>;
var<workgroup> bad: array<u32, LANES>;

// An unsigned number that orders as the value does. The two zeros are equal.
fn rank_of(bits: u32) -> u32 {
    let zero = (bits & 0x7fffffffu) == 0u;
    let b = select(bits, 0u, zero);
    return select(b | 0x80000000u, ~b, b >> 31u == 1u);
}

fn value_of(rank: u32) -> f32 {
    return bitcast<f32>(select(~rank, rank & 0x7fffffffu, rank >> 31u == 1u));
}

// From the histogram of one digit: the digit of the last wanted one, counted from the highest.
fn choose(lane: u32, prefix: u32, wanted: u32, shift: u32) -> vec3<u32> {
    workgroupBarrier();
    if lane == 0u {
        var left = wanted;
        var digit = 255u;
        while digit > 0u && atomicLoad(&counts[digit]) < left {
            left -= atomicLoad(&counts[digit]);
            digit--;
        }
        found = vec3<u32>(prefix | (digit << shift), left, atomicLoad(&counts[digit]));
    }
    return workgroupUniformLoad(&found);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let start = params.x_base + group.y * params.width;
    let to = params.out_base + group.y * (2u * params.k + 2u);

    // The rank of the k-th value, and how many values of that rank belong to the k.
    var rank = 0u;
    var wanted = params.k;
    var level = 0u;
    for (var shift = 32u; shift > 0u;) {
        shift -= 8u;
        atomicStore(&counts[lane], 0u);
        workgroupBarrier();
        for (var i = lane; i < params.width; i += LANES) {
            let r = rank_of(x[start + i]);
            // Two shifts, because a shift by 32 has no meaning.
            if ((r ^ rank) >> shift) >> 8u == 0u {
                atomicAdd(&counts[(r >> shift) & 0xffu], 1u);
            }
        }
        let next = choose(lane, rank, wanted, shift);
        rank = next.x;
        wanted = next.y;
        level = next.z;
    }
    // The last of these: all of them, if there are no more than are wanted.
    var last = params.width;
    if level > wanted {
        var place = 0u;
        var left = wanted;
        for (var shift = 24u; shift > 0u;) {
            shift -= 8u;
            atomicStore(&counts[lane], 0u);
            workgroupBarrier();
            for (var i = lane; i < params.width; i += LANES) {
                let p = ~i & 0xffffffu;
                if rank_of(x[start + i]) == rank && ((p ^ place) >> shift) >> 8u == 0u {
                    atomicAdd(&counts[(p >> shift) & 0xffu], 1u);
                }
            }
            let next = choose(lane, place, left, shift);
            place = next.x;
            left = next.y;
        }
        last = ~place & 0xffffffu;
    }

    // The highest value is known only when all are gathered.
    if lane == 0u {
        atomicStore(&gathered, 0u);
    }
    workgroupBarrier();
    var top = 0u;
    var odd = 0u;
    for (var i = lane; i < params.width; i += LANES) {
        let bits = x[start + i];
        let r = rank_of(bits);
        top = max(top, r);
        odd += u32((bits & 0x7fffffffu) >= INFINITY_BITS);
        if params.k > 0u && (r > rank || (r == rank && i <= last)) {
            let at = atomicAdd(&gathered, 1u);
            // Never more than k; values that are none may confuse, but not overflow.
            if at < LANES {
                ranks[at] = r;
                ids[at] = i;
            }
        }
    }
    atomicStore(&counts[lane], top);
    bad[lane] = odd;
    workgroupBarrier();
    for (var i = 0u; i < LANES; i++) {
        top = max(top, atomicLoad(&counts[i]));
    }
    let highest = value_of(top);
    var sum = 0.0;
    for (var i = lane; i < params.width; i += LANES) {
        sum += exp(bitcast<f32>(x[start + i]) - highest);
    }
    sums[lane] = sum;
    // In order: as many come before a value as are larger, or equal and earlier in the row.
    if lane < params.k {
        var before = 0u;
        for (var i = 0u; i < params.k; i++) {
            before += u32(ranks[i] > ranks[lane] || (ranks[i] == ranks[lane] && ids[i] < ids[lane]));
        }
        out[to + before] = bitcast<f32>(x[start + ids[lane]]);
        out[to + params.k + before] = f32(ids[lane]);
    }
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            sums[lane] += sums[lane + half];
            bad[lane] += bad[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u {
        out[to + 2u * params.k] = highest + log(sums[0]);
        out[to + 2u * params.k + 1u] = f32(bad[0]);
    }
}
