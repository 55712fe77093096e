//! The vision tower against published values: its configuration, its files, its features.

use super::tiny::values;
use crate::vision::{Canvas, Encode, Image, ImageLayout, Stage, Tiles, Vision, VisionConfig, resize};
use crate::weights::Tensor;
use crate::{LlamaError, LoadWatch, MemTensors};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::{Cancel, PlanDevice, RefDevice};
use std::vec;

/// The published golden's dimensions.
fn config() -> VisionConfig {
    VisionConfig {
        hidden: 32,
        n_layers: 2,
        n_heads: 2,
        n_ff: 128,
        image_size: 56,
        patch_size: 14,
        shuffle: 2,
        norm_eps: 1e-5,
        rope_theta: 10000.0,
        adapter_inner: Some(24),
        adapter_out: Some(24),
        projected: 32,
        max_tiles: 16,
        mean: [0.5; 3],
        std: [0.5; 3],
        patch_token: None,
    }
}

/// Its weights, in Hugging Face's names.
fn tensors() -> MemTensors {
    let mut m = MemTensors::new();
    let mut add = |name: &str, t: u32, shape: &[usize], scale: f64, offset: f64| {
        m.f32(name, shape, &values(t, shape.iter().product(), scale, offset));
    };
    add("vision_model.patch_embedding.linear.weight", 100, &[32, 588], 0.1, 0.0);
    add("vision_model.class_embedding", 101, &[32], 0.5, 0.0);
    add("vision_model.positional_embedding_vlm", 102, &[17, 32], 0.5, 0.0);
    add("vision_model.layernorm_pre.weight", 103, &[32], 0.2, 1.0);
    add("vision_model.layernorm_pre.bias", 104, &[32], 0.1, 0.0);
    let mut t = 105;
    for layer in 0..2 {
        for (name, n_out, n_in) in [
            ("input_layernorm", 32, 0),
            ("self_attn.q_proj", 32, 32),
            ("self_attn.k_proj", 32, 32),
            ("self_attn.v_proj", 32, 32),
            ("self_attn.o_proj", 32, 32),
            ("post_attention_layernorm", 32, 0),
            ("mlp.fc1", 128, 32),
            ("mlp.fc2", 32, 128),
        ] {
            let name = format!("vision_model.model.layers.{layer}.{name}");
            match n_in {
                0 => add(&format!("{name}.weight"), t, &[n_out], 0.2, 1.0),
                _ => add(&format!("{name}.weight"), t, &[n_out, n_in], 0.3, 0.0),
            }
            add(&format!("{name}.bias"), t + 1, &[n_out], 0.1, 0.0);
            t += 2;
        }
    }
    add("vision_model.layernorm_post.weight", 137, &[32], 0.2, 1.0);
    add("vision_model.layernorm_post.bias", 138, &[32], 0.1, 0.0);
    add("vision_model.vision_adapter.mlp.fc1.weight", 139, &[24, 128], 0.3, 0.0);
    add("vision_model.vision_adapter.mlp.fc2.weight", 140, &[24, 24], 0.3, 0.0);
    add("multi_modal_projector.linear_1.weight", 200, &[32, 24], 0.4, 0.0);
    m
}

fn load(config: VisionConfig, tensors: &MemTensors) -> (Vision, RefDevice) {
    let mut device = RefDevice::new();
    let vision = Vision::load(config, tensors, &mut device, &mut LoadWatch::default()).unwrap();
    (vision, device)
}

fn golden_tiles() -> Tiles {
    Tiles::from_pixels(&values(300, 2 * 3 * 56 * 56, 1.0, 0.0), &config()).unwrap()
}

pub(super) fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert!(found.len() >= expected.len(), "{what}: too few values");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= tolerance, "{what}[{i}]: expected {e}, found {f}");
    }
}

#[test]
fn the_published_golden() {
    for batch in [1, 2] {
        let (vision, mut device) = load(config(), &tensors());
        let (mut patches, mut adapted) = (Vec::new(), Vec::new());
        let mut observe = |stage, rows: &[f32]| {
            match stage {
                Stage::Patches => patches.extend_from_slice(rows),
                Stage::Encoded => assert_eq!(rows.len(), batch * 17 * 32),
                Stage::Adapted => adapted.extend_from_slice(rows),
            }
            Ok(())
        };
        let mut watch = Encode { batch: Some(batch), observe: Some(&mut observe), ..Encode::default() };
        let features = vision.encode(&mut device, &golden_tiles(), &mut watch).unwrap();
        let patch = |n: usize| &patches[n * 32..(n + 1) * 32];
        close("patch 0", patch(0), &[0.00494, -0.80811, -0.95724, -0.01509], 1e-5);
        close("patch 1", patch(1), &[-0.61475, -1.10266, -0.09316, -0.45075], 1e-5);
        close("patch 15", patch(15), &[0.52603, 0.14415, 0.48742, -0.24282], 1e-5);
        for (token, expected) in [
            (0, [0.00986, 0.53476, 0.278, -0.16964, -0.16189]),
            (1, [0.19976, -0.16985, 0.66109, -0.11652, 0.28478]),
            (2, [-0.16937, -0.16801, -0.14191, -0.04198, 0.1851]),
            (3, [-0.15947, -0.12936, 0.74827, -0.06281, 0.87559]),
            (4, [1.55892, -0.1675, -0.09865, 0.45714, -0.16674]),
        ] {
            close(&format!("adapter {token}"), &adapted[token * 24..], &expected, 1.5e-5);
        }
        let sum = |v: &[f32]| v.iter().map(|&v| f64::from(v)).sum::<f64>();
        assert!((sum(&adapted) - 71.187751).abs() < 1e-4, "{}", sum(&adapted));
        for (row, expected) in [
            (0, [0.45755, 0.09097, 0.22099, 0.58239, 0.49938]),
            (1, [0.67099, 0.86184, 0.84846, 0.56275, 0.54149]),
            (7, [1.66284, 1.43416, 1.13306, 0.91905, 1.55445]),
        ] {
            close(&format!("projected {row}"), features.rows(row, 1), &expected, 1.5e-5);
        }
        assert!((sum(features.values()) - 28.673383).abs() < 1e-4, "{}", sum(features.values()));
        assert_eq!((features.n_rows(), features.width()), (8, 32));
    }
}

#[test]
fn measured_canvases() {
    // Width, height, rows, columns, resized height and width, tiles, tokens.
    let measured = "336 336 1 1 336 336 1 147; 100 100 1 1 336 336 1 147; 200 300 1 1 336 224 1 147; \
        337 336 1 2 336 337 3 437; 336 672 2 1 672 336 3 437; 400 800 3 2 800 400 7 1017; 640 480 2 2 480 640 5 727; \
        800 600 2 3 600 800 7 1017; 1024 768 3 4 768 1024 13 1887; 1280 720 3 4 720 1280 13 1887; \
        1920 1080 3 5 945 1680 16 2322; 3840 2160 3 5 945 1680 16 2322; 1000 1000 3 3 1000 1000 10 1452; \
        2000 2000 4 4 1344 1344 17 2467; 512 512 2 2 512 512 5 727; 300 1200 4 1 1200 300 5 727; \
        336 1344 4 1 1344 336 5 727; 5000 300 1 15 300 5000 16 2322; 50 2000 6 1 2000 50 7 1017; \
        4000 3000 3 4 1008 1344 13 1887; 1 1 1 1 336 336 1 147";
    for line in measured.split(';') {
        let n: Vec<usize> = line.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let canvas = Canvas::choose(n[0], n[1], 336, 16);
        let layout = ImageLayout::new(canvas.rows as u32, canvas.cols as u32);
        let found = [canvas.rows, canvas.cols, canvas.height, canvas.width, canvas.n_tiles()];
        assert_eq!(found, n[2..7], "{line}");
        assert_eq!((layout.tiles(), layout.n_tokens()), (n[6] as u64, n[7] as u64), "{line}");
    }
}

#[test]
fn measured_pixels() {
    let pixels: Vec<u8> = (0..300usize)
        .flat_map(|y| (0..500usize).map(move |x| (x, y)))
        .flat_map(|(x, y)| [(255 * x / 499) as u8, (255 * y / 299) as u8, (7 * x + 13 * y) as u8])
        .collect();
    let image = Image::rgb8(500, 300, &pixels).unwrap();
    let tiles = Tiles::new(&image, &VisionConfig { image_size: 336, ..config() }).unwrap();
    assert_eq!((tiles.rows, tiles.cols, tiles.len()), (1, 2, 3));
    for ((tile, c, y, x), expected) in [
        ((0, 0, 10, 20), -0.921569),
        ((0, 1, 100, 200), -0.333333),
        ((0, 2, 5, 5), -0.215686),
        ((1, 0, 0, 0), 0.341177),
        ((1, 1, 50, 60), -0.670588),
        ((2, 0, 167, 167), -0.003922),
        ((2, 2, 1, 2), -0.741176),
        ((0, 0, 335, 0), -1.0),
    ] {
        let found = tiles.pixels[((tile * 3 + c) * 336 + y) * 336 + x];
        assert!((found - expected).abs() < 2e-6, "{tile} {c} {y} {x}: {found}");
    }
}

#[test]
fn images_of_every_kind() {
    let one = |image: Image| image.rgb().to_vec();
    assert_eq!(one(Image::luma8(2, 1, &[0, 200]).unwrap()), [0, 0, 0, 200, 200, 200]);
    // Opaque stays, transparent is white, half is half way to white.
    let rgba = [10, 20, 30, 255, 10, 20, 30, 0, 0, 100, 255, 128];
    assert_eq!(one(Image::rgba8(3, 1, &rgba).unwrap()), [10, 20, 30, 255, 255, 255, 127, 177, 255]);
    for (width, height, len) in [
        (0, 1, 0),
        (1, 0, 0),
        (2, 2, 11),
        (2, 2, 13),
        (60_000_000, 1, 3),
        (usize::MAX, 2, 6),
        (60_000, 60_000, 0),
    ] {
        Image::rgb8(width, height, &vec![0; len]).unwrap_err();
    }
    // A resize to the same size changes nothing; a tall thread of pixels takes no memory to speak of.
    let image =
        Image::rgb8(3, 2, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 250, 251, 252, 253, 254, 255, 0, 1, 2]).unwrap();
    assert_eq!(resize(&image, 3, 2).unwrap(), image.rgb());
    let thread = Image::luma8(1, 1 << 20, &vec![77; 1 << 20]).unwrap();
    assert!(resize(&thread, 56, 56).unwrap().iter().all(|&v| v == 77));
}

/// The tensors of an `mmproj` file.
fn gguf(tensors: &MemTensors, norm2: &str) -> MemTensors {
    let mut out = MemTensors::new();
    for (name, Tensor { dtype, shape, region }) in tensors.iter() {
        let parts = [
            ("vision_model.patch_embedding.linear", "v.patch_embd"),
            ("vision_model.class_embedding", "v.class_embd"),
            ("vision_model.positional_embedding_vlm", "v.position_embd.weight"),
            ("vision_model.layernorm_pre", "v.pre_ln"),
            ("vision_model.layernorm_post", "v.post_ln"),
            ("vision_model.model.layers.", "v.blk."),
            ("input_layernorm", "ln1"),
            ("post_attention_layernorm", norm2),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_out"),
            ("mlp.fc1", "ffn_up"),
            ("mlp.fc2", "ffn_down"),
            ("vision_model.vision_adapter.ffn_up", "mm.model.mlp.1"),
            ("vision_model.vision_adapter.ffn_down", "mm.model.mlp.2"),
            ("multi_modal_projector.linear_1", "mm.model.fc"),
        ];
        let name = parts.iter().fold(String::from(name), |name, (hf, gguf)| name.replace(hf, gguf));
        // Converters write the patch embedding as the convolution it is.
        let shape = if name.starts_with("v.patch") { vec![32, 3, 14, 14] } else { shape.clone() };
        out.insert(name, *dtype, &shape, region.bytes().to_vec());
    }
    out
}

#[test]
fn both_spellings_of_gguf_give_the_same() {
    let encode = |tensors: &MemTensors, config| {
        let (vision, mut device) = load(config, tensors);
        vision.encode(&mut device, &golden_tiles(), &mut Encode::default()).unwrap()
    };
    let expected = encode(&tensors(), config());
    for norm2 in ["ln2", "attn_post_norm"] {
        // The file does not say the adapter's widths.
        let config = VisionConfig { adapter_inner: None, adapter_out: None, ..config() };
        assert_eq!(encode(&gguf(&tensors(), norm2), config), expected);
    }
}

#[test]
fn every_tensor_is_needed_and_its_shape_checked() {
    for tensors in [tensors(), gguf(&tensors(), "ln2")] {
        for (name, tensor) in tensors.iter() {
            let mut less = tensors.clone();
            less.remove(name);
            let load = |tensors: &MemTensors| {
                Vision::load(config(), tensors, &mut RefDevice::new(), &mut LoadWatch::default()).unwrap_err()
            };
            assert!(matches!(load(&less), LlamaError::MissingTensor { .. }), "{name}");
            let mut shape = tensor.shape.clone();
            shape[0] += 1;
            less.f32(name, &shape, &vec![0.0; shape.iter().product()]);
            assert!(matches!(load(&less), LlamaError::Tensor { .. }), "{name}");
        }
    }
}

#[test]
fn configurations() {
    let json = serde_json::json!({
        "model_type": "llama4",
        "image_token_index": 92,
        "text_config": { "hidden_size": 32 },
        "vision_config": {
            "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
            "image_size": 56, "patch_size": 14, "pixel_shuffle_ratio": 0.5, "projector_input_dim": 24,
            "projector_output_dim": 24, "rope_theta": 10000.0, "hidden_act": "gelu",
        }
    });
    let found = VisionConfig::from_hf(&json).unwrap().unwrap();
    assert_eq!(found, VisionConfig { patch_token: Some(92), ..config() });
    assert_eq!(VisionConfig::from_hf(&serde_json::json!({ "model_type": "llama4_text" })).unwrap(), None);
    for (key, bad) in [
        ("pixel_shuffle_ratio", serde_json::json!(0.3)),
        ("pixel_shuffle_ratio", serde_json::json!(0.0)),
        ("image_size", serde_json::json!(0)),
        ("patch_size", serde_json::json!(13)),
        ("num_attention_heads", serde_json::json!(16)),
        ("num_hidden_layers", serde_json::json!(u64::MAX)),
        ("hidden_act", serde_json::json!("gelu_pytorch_tanh")),
        ("intermediate_size", serde_json::json!("many")),
        ("norm_eps", serde_json::json!(-1.0)),
    ] {
        let mut json = json.clone();
        json["vision_config"][key] = bad;
        VisionConfig::from_hf(&json).unwrap_err();
    }
    let mut metadata = puna_format::gguf::Metadata::new();
    metadata.set("general.architecture", "clip");
    metadata.set("clip.projector_type", "llama4");
    for (key, n) in [
        ("embedding_length", 32u32),
        ("feed_forward_length", 128),
        ("block_count", 2),
        ("attention.head_count", 2),
        ("image_size", 56),
        ("patch_size", 14),
        ("projection_dim", 32),
        ("projector.scale_factor", 2),
    ] {
        metadata.set(format!("clip.vision.{key}"), n);
    }
    let expected = VisionConfig { adapter_inner: None, adapter_out: None, ..config() };
    assert_eq!(VisionConfig::from_gguf(&metadata).unwrap(), expected);
    metadata.set("clip.projector_type", "pixtral");
    VisionConfig::from_gguf(&metadata).unwrap_err();
}

#[test]
fn encodings_end_when_asked_and_leave_nothing_behind() {
    let mut device = PlanDevice::new();
    let vision = Vision::load(config(), &tensors(), &mut device, &mut LoadWatch::default()).unwrap();
    let cancel = Cancel::new();
    let mut seen = Vec::new();
    let mut progress = |done, of| {
        seen.push((done, of));
        if done == 1 {
            cancel.cancel();
        }
    };
    let mut watch =
        Encode { batch: Some(1), cancel: Some(&cancel), progress: Some(&mut progress), ..Encode::default() };
    assert_eq!(vision.encode(&mut device, &golden_tiles(), &mut watch), Err(LlamaError::Cancelled));
    assert_eq!(seen, [(1, 2)]);
    assert_eq!(device.tally().buffer_bytes, 0);
    assert!(device.tally().peak_buffer_bytes > 0 && device.tally().multiply_adds > 0);
    let wrong = Tiles { size: 28, ..golden_tiles() };
    vision.encode(&mut device, &wrong, &mut Encode::default()).unwrap_err();
    for len in [0, 1, 3 * 56 * 56 + 1] {
        Tiles::from_pixels(&vec![0.0; len], &config()).unwrap_err();
    }
    Tiles::from_pixels(&vec![f32::NAN; 3 * 56 * 56], &config()).unwrap_err();
}
