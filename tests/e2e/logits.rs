//! `puna logits` and `puna dequant`: what they write is what NumPy reads.

use super::{puna, text, tiny};
use puna_core::DType;
use puna_core::quant::{can_quantize, dequantize_row, quantize_row};
use puna_format::gguf::GgufWriter;
use puna_testkit::compare::assert_close;
use puna_testkit::goldens::{Golden, Rounding};
use puna_testkit::{ModelDir, tolerance};
use puna_tests::npy;
use puna_tests::seeded::Seeded;

const EXACT: [&str; 4] = ["--kv", "f32", "--activations", "f32"];

#[test]
fn logits_and_hidden_states_of_a_golden() {
    let golden = Golden::load("maverick");
    let expected = golden.expected(Rounding::F32);
    let folder = golden.folder(Rounding::F32, 1);
    let ids: String = golden.prompt.iter().map(|id| format!("{id},")).collect();
    let ids = ids.trim_end_matches(',');
    let (out, hidden) = (folder.directory().join("out.npy"), folder.directory().join("hidden"));
    let args = ["--tokens", ids, "--out", text(&out), "--hidden", text(&hidden)];
    puna("logits", folder.path(), &[&args[..], &EXACT].concat()).ok();

    let (shape, values) = npy::read(&out);
    assert_eq!(shape, [golden.prompt.len(), golden.vocab()]);
    for (row, &position) in expected.logits.iter().zip(&expected.positions) {
        let found = &values[position * golden.vocab()..][..golden.vocab()];
        assert_close(&format!("logits at {position}"), found, row, tolerance::LOGITS);
    }
    for (layer, rows) in expected.hidden.iter().enumerate() {
        let (shape, values) = npy::read(&hidden.join(format!("layer_{layer:02}.npy")));
        let width = rows[0].len();
        assert_eq!(shape, [golden.prompt.len(), width]);
        for (row, &position) in rows.iter().zip(&expected.hidden_positions) {
            let found = &values[position * width..][..width];
            assert_close(&format!("layer {layer} at {position}"), found, row, tolerance::HIDDEN);
        }
    }
    assert_eq!(std::fs::read_dir(&hidden).unwrap().count(), expected.hidden.len());

    let last = folder.directory().join("last.npy");
    let args = ["--tokens", ids, "--last", "3", "--out", text(&last)];
    puna("logits", folder.path(), &[&args[..], &EXACT].concat()).ok();
    let (shape, tail) = npy::read(&last);
    assert_eq!(shape, [3, golden.vocab()]);
    assert_close("the last three", &tail, &values[values.len() - tail.len()..], tolerance::SPLIT);
}

#[test]
fn tokens_from_a_file_and_overrides() {
    let model = tiny();
    model.write("ids.txt", b"1, 2,3\n");
    let (ids, out) = (model.directory().join("ids.txt"), model.directory().join("out.npy"));
    let run = |args: &[&str]| {
        puna("logits", model.path(), &[args, &["--out", text(&out)], &EXACT].concat()).ok();
        npy::read(&out)
    };
    let from_file = run(&["--tokens-file", text(&ids)]);
    assert_eq!(from_file, run(&["--tokens", "1,2,3"]));
    assert_eq!(from_file.0, [3, 263]);
    // What the file itself says changes nothing; something else does.
    assert_eq!(from_file, run(&["--tokens", "1,2,3", "--override", "llama4.attention.chunk_size=16"]));
    assert_ne!(from_file, run(&["--tokens", "1,2,3", "--override", "llama4.attention.qk_norm=false"]));
    assert_ne!(
        from_file,
        run(&["--tokens", "1,2,3", "--override", "llama4.attention.no_rope_layers=[0,1,1,1]"])
    );
}

/// Any GGUF that parses, even one with a single tensor.
#[test]
fn dequant_writes_every_format() {
    let folder = ModelDir::new("dequant");
    let out = folder.directory().join("out.npy");
    let mut rng = Seeded(3);
    for dtype in DType::ALL.into_iter().filter(|&t| can_quantize(t) && t.gguf_id().is_some()) {
        let (rows, width) = (3, 512);
        let values = rng.values(rows * width, 2.0);
        let mut bytes = vec![0; rows * dtype.row_bytes(width).unwrap()];
        let mut expected = vec![0.0; values.len()];
        quantize_row(dtype, &values, None, &mut bytes).unwrap();
        dequantize_row(dtype, &bytes, &mut expected).unwrap();
        let mut writer = GgufWriter::new();
        writer.tensor("only.one", &[width as u64, rows as u64], dtype).unwrap();
        let mut stream = writer.start(Vec::new()).unwrap();
        stream.write("only.one", &bytes).unwrap();
        folder.write("one.gguf", &stream.finish().unwrap());
        puna("dequant", &folder.directory().join("one.gguf"), &["only.one", "--out", text(&out)]).ok();
        assert_eq!(npy::read(&out), (vec![rows, width], expected), "{dtype}");
    }
}
