//! Sums against a direct computation, watching against not watching, files against what llama.cpp writes.

use super::{Chunks, Imatrix, Listen};
use crate::tests::tiny::{self, IDS};
use crate::{Config, LlamaError, MemTensors, Pass, State, StateOptions, TensorSource, Want};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use puna_core::quant::dequantize_row;
use puna_core::{Cancel, DType, Elem, Region};
use puna_format::Limits;
use puna_format::gguf::GgufWriter;

fn text(tokens: &[u32], size: usize) -> Chunks<'_> {
    Chunks { tokens, size, most: None, bos: None, head: true }
}

fn floats(tensors: &MemTensors, name: &str) -> Vec<f64> {
    let tensor = tensors.find(name).unwrap().unwrap();
    let mut values = vec![0.0; tensor.shape.iter().product()];
    dequantize_row(tensor.dtype, tensor.region.bytes(), &mut values).unwrap();
    values.into_iter().map(f64::from).collect()
}

/// `w · x` for rows of `w`.
fn product(w: &[f64], x: &[f64]) -> Vec<f64> {
    w.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
}

/// `x · w` for `w` of `[x.len(), n]`, columns `from .. from + n`.
fn product_in_out(w: &[f64], width: usize, x: &[f64], from: usize, n: usize) -> Vec<f64> {
    (from..from + n).map(|o| x.iter().enumerate().map(|(i, x)| x * w[i * width + o]).sum()).collect()
}

fn gated(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

#[derive(Default)]
struct Direct(BTreeMap<(String, usize), (Vec<f64>, f64)>);

impl Direct {
    fn meet(&mut self, name: &str, mat: usize, x: &[f64]) {
        let (sums, count) = self.0.entry((name.into(), mat)).or_insert_with(|| (vec![0.0; x.len()], 0.0));
        sums.iter_mut().zip(x).for_each(|(sum, x)| *sum += x * x);
        *count += 1.0;
    }
}

/// The golden model with two experts a token and attention that adds nothing, so that what every matrix but the output
/// projection meets can be computed from the residual stream between layers.
fn without_attention() -> (Config, MemTensors) {
    let config = Config { n_experts_used: 2, ..tiny::golden() };
    let mut tensors = tiny::tensors(&config);
    let width = config.n_heads * config.head_dim;
    for i in 0..config.n_layers {
        let name = format!("model.layers.{i}.self_attn.o_proj.weight");
        tensors.f32(name, &[config.hidden, width], &vec![0.0; config.hidden * width]);
    }
    (config, tensors)
}

/// The residual stream before each layer and after the last, by position.
fn streams(config: &Config, tensors: &MemTensors, ids: &[u32]) -> Vec<Vec<Vec<f64>>> {
    let (llama, mut device) = tiny::load(config, tensors);
    let options = StateOptions { kv: Elem::F32, ..StateOptions::default() };
    let mut state = State::new(&llama, &mut device, &options).unwrap();
    let embed = floats(tensors, "model.embed_tokens.weight");
    let row = |id: u32| embed[id as usize * config.hidden..][..config.hidden].to_vec();
    let mut streams = vec![ids.iter().map(|&id| row(id)).collect::<Vec<_>>()];
    let mut keep = |layer: usize, _: u64, rows: &[f32]| {
        streams.resize_with(streams.len().max(layer + 2), Vec::new);
        let rows = rows.chunks_exact(config.hidden).map(|row| row.iter().map(|v| f64::from(*v)).collect());
        streams[layer + 1].extend(rows);
        Ok(())
    };
    let mut pass = Pass { hidden: Some(&mut keep), ..Pass::new(Want::Nothing) };
    llama.forward(&mut device, &mut state, ids, &mut pass).unwrap();
    streams
}

fn direct(config: &Config, tensors: &MemTensors, ids: &[u32]) -> Direct {
    let mut direct = Direct::default();
    let streams = streams(config, tensors, ids);
    let normed = |row: &[f64], name: &str| -> Vec<f64> {
        let mean = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
        let factor = 1.0 / (mean + f64::from(config.rms_eps)).sqrt();
        row.iter().zip(floats(tensors, name)).map(|(v, w)| v * factor * w).collect()
    };
    for (i, before) in streams.iter().enumerate().take(config.n_layers) {
        let weights = |name: &str| floats(tensors, &format!("model.layers.{i}.{name}"));
        for row in before {
            let a = normed(row, &format!("model.layers.{i}.input_layernorm.weight"));
            for part in ["q", "k", "v"] {
                direct.meet(&format!("blk.{i}.attn_{part}.weight"), 0, &a);
            }
            let y = normed(row, &format!("model.layers.{i}.post_attention_layernorm.weight"));
            let (prefix, suffix) = if config.moe_layers[i] {
                ("feed_forward.shared_expert", "_shexp")
            } else {
                ("feed_forward", "")
            };
            let mut meet = |part: &str, mat: usize, x: &[f64]| {
                direct.meet(&format!("blk.{i}.ffn_{part}.weight"), mat, x);
            };
            let part = |part: &str| product(&weights(&format!("{prefix}.{part}_proj.weight")), &y);
            meet(&format!("gate{suffix}"), 0, &y);
            meet(&format!("up{suffix}"), 0, &y);
            meet(&format!("down{suffix}"), 0, &gated(&part("gate"), &part("up")));
            if !config.moe_layers[i] {
                continue;
            }
            meet("gate_inp", 0, &y);
            let logits = product(&weights("feed_forward.router.weight"), &y);
            let mut order: Vec<usize> = (0..config.n_experts).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            let (both, n_ff) = (weights("feed_forward.experts.gate_up_proj"), config.ff_expert);
            for &e in &order[..config.n_experts_used] {
                let score = 1.0 / (1.0 + (-logits[e]).exp());
                let x: Vec<f64> = y.iter().map(|v| v * score).collect();
                let w = &both[e * config.hidden * 2 * n_ff..][..config.hidden * 2 * n_ff];
                meet("gate_exps", e, &x);
                meet("up_exps", e, &x);
                let half = |from| product_in_out(w, 2 * n_ff, &x, from, n_ff);
                meet("down_exps", e, &gated(&half(0), &half(n_ff)));
            }
        }
    }
    for row in &streams[config.n_layers] {
        direct.meet("output.weight", 0, &normed(row, "model.norm.weight"));
    }
    direct
}

#[test]
fn sums_are_those_of_a_direct_computation() {
    let (config, tensors) = without_attention();
    let (llama, mut device) = tiny::load(&config, &tensors);
    let imatrix =
        Imatrix::collect(&llama, &mut device, text(&IDS, IDS.len()), &mut Listen::default()).unwrap();
    let direct = direct(&config, &tensors, &IDS);
    let mut found = 0;
    for (name, n_in, sums, counts) in imatrix.iter() {
        // What the projection behind attention meets is checked by its count only.
        if name.ends_with("attn_output.weight") {
            assert_eq!((counts, n_in), (&[IDS.len() as f32][..], config.n_heads * config.head_dim));
            assert!(sums.iter().all(|sum| *sum > 0.0));
            continue;
        }
        for (mat, (sums, count)) in sums.chunks_exact(n_in).zip(counts).enumerate() {
            let Some((expected, n)) = direct.0.get(&(name.into(), mat)) else {
                assert_eq!((*count, sums.iter().sum::<f32>()), (0.0, 0.0), "{name} {mat}");
                continue;
            };
            assert_eq!(f64::from(*count), *n, "{name} {mat}");
            for (sum, expected) in sums.iter().zip(expected) {
                assert!(
                    (f64::from(*sum) - expected).abs() <= 1e-4 * expected + 1e-9,
                    "{name}: {sum} {expected}"
                );
            }
            found += 1;
        }
    }
    assert_eq!(found, direct.0.len());
    let routed: f32 = imatrix.iter().filter(|e| e.0 == "blk.1.ffn_down_exps.weight").flat_map(|e| e.3).sum();
    assert_eq!(routed, 2.0 * IDS.len() as f32);
}

/// Watching changes nothing, and chunks are read one by one from the beginning.
#[test]
fn chunks_are_independent() {
    let config = tiny::golden();
    let (llama, mut device) = tiny::load(&config, &tiny::tensors(&config));
    let mut collect =
        |text: Chunks<'_>| Imatrix::collect(&llama, &mut device, text, &mut Listen::default()).unwrap();
    let both = collect(text(&IDS, 5));
    assert_eq!((both.chunks, both.chunk_size), (2, 5));
    let (first, second) = (collect(text(&IDS[..5], 5)), collect(text(&IDS[5..10], 5)));
    for ((name, _, sums, counts), (one, two)) in both.iter().zip(first.iter().zip(second.iter())) {
        for (sum, (a, b)) in sums.iter().zip(one.2.iter().zip(two.2)) {
            assert!((sum - (a + b)).abs() <= 1e-5 * sum, "{name}");
        }
        assert!(counts.iter().zip(one.3.iter().zip(two.3)).all(|(n, (a, b))| *n == a + b), "{name}");
    }
    assert_eq!(collect(Chunks { most: Some(1), ..text(&IDS, 5) }), first);
    let mut changed = IDS;
    changed[0] = 7;
    assert_eq!(
        collect(Chunks { bos: Some(7), ..text(&IDS, 11) }),
        collect(Chunks { bos: None, ..text(&changed, 11) })
    );
    let blocks = collect(Chunks { head: false, ..text(&IDS, 5) });
    assert_eq!(blocks.len() + 1, both.len());
    assert!(blocks.iter().all(|(name, ..)| name.starts_with("blk.")));
}

#[test]
fn a_short_text_and_a_cancelled_reading_are_errors() {
    let config = tiny::golden();
    let (llama, mut device) = tiny::load(&config, &tiny::tensors(&config));
    let mut collect =
        |size, listen: &mut Listen<'_>| Imatrix::collect(&llama, &mut device, text(&IDS, size), listen);
    assert!(matches!(collect(12, &mut Listen::default()), Err(LlamaError::EmptyPrompt)));
    let cancel = Cancel::new();
    let mut stop = |done: usize, total: usize| {
        assert_eq!((done, total), (1, 3));
        cancel.cancel();
    };
    let mut listen = Listen { cancel: Some(&cancel), progress: Some(&mut stop) };
    assert!(matches!(collect(3, &mut listen), Err(LlamaError::Cancelled)));
}

fn read(file: Vec<u8>) -> Result<Imatrix, LlamaError> {
    Imatrix::read(&Region::from_vec(file), &Limits::default())
}

#[test]
fn files_say_the_same_when_they_are_read() {
    let config = tiny::golden();
    let (llama, mut device) = tiny::load(&config, &tiny::tensors(&config));
    let mut imatrix = Imatrix::collect(&llama, &mut device, text(&IDS, 5), &mut Listen::default()).unwrap();
    imatrix.datasets = vec!["genesis.txt".into()];
    let file = imatrix.write(Vec::new()).unwrap();
    assert_eq!(read(file).unwrap(), imatrix);
}

/// A file with these tensors: name, ne, values.
fn made(kind: &str, tensors: &[(&str, &[u64], &[f32])]) -> Vec<u8> {
    let mut file = GgufWriter::new();
    file.set("general.type", kind).unwrap();
    for (name, ne, _) in tensors {
        file.tensor(name, ne, DType::F32).unwrap();
    }
    let mut out = file.start(Vec::new()).unwrap();
    for (name, _, values) in tensors {
        out.write(name, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
    }
    out.finish().unwrap()
}

#[test]
fn weights_are_means_whatever_the_number_of_dimensions() {
    // ggml leaves out dimensions of 1 at the end.
    let file = made(
        "imatrix",
        &[
            ("a.in_sum2", &[2], &[8.0, 2.0]),
            ("a.counts", &[1], &[4.0]),
            ("e.in_sum2", &[2, 2], &[8.0, 2.0, 0.0, 0.0]),
            ("e.counts", &[1, 2], &[2.0, 0.0]),
        ],
    );
    let imatrix = read(file).unwrap();
    assert_eq!(imatrix.weights("a", 1, 2).unwrap().unwrap(), [2.0, 0.5]);
    // One row for all experts, and an expert that met nothing.
    assert_eq!(imatrix.weights("a", 2, 2).unwrap().unwrap(), [2.0, 0.5, 2.0, 0.5]);
    assert_eq!(imatrix.weights("e", 2, 2).unwrap().unwrap(), [4.0, 1.0, 1.0, 1.0]);
    assert_eq!(imatrix.weights("b", 1, 2).unwrap(), None);
    for (n_mats, n_in) in [(1, 3), (3, 2)] {
        assert!(matches!(imatrix.weights("e", n_mats, n_in), Err(LlamaError::Tensor { .. })));
    }
}

#[test]
fn files_that_are_none_are_refused() {
    let sums: (&str, &[u64], &[f32]) = ("a.in_sum2", &[2], &[8.0, 2.0]);
    for (kind, tensors, expected) in [
        ("model", vec![], "imatrix"),
        ("imatrix", vec![sums], "a.counts"),
        ("imatrix", vec![sums, ("a.counts", &[2], &[1.0, 1.0])], "a.counts"),
        ("imatrix", vec![sums, ("a.counts", &[1], &[-1.0])], "0 or more"),
        ("imatrix", vec![("a.in_sum2", &[2], &[f32::NAN, 1.0]), ("a.counts", &[1], &[1.0])], "NaN"),
        ("imatrix", vec![("token_embd.weight", &[1], &[1.0])], "in_sum2"),
    ] {
        let why = format!("{}", read(made(kind, &tensors)).unwrap_err());
        assert!(why.contains(expected), "{why}");
    }
    assert!(read(vec![1, 2, 3]).is_err());
}

/// A file of before GGUF: one tensor of two columns that was met four times, and one of two experts.
fn legacy() -> Vec<u8> {
    let mut file = Vec::new();
    let int = |v: i32, file: &mut Vec<u8>| file.extend(v.to_le_bytes());
    int(2, &mut file);
    for (name, values) in [("a", &[8.0f32, 2.0][..]), ("e", &[4.0, 8.0, 0.0, 0.0])] {
        int(name.len() as i32, &mut file);
        file.extend(name.as_bytes());
        int(4, &mut file);
        int(values.len() as i32, &mut file);
        file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    int(7, &mut file);
    int(5, &mut file);
    file.extend(b"x.txt");
    file
}

#[test]
fn the_old_binary_format_is_read() {
    let read = |file: &[u8]| Imatrix::read(&Region::from_vec(file.to_vec()), &Limits::default());
    let imatrix = read(&legacy()).unwrap();
    assert_eq!((imatrix.len(), imatrix.chunks, &imatrix.datasets[..]), (2, 7, &[String::from("x.txt")][..]));
    assert_eq!(imatrix.weights("a", 1, 2).unwrap().unwrap(), [2.0, 0.5]);
    // An expert that met nothing has ones.
    assert_eq!(imatrix.weights("e", 2, 2).unwrap().unwrap(), [1.0, 2.0, 1.0, 1.0]);
    assert!(imatrix.weights("e", 3, 2).is_err());
    // The oldest files end before the number of chunks; cut anywhere else, they are refused.
    let (file, end) = (legacy(), legacy().len() - 13);
    assert_eq!(read(&file[..end]).unwrap().chunks, 0);
    for cut in (0..file.len()).filter(|cut| *cut != end) {
        assert!(read(&file[..cut]).is_err(), "{cut}");
    }
    for (at, value) in [(0, -1i32), (0, 3), (4, -1), (4, 1 << 30), (9, 0), (9, -4), (13, 0), (13, 1 << 30)] {
        let mut bad = file.clone();
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(read(&bad).is_err(), "{value} at {at}");
    }
    let mut nan = file.clone();
    nan[17..21].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(read(&nan).is_err());
}
