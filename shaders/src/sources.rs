//! The text of the `.wgsl` files.

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        /// Every file: its path without the extension, and its text.
        pub(crate) const FILES: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../", $path, ".wgsl")))),*];
    };
}

files![
    "attend/cache",
    "attend/lanes",
    "attend/lanes_cache",
    "attend/merge",
    "attend/params",
    "attend/rows",
    "attend/tile",
    "common/float",
    "common/half",
    "common/turn",
    "common/weights",
    "common/words",
    "copy/add",
    "embed/embed_rows",
    "expert/down",
    "expert/gate_up",
    "expert/table",
    "kv/kv_append",
    "matmul/in_out",
    "matmul/job",
    "matmul/lanes",
    "matmul/lanes_row",
    "matmul/lanes_tile",
    "matmul/multiply_in_out",
    "matmul/out_in",
    "matmul/params",
    "matmul/shared_row",
    "matmul/shared_tile",
    "matmul/thread_row",
    "matmul/thread_tile",
    "matmul/x8",
    "matmul/x_dot",
    "norm/rms_norm",
    "qk/qk_prepare",
    "quant/bf16",
    "quant/codebook",
    "quant/expand",
    "quant/f16",
    "quant/f32",
    "quant/f8_e4m3",
    "quant/fifth",
    "quant/iq4_nl",
    "quant/iq4_values",
    "quant/iq4_xs",
    "quant/mxfp4",
    "quant/q2_k",
    "quant/q3_k",
    "quant/q4_0",
    "quant/q4_1",
    "quant/q4_k",
    "quant/q5_0",
    "quant/q5_1",
    "quant/q5_k",
    "quant/q6_k",
    "quant/q8_0",
    "quant/scale_min",
    "quant/values",
    "route/choose",
    "route/plan",
    "route/row",
    "route/sort",
    "route/sum_picks",
    "route/top_k",
    "sample/top_k",
    "swiglu/combine",
    "vision/add_rows",
    "vision/gelu",
    "vision/layer_norm",
    "vision/pixel_shuffle",
    "vision/rope_2d",
];

/// The text of a file.
pub(crate) fn find(path: &str) -> Option<&'static str> {
    FILES.iter().find(|(p, _)| *p == path).map(|(_, text)| *text)
}
