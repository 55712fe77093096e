//! A small seeded model with a vision tower, images made by a formula, and what Pillow and transformers make of them.

use crate::compare::{argmax, assert_close};
use crate::{seeded, tolerance};
use puna_core::{Device, Elem};
use puna_format::safetensors::{StDType, StWriter};
use puna_llama::vision::{
    Canvas, Encode, Features, Image, ImageIds, ImageLayout, Stage, Tiles, Vision, VisionConfig, expand,
    place, resize,
};
use puna_llama::{Config, Llama, LoadWatch, MemTensors, Pass, SessionState, StateOptions, Want};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `tests/goldens/vision`.
#[derive(Clone, Debug)]
pub struct VisionGolden {
    /// The `config.json` of the model.
    pub config: Value,
    /// Its tensors, in Hugging Face's names.
    pub tensors: MemTensors,
    /// The ids of an image's tokens.
    pub ids: ImageIds,
    pub(super) json: Value,
    numbers: Vec<f32>,
}

/// The largest differences that a check saw.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Off {
    /// Of adapter outputs.
    pub adapted: f32,
    /// Of projected features.
    pub projected: f32,
    /// Of logits.
    pub logits: f32,
}

fn number(value: &Value) -> usize {
    value.as_u64().expect("a whole number") as usize
}

fn list(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|v| number(v) as u32).collect()
}

impl VisionGolden {
    /// Reads it.
    ///
    /// # Panics
    /// When its files are damaged.
    pub fn load() -> VisionGolden {
        let file = |name: &str| {
            let path = format!("{}/../../tests/goldens/vision/{name}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read(path).expect("a golden file")
        };
        let json: Value = serde_json::from_slice(&file("vision.json")).expect("JSON");
        let bytes = file("vision.bin");
        let numbers = bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect();
        let mut tensors = MemTensors::new();
        for spec in json["tensors"].as_array().expect("tensors") {
            let shape: Vec<usize> = spec["shape"].as_array().expect("a shape").iter().map(number).collect();
            let (scale, offset) =
                (spec["scale"].as_f64().expect("f64"), spec["offset"].as_f64().expect("f64"));
            let values = seeded::weights(number(&spec["t"]) as u32, shape.iter().product(), scale, offset);
            tensors.f32(spec["name"].as_str().expect("a name"), &shape, &values);
        }
        let id = |name: &str| number(&json["ids"][name]) as u32;
        let ids = ImageIds {
            start: id("start"),
            end: id("end"),
            image: id("image"),
            patch: id("patch"),
            tile_x: id("tile_x"),
            tile_y: id("tile_y"),
        };
        VisionGolden { config: json["config"].clone(), tensors, ids, json, numbers }
    }

    fn images(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.json["images"].as_object().expect("images").iter()
    }

    fn numbers(&self, at: &Value) -> &[f32] {
        let n: usize = at["shape"].as_array().expect("a shape").iter().map(number).product();
        let offset = number(&at["offset"]);
        &self.numbers[offset..offset + n]
    }

    /// An image by name.
    ///
    /// # Panics
    /// When there is none.
    pub fn image(&self, name: &str) -> Image {
        let about = &self.json["images"][name];
        let (w, h, t) = (number(&about["width"]), number(&about["height"]), number(&about["t"]) as u32);
        let make = match about["mode"].as_str() {
            Some("L") => Image::luma8,
            Some("RGB") => Image::rgb8,
            _ => Image::rgba8,
        };
        let n = match about["mode"].as_str() {
            Some("L") => 1,
            Some("RGB") => 3,
            _ => 4,
        };
        let value = |k: usize| {
            let (x, y, c) = (k / n % w, k / n / w, k % n);
            let noise = seeded::element(t, k as u32) as usize & 63;
            (x * (7 + 4 * c) + y * (5 + 6 * c) + noise) as u8
        };
        make(w, h, &(0..w * h * n).map(value).collect::<Vec<_>>()).expect("an image")
    }

    /// Holds canvases, resized bytes and pixels against the image processor of transformers and Pillow.
    ///
    /// # Panics
    /// When anything differs: bytes must be the same, pixels within rounding of the last F32 step.
    pub fn check_pixels(&self, config: &VisionConfig) {
        for (name, about) in self.images() {
            let image = self.image(name);
            let canvas = Canvas::choose(image.width(), image.height(), config.image_size, config.max_tiles);
            let resized = [number(&about["resized"][0]), number(&about["resized"][1])];
            let expected = (number(&about["rows"]), number(&about["cols"]), resized);
            assert_eq!((canvas.rows, canvas.cols, [canvas.width, canvas.height]), expected, "{name}");
            for (key, width, height) in [
                ("resized_fnv", canvas.width, canvas.height),
                ("whole_fnv", config.image_size, config.image_size),
            ] {
                let bytes = resize(&image, width, height).expect("memory");
                assert_eq!(fnv(&bytes), about[key].as_str().expect("a hash"), "{name}: {width} x {height}");
            }
            let tiles = Tiles::new(&image, config).expect("tiles");
            let at = list(&about["pixels_at"]);
            let expected = about["pixels"].as_array().expect("pixels").iter();
            let expected: Vec<f32> = expected.map(|v| v.as_f64().expect("f64") as f32).collect();
            let found: Vec<f32> = at.iter().map(|&i| tiles.pixels[i as usize]).collect();
            assert_close(&format!("{name}: pixels"), &found, &expected, 2e-7);
        }
    }

    /// Runs every image and every case on a device, in batches of so many tiles and tokens, and holds features, logits
    /// and greedy tokens against transformers.
    ///
    /// # Panics
    /// When anything is off by more than [`tolerance`] allows.
    pub fn check(&self, mut device: Box<dyn Device>, tiles: usize, batch: usize) -> Off {
        let mut off = Off::default();
        let watch = &mut LoadWatch::default();
        let config = VisionConfig::from_hf(&self.config).expect("a configuration").expect("a tower");
        let vision = Vision::load(config, &self.tensors, &mut *device, watch).expect("a tower");
        let config = Config::from_hf(&self.config, &[]).expect("a configuration");
        let model = Arc::new(Llama::load(config, &self.tensors, &mut *device, watch).expect("a model"));

        let mut features = BTreeMap::new();
        for (name, _) in self.images() {
            let mut adapted = Vec::new();
            let mut observe = |stage, rows: &[f32]| {
                if stage == Stage::Adapted {
                    adapted.extend_from_slice(rows);
                }
                Ok(())
            };
            let image = Tiles::new(&self.image(name), &vision.config).expect("tiles");
            let mut watch = Encode { batch: Some(tiles), observe: Some(&mut observe), ..Encode::default() };
            let found = vision.encode(&mut *device, &image, &mut watch).expect("features");
            let (adapter, projected) = self.check_features(name, &adapted, found.values());
            off.adapted = off.adapted.max(adapter);
            off.projected = off.projected.max(projected);
            features.insert(name.as_str(), found);
        }
        for (name, case) in self.json["cases"].as_object().expect("cases") {
            let used = case["images"].as_array().expect("images");
            let used: Vec<&str> = used.iter().map(|v| v.as_str().expect("a name")).collect();
            let logits = self.check_case(name, case, &used, &features, (&model, &*device), batch);
            off.logits = off.logits.max(logits);
        }
        off
    }

    /// The tensors as a safetensors file.
    ///
    /// # Panics
    /// Never, as long as the names are different ones.
    pub fn safetensors(&self) -> Vec<u8> {
        let mut writer = StWriter::new();
        for (name, tensor) in self.tensors.iter() {
            let shape: Vec<u64> = tensor.shape.iter().map(|&n| n as u64).collect();
            writer.tensor(name, &shape, StDType::F32).expect("a tensor");
        }
        let mut stream = writer.start(Vec::new()).expect("a header");
        for (name, tensor) in self.tensors.iter() {
            stream.write(name, tensor.region.bytes()).expect("a tensor's bytes");
        }
        stream.finish().expect("a whole file")
    }

    /// Holds an image's features, after the adapter and after the projector, against transformers; gives the largest
    /// differences.
    ///
    /// # Panics
    /// When they are off by more than [`tolerance`] allows.
    pub fn check_features(&self, image: &str, adapted: &[f32], projected: &[f32]) -> (f32, f32) {
        let about = &self.json["images"][image];
        let worst = |what: &str, found: &[f32], tolerance: f32| {
            assert_close(&format!("{image}: {what}"), found, self.numbers(&about[what]), tolerance)
        };
        (worst("adapted", adapted, tolerance::FEATURES), worst("projected", projected, tolerance::PROJECTED))
    }

    /// The names of all images.
    pub fn image_names(&self) -> Vec<&str> {
        self.images().map(|(name, _)| name.as_str()).collect()
    }

    /// The images of a case, in order.
    pub fn case_images(&self, case: &str) -> Vec<Image> {
        let names = self.json["cases"][case]["images"].as_array().into_iter().flatten();
        names.filter_map(Value::as_str).map(|name| self.image(name)).collect()
    }

    /// The most likely tokens after a case.
    pub fn greedy(&self, case: &str) -> Vec<u32> {
        list(&self.json["cases"][case]["greedy"])
    }

    /// The names of all cases.
    pub fn cases(&self) -> Vec<&str> {
        self.json["cases"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// The tokens of a case and the normalised pixels of all its tiles.
    ///
    /// # Panics
    /// When there is no such case.
    pub fn prompt(&self, name: &str) -> (Vec<u32>, Vec<f32>) {
        let config = VisionConfig::from_hf(&self.config).expect("a configuration").expect("a tower");
        let case = &self.json["cases"][name];
        let pixels = self.case_images(name).into_iter();
        let pixels = pixels.flat_map(|image| Tiles::new(&image, &config).expect("tiles").pixels);
        (list(&case["ids"]), pixels.collect())
    }

    /// Holds the logits of every position of a case against transformers; gives the largest difference.
    ///
    /// # Panics
    /// When they are off by more than [`tolerance`] allows.
    pub fn check_logits(&self, name: &str, logits: &[Vec<f32>]) -> f32 {
        let case = &self.json["cases"][name];
        let positions = list(&case["positions"]);
        let expected = self.numbers(&case["logits"]);
        let rows = expected.chunks_exact(expected.len() / positions.len());
        let check = |(row, position): (&[f32], u32)| {
            let what = format!("{name}: logits at position {position}");
            assert_close(&what, &logits[position as usize], row, tolerance::LOGITS)
        };
        rows.zip(positions).map(check).fold(0.0, f32::max)
    }

    /// [`check_logits`](Self::check_logits) of the last position alone.
    ///
    /// # Panics
    /// As it.
    pub fn check_logits_after(&self, name: &str, logits: &[f32]) {
        let expected = self.numbers(&self.json["cases"][name]["logits"]);
        let last = &expected[expected.len() - logits.len()..];
        assert_close(&format!("{name}: logits after the last token"), logits, last, tolerance::LOGITS);
    }

    fn check_case(
        &self,
        name: &str,
        case: &Value,
        used: &[&str],
        features: &BTreeMap<&str, Features>,
        (model, device): (&Arc<Llama>, &dyn Device),
        batch: usize,
    ) -> f32 {
        let ids = list(&case["ids"]);
        // Our own expansion of placeholders gives the same tokens.
        let layouts: Vec<ImageLayout> = used
            .iter()
            .map(|image| {
                let about = &self.json["images"][*image];
                let (rows, cols) = (number(&about["rows"]) as u32, number(&about["cols"]) as u32);
                ImageLayout { rows, cols, patches: 4 }
            })
            .collect();
        let mut placeholders = Vec::new();
        let mut inside = false;
        for &id in &ids {
            inside |= id == self.ids.start;
            if !inside {
                placeholders.push(id);
            } else if id == self.ids.end {
                placeholders.push(self.ids.image);
                inside = false;
            }
        }
        assert_eq!(expand(&placeholders, &self.ids, &layouts).expect("a prompt"), ids, "{name}: tokens");

        let used: Vec<Features> = used.iter().map(|image| features[image].clone()).collect();
        let embeds = place(&ids, 0, self.ids.patch, &used).expect("a place for each row");
        let options = StateOptions { kv: Elem::F32, batch, ..StateOptions::default() };
        let fork = device.fork().expect("a fork");
        let mut session = SessionState::new(model.clone(), fork, &options).expect("a session");
        let mut logits = Vec::new();
        let mut keep = |_: u64, row: &[f32]| {
            logits.push(row.to_vec());
            Ok(())
        };
        let mut pass = Pass { embeds: &embeds, logits: Some(&mut keep), ..Pass::new(Want::All) };
        session.feed_with(&ids, &mut pass).expect("a pass");
        let off = self.check_logits(name, &logits);
        let expected = self.greedy(name);
        let mut greedy = vec![argmax(session.logits(None).expect("logits"))];
        while greedy.len() < expected.len() {
            greedy.push(argmax(session.decode(greedy[greedy.len() - 1]).expect("a step")));
        }
        assert_eq!(greedy, expected, "{name}: greedy tokens");
        off
    }
}

/// The hash of bytes that the golden files use (Fowler, Noll, Vo, "1a", 64 bits).
fn fnv(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_core::RefDevice;

    #[test]
    fn pixels_are_pillows() {
        let golden = VisionGolden::load();
        let config = VisionConfig::from_hf(&golden.config).unwrap().unwrap();
        golden.check_pixels(&config);
    }

    #[test]
    fn features_and_logits_are_those_of_transformers() {
        let golden = VisionGolden::load();
        for (tiles, batch) in [(3, 512), (17, 7)] {
            golden.check(Box::new(RefDevice::new()), tiles, batch);
        }
    }
}
