//! Images through the command: files in, tiles, features and logits out, in every subcommand that takes them.

use super::{puna, text};
use crate::images::files;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use puna_testkit::ModelDir;
use puna_testkit::goldens::{Rounding, VisionGolden};
use puna_tests::cli::{Done, run, run_with_input};
use puna_tests::fetched::fetched;
use puna_tests::folder::Folder;
use puna_tests::npy;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

const EXACT: [&str; 4] = ["--kv", "f32", "--activations", "f32"];

/// The golden pair and its images as PNG files.
struct Pair {
    golden: VisionGolden,
    files: ModelDir,
    mmproj: PathBuf,
}

impl Pair {
    fn new() -> Pair {
        let golden = VisionGolden::load();
        let files = golden.gguf_pair(Rounding::F32, "ln2");
        let mmproj = files.directory().join("mmproj.gguf");
        Pair { golden, files, mmproj }
    }

    fn png(&self, image: &puna_llama::vision::Image) -> String {
        let name = format!("{}x{}-{}.png", image.width(), image.height(), image.rgb()[0]);
        let mut file = Vec::new();
        let (w, h) = (image.width() as u32, image.height() as u32);
        PngEncoder::new(&mut file).write_image(image.rgb(), w, h, ExtendedColorType::Rgb8).unwrap();
        self.files.write(&name, &file);
        text(&self.files.directory().join(name)).into()
    }

    fn run(&self, command: &str, args: &[&str]) -> Done {
        puna(command, self.files.path(), &[args, &["--mmproj", text(&self.mmproj)]].concat())
    }

    fn out(&self, name: &str) -> PathBuf {
        self.files.directory().join(name)
    }
}

fn list(ids: &[u32]) -> String {
    ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// A float32 array in C order.
fn write_npy(path: &Path, shape: &str, values: &[f32]) {
    let mut text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.bytes());
    file.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, file).unwrap();
}

#[test]
fn what_the_tower_makes_of_images() {
    let pair = Pair::new();
    let names = ["fifteen", "grey"];
    let pngs = names.map(|name| pair.png(&pair.golden.image(name)));
    let [pixels, features, projected] = ["p.npy", "f.npy", "r.npy"].map(|name| pair.out(name));
    let args = [
        &["--image", &pngs[0], "--image", &pngs[1], "--json", "--activations", "f32"][..],
        &[
            "--out-pixels",
            text(&pixels),
            "--out-features",
            text(&features),
            "--out-projected",
            text(&projected),
        ],
    ];
    let out = pair.run("vision", &args.concat()).json();
    assert_eq!((&out["tile"], &out["tile_tokens"], &out["tiles"]), (&json!(56), &json!(4), &json!(19)));
    let first = &out["images"][0];
    assert_eq!((&first["width"], &first["rows"], &first["cols"]), (&json!(320), &json!(3), &json!(5)));
    assert_eq!((&first["tiles"], &first["tokens"]), (&json!(16), &json!(64 + 15 + 3)));
    let layout: Vec<(String, u64)> = serde_json::from_value(out["images"][1]["layout"].clone()).unwrap();
    let names_of: Vec<(&str, u64)> = layout.iter().map(|(name, n)| (name.as_str(), *n)).collect();
    let expected = [
        ("<|image_start|>", 1),
        ("<|patch|>", 4),
        ("<|tile_x_separator|>", 1),
        ("<|patch|>", 4),
        ("<|tile_y_separator|>", 1),
        ("<|image|>", 1),
        ("<|patch|>", 4),
        ("<|image_end|>", 1),
    ];
    assert_eq!(names_of, expected);
    assert_eq!(out["token_ids"]["<|patch|>"], json!(92));

    let (shape, values) = npy::read(&pixels);
    assert_eq!(shape, [19, 3, 56, 56]);
    assert!(values.iter().all(|v| (-1.0..=1.0).contains(v)));
    let ((shape, adapted), (wide, rows)) = (npy::read(&features), npy::read(&projected));
    assert_eq!((&shape[..], &wide[..]), (&[19, 4, 28][..], &[19, 4, 40][..]));
    let (a, p) = (16 * 4 * 28, 16 * 4 * 40);
    pair.golden.check_features("fifteen", &adapted[..a], &rows[..p]);
    pair.golden.check_features("grey", &adapted[a..], &rows[p..]);

    let table = pair.run("vision", &["--image", &pngs[0]]).ok();
    assert!(table.contains("3 rows x 5 columns") && table.contains("320 x 180"), "{table}");
}

#[test]
fn logits_of_images_and_of_pixels() {
    let pair = Pair::new();
    let (out, pixels_file) = (pair.out("out.npy"), pair.out("pixels.npy"));
    let golden = &pair.golden;
    for case in ["one", "two", "many"] {
        let (ids, pixels) = golden.prompt(case);
        let check = || {
            let (shape, values) = npy::read(&out);
            assert_eq!(shape, [ids.len(), 128], "{case}");
            golden.check_logits(case, &values.chunks_exact(128).map(<[f32]>::to_vec).collect::<Vec<_>>());
        };
        let images: Vec<String> = golden.case_images(case).iter().map(|image| pair.png(image)).collect();
        let prompt = golden.text(case);
        let mut args = vec!["--prompt", &prompt, "--out", text(&out)];
        images.iter().for_each(|image| args.extend(["--image", image]));
        pair.run("logits", &[&args[..], &EXACT].concat()).ok();
        check();

        let tiles = pixels.len() / (3 * 56 * 56);
        write_npy(&pixels_file, &format!("{tiles}, 3, 56, 56"), &pixels);
        let (ids, pixels) = (list(&ids), text(&pixels_file));
        let args = ["--tokens", &ids, "--pixels", pixels, "--out", text(&out), "--batch", "10"];
        pair.run("logits", &[&args[..], &EXACT].concat()).ok();
        check();

        let n = golden.greedy(case).len().to_string();
        let mut args = vec!["--prompt", &prompt, "--max-tokens", &n, "--ignore-eos", "--json"];
        images.iter().for_each(|image| args.extend(["--image", image]));
        let out = pair.run("generate", &[&args[..], &EXACT].concat()).json();
        assert_eq!(out["tokens"], json!(golden.greedy(case)), "{case}");
    }
    // The text half alone, pixels of another size, patches that are too few.
    let (ids, pixels) = golden.prompt("one");
    let ids = list(&ids);
    let args = ["--tokens", &ids, "--pixels", text(&pixels_file), "--out", text(&out)];
    write_npy(&pixels_file, "1, 3, 56, 56", &pixels);
    let line = puna("logits", pair.files.path(), &args).refusal();
    assert!(line.contains("mmproj"), "{line}");
    let line = pair.run("logits", &[&["--tokens", "1,92,5"][..], &args[2..]].concat()).refusal();
    assert!(line.contains("<|patch|>") && line.contains('4'), "{line}");
    write_npy(&pixels_file, "1, 56, 56, 3", &pixels);
    let line = pair.run("logits", &args).refusal();
    assert!(line.contains("pixels.npy") && line.contains("[1, 56, 56, 3]"), "{line}");
    let line =
        pair.run("generate", &["--prompt", "none", "--image", &pair.png(&golden.image("one"))]).refusal();
    assert!(line.contains("<|image|>"), "{line}");
    run(["logits", "m", "--tokens", "1", "--image", "a.png", "--out", "o.npy"]).wrong_usage();
    run(["logits", "m", "--prompt", "a", "--pixels", "a.npy", "--out", "o.npy"]).wrong_usage();
}

#[test]
fn conversations_with_images() {
    let pair = Pair::new();
    let one = pair.png(&pair.golden.image("one"));
    let grey = pair.png(&pair.golden.image("grey"));
    let args =
        ["--chat", "--prompt", "what", "--image", &one, "--image", &grey, "--max-tokens", "4", "--json"];
    let out = pair.run("generate", &args).json();
    // BOS, <|header_start|>user<|header_end|>\n\n, images of 7 and 17 tokens, "what", <|eot|>, the answer's header.
    let expected = 1 + (1 + 4 + 1 + 2) + 7 + 17 + 4 + 1 + (1 + 9 + 1 + 2);
    assert_eq!(out["prompt_tokens"], json!(expected), "{out}");

    let input =
        format!("hi\n/tokens\n/image {grey}\n/image /no/such.png\nwhat\n/tokens\n/reset\n/tokens\n/exit\n");
    let model = text(pair.files.path());
    let args = ["chat", model, "--mmproj", text(&pair.mmproj), "--image", &one, "--max-tokens", "2"];
    let done = run_with_input(args, &input);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert!(done.stderr.contains("/no/such.png"), "{done:#?}");
    let used = |line: &str| line.split(' ').next().unwrap().parse::<usize>().unwrap();
    let counts: Vec<usize> = done.stderr.lines().filter(|line| line.ends_with(" left")).map(used).collect();
    assert!(matches!(counts[..], [first, second, 0] if first > 7 && second > first + 17), "{done:#?}");

    let line = puna("chat", pair.files.path(), &["--image", &one]).refusal();
    assert!(line.contains("--mmproj"), "{line}");
    let done = run_with_input(["chat", model, "--quiet"], &format!("/image {one}\n/exit\n"));
    assert!(done.stderr.contains("--mmproj") && done.code == Some(0), "{done:#?}");
    let line = pair.run("generate", &["--chat", "--prompt", "x", "--image", "/no/such.png"]).refusal();
    assert!(line.contains("/no/such.png"), "{line}");
}

#[test]
fn towers_are_shown_planned_and_measured() {
    let pair = Pair::new();
    let out = pair.run("inspect", &["--json"]).json();
    let tower = &out["vision"];
    assert_eq!(
        (&tower["n_layers"], &tower["image_size"], &tower["tile_tokens"]),
        (&json!(3), &json!(56), &json!(4))
    );
    let names: Vec<&Value> = out["tensors"].as_array().unwrap().iter().map(|t| &t["name"]).collect();
    assert!(names.contains(&&json!("v.patch_embd.weight")) && names.contains(&&json!("token_embd.weight")));
    assert!(pair.run("inspect", &[]).ok().contains("Vision tower"));
    assert!(puna("inspect", pair.files.path(), &["--json"]).json()["vision"].is_null());
    // The tower's file alone, and two files in the wrong order.
    let out = puna("inspect", &pair.mmproj, &["--json"]).json();
    assert_eq!((&out["vision"]["hidden"], &out["unsupported"].is_string()), (&json!(48), &true));
    let line = puna("inspect", &pair.mmproj, &["--mmproj", text(pair.files.path())]).refusal();
    assert!(line.contains("mmproj.gguf") || line.contains("text.gguf"), "{line}");

    let plan = pair.run("plan", &["--json"]).json();
    let without = puna("plan", pair.files.path(), &["--json"]).json();
    for key in ["vision_weights", "vision_activations", "multiply_adds_per_tile"] {
        assert!(plan[key].as_u64().unwrap() > 0 && without[key] == json!(0), "{key}: {plan} {without}");
    }
    assert!(plan["total"].as_u64() > without["total"].as_u64());
    assert!(pair.run("plan", &[]).ok().contains("vision tower"));

    let out = pair.run("bench", &["--image", "320x180", "-r", "2", "-t", "1,2", "--json"]).json();
    assert_eq!((&out["tiles"], &out["tokens"]), (&json!(16), &json!(82)));
    for result in out["results"].as_array().unwrap() {
        let figure = |key: &str| result[key].as_f64().unwrap();
        assert!(figure("tile_s") > 0.0 && figure("image_s") > figure("encode_s"), "{result}");
        assert!((figure("tiles_per_s") * figure("tile_s") - 1.0).abs() < 1e-9, "{result}");
    }
    assert!(pair.run("bench", &["--image", "10x10", "-r", "1"]).ok().contains("1 tiles"));
    run(["bench", "m", "--image", "0x5"]).wrong_usage();
    let line = puna("bench", pair.files.path(), &["--image", "10x10"]).refusal();
    assert!(line.contains("mmproj"), "{line}");
}

/// The sizes measured with the reference, by a bare tokenizer file: 336 pixels and 144 tokens a tile.
#[test]
fn messages_with_images() {
    let tokenizer = fetched("llama4/tokenizer.model");
    let folder = Folder::new();
    let tokenize = |messages: Value| {
        let file = folder.write("chat.json", messages.to_string());
        puna("tokenize", &tokenizer, &["--messages", text(&file)]).json()
    };
    let user = |content: Value| json!([{ "role": "user", "content": content }]);
    let empty = tokenize(user(json!([]))).as_array().unwrap().len();
    for (w, h, tokens) in [
        (336, 336, 147),
        (337, 336, 437),
        (1920, 1080, 2322),
        (2000, 2000, 2467),
        (50, 2000, 1017),
        (1, 1, 147),
    ] {
        let ids = tokenize(user(json!([{ "type": "image", "w": w, "h": h }])));
        assert_eq!(ids.as_array().unwrap().len() - empty, tokens, "{w} x {h}");
    }
    // A file counts by its own size: 7 x 5 pixels, one tile.
    let png = folder.write("a.png", &files()[0].1);
    let parts = json!([{ "type": "text", "text": "a" }, { "type": "image", "path": text(&png) }, { "type": "text", "text": "b" }]);
    let ids: Vec<u32> = serde_json::from_value(tokenize(user(parts))).unwrap();
    let at = ids.iter().position(|&id| id == 200_080).unwrap();
    let expected = [vec![200_080, 200_090], vec![200_092; 144], vec![200_081]].concat();
    assert_eq!(ids[at..at + 147], expected);
    // A tower of another size says so itself.
    let pair = Pair::new();
    let file = folder.write("chat.json", user(json!([{ "type": "image", "w": 100, "h": 10 }])).to_string());
    let out = pair.run("tokenize", &["--messages", text(&file)]).json();
    let patches = out.as_array().unwrap().iter().filter(|id| **id == json!(92)).count();
    assert_eq!(patches, 3 * 4, "two tiles and the whole");
    for bad in [
        json!({ "type": "image" }),
        json!({ "type": "image", "w": 0, "h": 5 }),
        json!({ "type": "image", "w": 5, "h": 1e99 }),
        json!({ "type": "image", "path": "/no/such.png" }),
        json!({ "type": "image", "path": 5 }),
        json!({ "type": "video" }),
    ] {
        let file = folder.write("chat.json", user(json!([bad])).to_string());
        let line = puna("tokenize", &tokenizer, &["--messages", text(&file)]).refusal();
        assert!(line.contains("message 0, part 0"), "{line}");
    }
}

/// The model of the tree answers about the pictures of the tree, as the README shows.
#[test]
fn the_model_of_the_tree_sees() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let models = tree.join("crates/puna-cli/models");
    let (model, mmproj) = (models.join("puna-tiny.gguf"), models.join("puna-tiny.mmproj.gguf"));
    let ask = |picture: &str, question: &str| {
        let picture = tree.join("examples/pictures").join(picture);
        let args = ["--mmproj", text(&mmproj), "--chat", "--image", text(&picture), "--prompt", question];
        puna("generate", &model, &[&args[..], &["--temp", "0", "--max-tokens", "20"]].concat()).stdout
    };
    assert_eq!(ask("digit.png", "Which digit is written here?").trim(), "2");
    assert_eq!(ask("triangle.png", "Which shape is this?").trim(), "A triangle.");
}
