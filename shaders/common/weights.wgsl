// The weight binding.
@group(1) @binding(0) var<storage, read> w: array<u32>;
