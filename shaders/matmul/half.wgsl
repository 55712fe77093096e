// What `half_rows` has written, for kernels that multiply in 16-bit floats.

// The scale of a row that begins at vector `at`.
fn row_scale(at: u32) -> f32 {
    return bitcast<f32>(x[at].x);
}

fn halves4(a: u32, b: u32) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(unpack2x16float(a), unpack2x16float(b)));
}
