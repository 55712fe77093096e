//! The vision tower on the CPU device: features, logits and greedy tokens of transformers, and the façade's way there.

use super::{assert_same, exact, greedy_after, session};
use puna::{
    Cancel, DeviceKind, ErrorKind, Image, LoadOptions, Message, Model, QuantizeOptions, Session, quantize,
};
use puna_cpu::device::Threads;
use puna_cpu::isa::Isa;
use puna_cpu::matmul::Activations;
use puna_cpu::{CpuDevice, CpuOptions};
use puna_format::Limits;
use puna_format::gguf::Gguf;
use puna_llama::vision::{Encode, Stage};
use puna_testkit::goldens::{Rounding, VisionGolden, dequantised};
use puna_testkit::{ModelDir, tolerance};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

#[test]
fn every_instruction_set_sees_alike() {
    let golden = VisionGolden::load();
    for isa in Isa::available() {
        for (threads, tiles, batch) in [(1, 4, 512), (2, 3, 11)] {
            let threads = Threads::Count(threads);
            let options = CpuOptions { threads, isa: Some(isa), activations: Activations::F32 };
            let off = golden.check(Box::new(CpuDevice::new(options).unwrap()), tiles, batch);
            assert!(off.logits > 0.0, "nothing is exactly transformers");
        }
    }
}

/// A picture of the golden as applications have them.
fn image(golden: &VisionGolden, name: &str) -> Image {
    picture(&golden.image(name))
}

fn picture(pixels: &puna_llama::vision::Image) -> Image {
    Image::rgb8(pixels.width(), pixels.height(), pixels.rgb()).unwrap()
}

/// The logits after each of `ids`, whose images have their places already.
fn score(session: &mut Session, ids: &[u32]) -> Vec<Vec<f32>> {
    let mut logits = Vec::new();
    let keep = |_, row: &[f32]| {
        logits.push(row.to_vec());
        ControlFlow::Continue(())
    };
    session.score(ids, &Cancel::new(), keep).unwrap();
    logits
}

/// Features, logits and greedy tokens of an open model against transformers; pixels as they are.
pub(super) fn check(golden: &VisionGolden, model: &Model) {
    let tower = model.info().vision.unwrap();
    assert_eq!((tower.layers, tower.tile, tower.tile_tokens), (3, 56, 4));
    for name in golden.image_names() {
        let tiles = model.image_tiles(&image(golden, name)).unwrap();
        let mut adapted = Vec::new();
        let mut observe = |stage, rows: &[f32]| {
            if stage == Stage::Adapted {
                adapted.extend_from_slice(rows);
            }
            Ok(())
        };
        let mut watch = Encode { observe: Some(&mut observe), ..Encode::default() };
        let projected = model.encode_tiles(&tiles, &mut watch).unwrap();
        golden.check_features(name, &adapted, projected.values());
    }
    for case in golden.cases() {
        let (ids, pixels) = golden.prompt(case);
        // Batches that cut images apart.
        for batch in [512, 9] {
            let mut session = session(model, 512, batch);
            session.place_pixels(&ids, &pixels, &Cancel::new()).unwrap();
            golden.check_logits(case, &score(&mut session, &ids));
            let expected = golden.greedy(case);
            assert_eq!(greedy_after(&mut session, expected.len()), expected, "{case}");
        }
        // Too few patches for the rows, or pixels that are no tiles.
        let mut session = session(model, 512, 512);
        session.place_pixels(&ids[..3], &pixels, &Cancel::new()).unwrap_err();
        session.place_pixels(&ids, &pixels[1..], &Cancel::new()).unwrap_err();
        assert!(session.tokens().is_empty());
    }
}

/// A multimodal folder, opened as an application opens it.
#[test]
fn a_folder_that_can_see() {
    let golden = VisionGolden::load();
    let folder = ModelDir::new("vision");
    folder.write("config.json", golden.config.to_string().as_bytes());
    folder.write("model.safetensors", &golden.safetensors());
    check(&golden, &Model::open(folder.path(), &exact(DeviceKind::Cpu)).unwrap());
}

fn open_pair(pair: &ModelDir) -> Model {
    let mmproj = pair.directory().join("mmproj.gguf");
    Model::open(pair.path(), &exact(DeviceKind::Cpu).mmproj(mmproj)).unwrap()
}

/// A text file and an mmproj file, in both spellings of the second norm.
#[test]
fn a_pair_of_gguf_files_that_can_see() {
    let golden = VisionGolden::load();
    for norm2 in ["ln2", "attn_post_norm"] {
        check(&golden, &open_pair(&golden.gguf_pair(Rounding::F32, norm2)));
    }
}

/// A folder written as a pair of files by `quantize`: tensor for tensor what llama.cpp's converter calls them, and it sees.
#[test]
fn a_folder_written_with_its_tower() {
    let golden = VisionGolden::load();
    let folder = ModelDir::new("vision-written");
    folder.write("config.json", golden.config.to_string().as_bytes());
    folder.write("model.safetensors", &golden.safetensors());
    let out = ModelDir::new("vision-written-out");
    let (text, tower) = (out.directory().join("text.gguf"), out.directory().join("tower.gguf"));
    let write = |input: &std::path::Path, text, options: QuantizeOptions| {
        quantize(input, text, &options.name("Seer"))
    };
    let options = QuantizeOptions::new("f32").unwrap().mmproj(&tower);
    let done = write(folder.path(), &text, options.clone()).unwrap();
    assert_eq!(done.mmproj.as_deref(), Some(&*tower));
    let bytes = std::fs::read(&tower).unwrap();
    let table = |file: &[u8]| {
        let gguf = Gguf::read(file, &Limits::default()).unwrap();
        let tensors = gguf.tensors.iter().map(|t| {
            let range = t.range.start as usize..t.range.end as usize;
            (t.name.clone(), (t.shape, file[range].to_vec()))
        });
        (tensors.collect::<BTreeMap<_, _>>(), gguf.metadata)
    };
    let ((found, metadata), (expected, keys)) = (table(&bytes), table(&golden.mmproj(Rounding::F32, "ln2")));
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    assert!(found == expected, "tensors differ");
    for (key, value) in keys.iter() {
        assert_eq!(metadata.get(key), Some(value), "{key}");
    }
    assert_eq!(metadata.find::<&str>("general.name").unwrap(), Some("Seer"));
    let options_of = |tower| exact(DeviceKind::Cpu).mmproj(tower);
    let model = Model::open(&text, &options_of(&tower)).unwrap();
    assert_eq!(model.info().name.as_deref(), Some("Seer"));
    // Only a vocabulary says where images go, and this folder has none.
    let pair = golden.gguf_pair(Rounding::F32, "ln2");
    check(&golden, &Model::open(pair.path(), &options_of(&tower)).unwrap());

    // Once more from the pair, in other formats: norms, biases and positions stay wide.
    let again = out.directory().join("again.gguf");
    let options = options.mmproj(out.directory().join("q8_0.gguf")).mmproj_type("q8_0").unwrap();
    let read = LoadOptions::default().mmproj(&tower);
    let done = write(&text, &again, options.clone().load(read.clone())).unwrap();
    let (small, _) = table(&std::fs::read(done.mmproj.unwrap()).unwrap());
    assert_eq!(small["v.position_embd.weight"], expected["v.position_embd.weight"]);
    let sizes = |name: &str| (small[name].1.len(), expected[name].1.len());
    let (patch, wide) = sizes("v.patch_embd.weight");
    assert_eq!(2 * patch, wide, "F16 where rows are no whole blocks");
    let (matrix, wide) = sizes("v.blk.0.ffn_up.weight");
    assert!(matrix < wide, "{matrix} {wide}");

    // A tower that is not there, and a file that is already read or written.
    let nothing = write(&text, &again, options.clone()).unwrap_err();
    assert_eq!(nothing.kind(), ErrorKind::Unsupported);
    for taken in [&again, &tower] {
        let error = write(&text, &again, options.clone().load(read.clone()).mmproj(taken)).unwrap_err();
        assert!(error.to_string().contains("a file of its own"), "{error}");
    }
    QuantizeOptions::new("f32").unwrap().mmproj_type("q4_0").unwrap_err();
}

/// Both files as bytes, as programs without files have them.
#[test]
fn pairs_in_memory() {
    let golden = VisionGolden::load();
    let pair = golden.gguf_pair(Rounding::F32, "ln2");
    let read = |name: &str| std::fs::read(pair.directory().join(name)).unwrap();
    let options = exact(DeviceKind::Cpu).mmproj_bytes(read("mmproj.gguf"));
    check(&golden, &Model::from_bytes(read("text.gguf"), &options).unwrap());
    check(&golden, &Model::open(pair.path(), &options).unwrap());

    let error = Model::open(pair.path(), &options.clone().mmproj(pair.directory().join("mmproj.gguf")));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::BadInput);
    let error = Model::from_bytes(read("text.gguf"), &exact(DeviceKind::Cpu).mmproj_bytes(read("text.gguf")))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadFile);
    let tiny = puna::tiny::gguf(7).unwrap();
    let error = Model::from_bytes(tiny, &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadFile);
    assert!(error.to_string().contains("expected rows of 32 values"), "{error}");
}

/// Rounded weights mean what they decode to: the same pair with every weight written out as F32 gives the same.
#[test]
fn pairs_in_every_format() {
    let golden = VisionGolden::load();
    for rounding in [Rounding::F16, Rounding::BF16, Rounding::Q8_0] {
        let pair = golden.gguf_pair(rounding, "ln2");
        let plain = ModelDir::new("vision-plain");
        for name in ["text.gguf", "mmproj.gguf"] {
            let file = std::fs::read(pair.directory().join(name)).unwrap();
            let written_out = dequantised(&file);
            assert!(written_out.len() > file.len(), "{rounding:?}: {name} holds rounded weights");
            plain.write(name, &written_out);
        }
        let plain = plain.pointing_at("text.gguf");
        let [found, expected] = [&pair, &plain].map(open_pair);
        for name in golden.image_names() {
            let image = image(&golden, name);
            let features = |model: &Model| {
                let tiles = model.image_tiles(&image).unwrap();
                model.encode_tiles(&tiles, &mut Encode::default()).unwrap().values().to_vec()
            };
            let [found, expected] = [&found, &expected].map(features);
            assert_same(&format!("{rounding:?} {name}"), &[found], &[expected], tolerance::PROJECTED);
        }
        for case in golden.cases() {
            let (ids, pixels) = golden.prompt(case);
            let run = |model: &Model| {
                let mut session = session(model, 512, 64);
                session.place_pixels(&ids, &pixels, &Cancel::new()).unwrap();
                (score(&mut session, &ids), greedy_after(&mut session, 8))
            };
            let [found, expected] = [&found, &expected].map(run);
            assert_same(&format!("{rounding:?} {case}"), &found.0, &expected.0, tolerance::LOGITS);
            assert_eq!(found.1, expected.1, "{rounding:?} {case}");
        }
    }
}

/// From pictures and text to logits: one tile, many tiles, several images with text between.
#[test]
fn prompts_with_pictures_become_the_goldens_tokens() {
    let golden = VisionGolden::load();
    let pair = golden.gguf_pair(Rounding::F32, "ln2");
    let model = open_pair(&pair);
    for case in golden.cases() {
        let (ids, _) = golden.prompt(case);
        let pictures: Vec<Image> = golden.case_images(case).iter().map(picture).collect();
        for batch in [512, 7, 1] {
            let mut session = session(&model, 512, batch);
            assert_eq!(session.place_prompt(&golden.text(case), &pictures).unwrap(), ids, "{case}");
            golden.check_logits(case, &score(&mut session, &ids));
        }
        let mut session = session(&model, 512, 5);
        let too_many = [&pictures[..], &pictures[..1]].concat();
        session.push_tokens_with(&ids, &too_many).unwrap_err();
        session.push_tokens_with(&ids, &pictures).unwrap();
        golden.check_logits_after(case, session.logits(&Cancel::new()).unwrap());
        session.truncate(0);
        session.push_text_with(&golden.text(case), &pictures).unwrap();
        assert_eq!(session.tokens(), ids);
        let expected = golden.greedy(case);
        assert_eq!(greedy_after(&mut session, expected.len()), expected, "{case}");
    }
}

/// Pictures in several turns, pushed in any portions and in forks, are what the whole conversation is at once. An image
/// that comes again is not encoded again: a tower that is cancelled is not needed.
#[test]
fn conversations_with_pictures_in_any_turn() {
    let golden = VisionGolden::load();
    let model = open_pair(&golden.gguf_pair(Rounding::F32, "attn_post_norm"));
    let [one, alpha, tall] = ["one", "alpha", "tall"].map(|name| image(&golden, name));
    let turns = [
        Message::system("look").with(one.clone()),
        Message::user("first ").with(alpha.clone()).with(" and ").with(one.clone()).with(" then"),
        Message::assistant("seen"),
        Message::user("").with(tall).with(alpha.clone()),
    ];
    let mut whole = session(&model, 1024, 512);
    whole.push(&turns).unwrap();
    let expected = whole.logits(&Cancel::new()).unwrap().to_vec();
    let ids = whole.tokens().to_vec();

    let mut parts = session(&model, 1024, 13);
    for turn in &turns[..2] {
        parts.push(std::slice::from_ref(turn)).unwrap();
        parts.prefill(&Cancel::new()).unwrap();
    }
    let mut fork = parts.fork().unwrap();
    for session in [&mut parts, &mut fork] {
        session.push(&turns[2..]).unwrap();
        assert_eq!(session.tokens(), ids);
        let found = session.logits(&Cancel::new()).unwrap().to_vec();
        assert_same("in portions", &[found], std::slice::from_ref(&expected), tolerance::SPLIT);
    }

    // Back to before the second turn: its images are known by now, here and in a fork.
    let message = |picture: &Image| Message::user("again ").with(picture.clone());
    let alone = |picture: &Image| {
        let mut session = session(&model, 1024, 512);
        session.push(&[message(picture)]).unwrap();
        session.logits(&Cancel::new()).unwrap().to_vec()
    };
    let mut encoded = Vec::new();
    for session in [&mut parts, &mut fork] {
        session.truncate(0);
        for picture in [&alpha, &one] {
            let before = session.images_encoded();
            session.push(&[message(picture)]).unwrap();
            let found = session.logits(&Cancel::new()).unwrap().to_vec();
            assert_same("known", &[found], &[alone(picture)], tolerance::SPLIT);
            encoded.push(session.images_encoded() - before);
            session.truncate(0);
        }
        let before = session.images_encoded();
        session.push(&[message(&image(&golden, "dot"))]).unwrap();
        session.prefill(&Cancel::new()).unwrap();
        encoded.push(session.images_encoded() - before);
    }
    assert_eq!(encoded, [0, 0, 1, 0, 0, 1], "images encoded");
}

/// A patch token that the model comes up with, or that somebody pushes, is an ordinary token.
#[test]
fn only_patches_of_a_prompt_take_rows() {
    let golden = VisionGolden::load();
    let model = open_pair(&golden.gguf_pair(Rounding::F32, "ln2"));
    let patch = golden.ids.patch;
    let after = |session: &mut Session| {
        session.push_tokens(&[patch, 5]).unwrap();
        session.logits(&Cancel::new()).unwrap().to_vec()
    };
    let mut plain = session(&model, 512, 512);
    plain.push_tokens(&[1, 4, patch, patch, patch, patch, 5]).unwrap();
    let ordinary = plain.logits(&Cancel::new()).unwrap().to_vec();
    let mut seeing = session(&model, 512, 512);
    seeing.push_text_with("b<|image|>c", &[image(&golden, "one")]).unwrap();
    seeing.prefill(&Cancel::new()).unwrap();
    // The same with the embeddings of the patch token in place of rows is another prompt.
    let ids = seeing.tokens().to_vec();
    let mut blind = session(&model, 512, 512);
    blind.push_tokens(&ids).unwrap();
    let found = after(&mut seeing);
    assert!(found.iter().zip(&after(&mut blind)).any(|(a, b)| (a - b).abs() > 1e-2));
    // Tokens that a session generated: those pushed by hand are the same to it.
    let mut step = session(&model, 512, 1);
    step.push_text_with("b<|image|>c", &[image(&golden, "one")]).unwrap();
    assert_same("one by one", &[after(&mut step)], &[found], tolerance::SPLIT);
    // Where an image stood before a truncation, patches are ordinary too.
    step.truncate(0);
    step.push_tokens(&[1, 4, patch, patch, patch, patch, 5]).unwrap();
    let found = step.logits(&Cancel::new()).unwrap().to_vec();
    assert_same("after a truncation", &[found], &[ordinary], tolerance::SPLIT);
    // Spelled out by a user, it is text.
    let mut session = session(&model, 512, 512);
    session.push(&[Message::user("<|patch|>").with(image(&golden, "one"))]).unwrap();
    assert_eq!(session.tokens().iter().filter(|&&id| id == patch).count(), 4);
    session.prefill(&Cancel::new()).unwrap();
}

#[test]
fn what_cannot_see_says_so() {
    let golden = VisionGolden::load();
    let folder = ModelDir::new("blind");
    folder.write("config.json", golden.config["text_config"].to_string().as_bytes());
    folder.write("model.safetensors", &golden.safetensors());
    let mut text = golden.clone();
    for name in
        golden.tensors.iter().map(|(name, _)| name.to_string()).filter(|n| !n.contains("language_model"))
    {
        text.tensors.remove(&name);
    }
    folder.write("model.safetensors", &text.safetensors());
    let model = Model::open(folder.path(), &exact(DeviceKind::Cpu)).unwrap();
    assert_eq!(model.info().vision, None);
    let error = session(&model, 64, 64).place_pixels(&[1], &[0.0; 3 * 56 * 56], &Cancel::new()).unwrap_err();
    assert!(error.to_string().contains("no vision tower"), "{error}");
    // A file of text without its other half says what is missing, in every way to show it an image.
    let pair = golden.gguf_pair(Rounding::F32, "ln2");
    let model = Model::open(pair.path(), &exact(DeviceKind::Cpu)).unwrap();
    let mut session = session(&model, 64, 64);
    let picture = image(&golden, "one");
    for error in [
        session.push(&[Message::user("x").with(picture.clone())]).unwrap_err(),
        session.push_text_with("<|image|>", &[picture]).unwrap_err(),
        model.image_layout(5, 5).unwrap_err(),
    ] {
        assert!(error.to_string().contains("mmproj"), "{error}");
        assert_eq!((error.kind(), session.tokens().len()), (ErrorKind::Unsupported, 0));
    }
    // And a tower that belongs to another model.
    let mut other = golden.clone();
    other.config["text_config"]["hidden_size"] = 48.into();
    pair.write("mmproj.gguf", &other.mmproj(Rounding::F32, "ln2"));
    let mmproj = pair.directory().join("mmproj.gguf");
    let error = Model::open(pair.path(), &exact(DeviceKind::Cpu).mmproj(mmproj)).unwrap_err();
    assert!(error.to_string().contains("40") && error.to_string().contains("48"), "{error}");
}
