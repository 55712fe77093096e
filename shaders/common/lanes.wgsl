// What kernels for drivers that compute on the CPU have in common: eight threads of a subgroup work together.

// Index among the eight.
var<private> lane: u32;
// Zero, and a driver cannot know. llvmpipe compiles a kernel anew for each dispatch if conditions or the ends of loops that
// it takes from uniforms make the kernel much simpler; such numbers must seem to depend on the lane.
var<private> zero: u32;

fn begin(me: u32) {
    lane = me & 7u;
    // A subgroup has 128 lanes at most.
    zero = me >> 7u;
}

fn sum_of_lanes(v: f32) -> f32 {
    return ((subgroupBroadcast(v, 0u) + subgroupBroadcast(v, 1u)) + (subgroupBroadcast(v, 2u) + subgroupBroadcast(v, 3u)))
        + ((subgroupBroadcast(v, 4u) + subgroupBroadcast(v, 5u)) + (subgroupBroadcast(v, 6u) + subgroupBroadcast(v, 7u)));
}
