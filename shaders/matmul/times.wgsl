// Sums of products of four outputs at once.
#import common/lanes

// Four weights of each of four outputs times four activations, added to the sums.
fn times(w: Four, a: vec4<f32>, sums: vec4<f32>) -> vec4<f32> {
    var s = fma(vec4<f32>(w.a.x, w.b.x, w.c.x, w.d.x), vec4<f32>(a.x), sums);
    s = fma(vec4<f32>(w.a.y, w.b.y, w.c.y, w.d.y), vec4<f32>(a.y), s);
    s = fma(vec4<f32>(w.a.z, w.b.z, w.c.z, w.d.z), vec4<f32>(a.z), s);
    return fma(vec4<f32>(w.a.w, w.b.w, w.c.w, w.d.w), vec4<f32>(a.w), s);
}

// The sums over a half of four runs, whose scales are not applied yet.
fn half_of(r0: vec4<u32>, r1: vec4<u32>, r2: vec4<u32>, r3: vec4<u32>, a: Values16) -> vec4<f32> {
    var s = times(Four(i8x4(r0.x), i8x4(r1.x), i8x4(r2.x), i8x4(r3.x)), a.a, vec4<f32>());
    s = times(Four(i8x4(r0.y), i8x4(r1.y), i8x4(r2.y), i8x4(r3.y)), a.b, s);
    s = times(Four(i8x4(r0.z), i8x4(r1.z), i8x4(r2.z), i8x4(r3.z)), a.c, s);
    return times(Four(i8x4(r0.w), i8x4(r1.w), i8x4(r2.w), i8x4(r3.w)), a.d, s);
}
