//! `puna perplexity` and `puna bench`: the shape of what they report, and that it adds up.

use super::{puna, text, tiny};
use puna_tests::fetched::{fetched, smollm2};

#[test]
fn perplexity_has_the_documented_shape() {
    let model = smollm2();
    let folder = puna_tests::folder::Folder::new();
    let whole = std::fs::read_to_string(fetched("text/genesis.txt")).unwrap();
    let file = folder.write("part.txt", &whole[..6000]);
    let tokens = puna("tokenize", &model, &["--file", text(&file)]).json().as_array().unwrap().len() as u64;
    let out = puna("perplexity", &model, &["--file", text(&file), "--ctx", "512", "--json"]).json();
    assert_eq!(out["windows"], tokens / 512);
    assert_eq!(out["tokens"], tokens / 512 * 255);
    let (value, stderr) = (out["perplexity"].as_f64().unwrap(), out["stderr"].as_f64().unwrap());
    assert!((3.0..20.0).contains(&value) && (0.1..3.0).contains(&stderr), "{out}");
    let half = puna("perplexity", &model, &["--file", text(&file), "--ctx", "256", "--json"]).json();
    assert_eq!((&half["windows"], &half["tokens"]), (&(tokens / 256).into(), &(tokens / 256 * 127).into()));
    assert!(half["perplexity"].as_f64().unwrap() > value, "less context, more surprise: {half} {out}");
}

/// Against itself a model is no other, and rounding its activations makes it hardly one.
#[test]
fn perplexity_against_exact_activations() {
    let (model, folder) = (smollm2(), puna_tests::folder::Folder::new());
    let whole = std::fs::read_to_string(fetched("text/genesis.txt")).unwrap();
    let file = folder.write("part.txt", &whole[..1400]);
    let against = |more: &[&str]| {
        let args = ["--file", text(&file), "--ctx", "128", "--against", text(&model), "--json"];
        puna("perplexity", &model, &[&args[..], more].concat()).json()
    };
    let exact = against(&["--activations", "f32"]);
    assert_eq!(exact["perplexity"], exact["against"]["perplexity"]);
    assert!(exact["against"]["kl_max"].as_f64().unwrap() < 1e-9, "{exact}");
    assert_eq!(exact["against"]["same_top"], 1.0);
    let rounded = against(&[]);
    let of = |key: &str| rounded["against"][key].as_f64().unwrap();
    assert_eq!(rounded["against"]["perplexity"], exact["perplexity"]);
    assert!(of("kl_mean") < 1e-2 && of("same_top") > 0.9, "{rounded}");
}

/// A text of random letters surprises a random model as much as any other: about the size of the vocabulary.
#[test]
fn perplexity_of_a_model_without_meaning() {
    let model = tiny();
    model.write("t.txt", "the quick brown fox ".repeat(40).as_bytes());
    let file = model.directory().join("t.txt");
    let out = puna("perplexity", model.path(), &["--file", text(&file), "--ctx", "64", "--json"]).json();
    assert_eq!(out["windows"], (20 * 40 + 1) / 64);
    assert!((100.0..3000.0).contains(&out["perplexity"].as_f64().unwrap()), "{out}");
}

#[test]
fn bench_reports_speed_and_memory() {
    let model = tiny();
    let args = ["-p", "32", "-n", "8", "-t", "1,2", "-r", "2", "--json"];
    let out = puna("bench", model.path(), &args).json();
    let out = out.to_string();
    for word in ["prefill", "decode", "threads", "kernels", "load", "resident", "bytes"] {
        assert!(out.contains(word), "{word} in {out}");
    }
    let table = puna("bench", model.path(), &["-p", "16", "-n", "4", "-r", "1"]).ok();
    assert!(table.contains("prefill") && table.contains("decode"), "{table}");
}

/// A real model: the matrix that the command makes is one that it takes, and that pays.
#[test]
fn an_importance_matrix_pays() {
    let (model, folder) = (smollm2(), puna_tests::folder::Folder::new());
    let genesis = std::fs::read_to_string(fetched("text/genesis.txt")).unwrap();
    let (read, asked) = genesis.split_at(genesis.char_indices().nth(12_000).unwrap().0);
    let (read, asked) = (folder.write("read.txt", read), folder.write("asked.txt", &asked[..9000]));
    let imatrix = folder.path().join("imatrix.gguf");
    let made = ["-f", text(&read), "-o", text(&imatrix), "--chunks", "4", "--json"];
    let made = puna("imatrix", &model, &made).json();
    assert_eq!(
        (&made["tensors"], &made["chunks"], &made["chunk_size"]),
        (&210.into(), &4.into(), &512.into())
    );
    let perplexity = |more: &[&str]| {
        let out = folder.path().join("out.gguf");
        puna("quantize", &model, &[&[text(&out), "--type", "q4_0", "--quiet"], more].concat()).ok();
        let out = puna("perplexity", &out, &["--file", text(&asked), "--ctx", "512", "--json"]).json();
        out["perplexity"].as_f64().unwrap()
    };
    let (plain, weighted) = (perplexity(&[]), perplexity(&["--imatrix", text(&imatrix)]));
    assert!(weighted < 0.97 * plain, "{plain} without, {weighted} with");
    let wrong = puna("quantize", &model, &["x.gguf", "--type", "q4_0", "--imatrix", text(&model)]).refusal();
    assert!(wrong.contains("imatrix"), "{wrong}");
}

/// Fewer bits are further from the model they were made of, in all mixes whose formats have codebooks.
#[test]
fn mixes_of_one_to_three_bits() {
    let folder = puna_tests::folder::Folder::new();
    let model =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/puna-cli/models/puna-tiny.gguf");
    let genesis = std::fs::read_to_string(fetched("text/genesis.txt")).unwrap();
    let (read, asked) = genesis.split_at(genesis.char_indices().nth(30_000).unwrap().0);
    let (read, asked) = (folder.write("read.txt", read), folder.write("asked.txt", &asked[..6000]));
    let (imatrix, out) = (folder.path().join("imatrix.gguf"), folder.path().join("out.gguf"));
    puna("imatrix", &model, &["-f", text(&read), "-o", text(&imatrix), "--json"]).json();
    let divergence = |mix: &str| {
        let options = [text(&out), "--type", mix, "--imatrix", text(&imatrix), "--quiet"];
        puna("quantize", &model, &options).ok();
        let options = ["--file", text(&asked), "--against", text(&model), "--ctx", "256", "--json"];
        puna("perplexity", &out, &options).json()["against"]["kl_mean"].as_f64().unwrap()
    };
    let mixes = ["q4_k_m", "iq3_m", "iq3_xxs", "iq2_m", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s"];
    let found = mixes.map(|mix| (mix, divergence(mix)));
    // Neighbours give different tensors more bits, and may change places by a little; those two apart do not.
    assert!(found.windows(2).all(|two| two[0].1 < 1.15 * two[1].1), "{found:?}");
    assert!(found.windows(3).all(|three| three[0].1 < three[2].1), "{found:?}");
    assert!(found[0].1 < 0.1 && found[7].1 < 5.0, "{found:?}");
    // Without the matrix they would be of no use.
    for mix in ["iq2_xs", "iq1_s"] {
        let refused = puna("quantize", &model, &[text(&out), "--type", mix]).refusal();
        assert!(refused.contains("importance matrix"), "{refused}");
    }
}
