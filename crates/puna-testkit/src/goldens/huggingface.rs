//! A golden model as Hugging Face folders have it.

use super::{Golden, Rounding, Seeded, encode};
use crate::files::ModelDir;
use puna_format::safetensors::{StDType, StWriter};
use serde_json::{Map, Value, json};

pub(super) fn file(tensors: &[Seeded], rounding: Rounding) -> Vec<u8> {
    let dtype = match rounding {
        Rounding::F32 => StDType::F32,
        Rounding::BF16 => StDType::BF16,
        other => panic!("no folder has weights in {other:?}"),
    };
    let mut writer = StWriter::new();
    writer.metadata("format", "pt");
    for tensor in tensors {
        let shape: Vec<u64> = tensor.shape.iter().map(|&n| n as u64).collect();
        writer.tensor(&tensor.name, &shape, dtype).expect("a tensor");
    }
    let mut stream = writer.start(Vec::new()).expect("a header");
    for tensor in tensors {
        let values = tensor.values();
        stream
            .write(&tensor.name, &encode(rounding.dtype(), &values, values.len()))
            .expect("a tensor's bytes");
    }
    stream.finish().expect("a whole file")
}

pub(super) fn folder(golden: &Golden, rounding: Rounding, n_shards: usize, directory: &ModelDir) {
    let mut config = golden.config.clone();
    config["torch_dtype"] = if rounding == Rounding::BF16 { "bfloat16".into() } else { "float32".into() };
    directory.write("config.json", &serde_json::to_vec_pretty(&config).expect("JSON"));
    if n_shards <= 1 {
        directory.write("model.safetensors", &golden.safetensors(rounding));
        return;
    }
    let mut map = Map::new();
    let mut total = 0;
    for (index, shard) in golden.tensors.chunks(golden.tensors.len().div_ceil(n_shards)).enumerate() {
        let name = format!("model-{:05}-of-{n_shards:05}.safetensors", index + 1);
        directory.write(&name, &file(shard, rounding));
        for tensor in shard {
            map.insert(tensor.name.clone(), Value::from(name.clone()));
            let bytes = if rounding == Rounding::BF16 { 2 } else { 4 };
            total += bytes * tensor.shape.iter().product::<usize>();
        }
    }
    let index = json!({ "metadata": { "total_size": total }, "weight_map": map });
    directory.write("model.safetensors.index.json", &serde_json::to_vec_pretty(&index).expect("JSON"));
}
