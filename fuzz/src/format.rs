//! Model files from hostile bytes: whatever they are, a table or an error, and what parses survives a round trip.
#![expect(clippy::expect_used, reason = "a fuzz target reports by panicking")]

use puna_format::gguf::{Gguf, GgufSet, GgufWriter, Strings, split};
use puna_format::safetensors::{SafeTensors, ShardIndex, ShardSet};
use puna_format::{Limits, json};

/// A GGUF file: parsed, read through typed access, written again and parsed to the same.
pub fn gguf(data: &[u8]) {
    let limits = Limits::default();
    let Ok(file) = Gguf::read(data, &limits) else {
        return;
    };
    for tensor in &file.tensors {
        assert!(tensor.range.start >= file.data_offset && tensor.range.end <= data.len() as u64);
        assert_eq!(file.tensors.named(&tensor.name), Some(tensor));
    }
    for (key, _) in file.metadata.iter() {
        // A wrong type is an answer; only a panic is not.
        let _ = file.metadata.find::<u32>(key);
        let _ = file.metadata.find::<f32>(key);
        let _ = file.metadata.find_per_layer::<i32>(key, 4);
        let _ = file.metadata.find::<Vec<f32>>(key);
        if let Ok(Some(strings)) = file.metadata.find::<&Strings>(key) {
            assert_eq!(strings.iter().map(str::len).sum::<usize>(), strings.text_len());
        }
    }
    let _ = GgufSet::join(vec![file.clone()], &limits);
    // GGUF readers accept no longer names, so the writer refuses what this reader tolerates.
    if file.tensors.iter().any(|t| t.name.len() > 63) {
        return;
    }
    let again = rewrite(&file, data).expect("what was read can be written");
    let again = Gguf::read(&again[..], &limits).expect("what was written can be read");
    assert_eq!(again.tensors.len(), file.tensors.len());
    // NaN is unequal to itself, so the keys are compared as text.
    assert_eq!(format!("{:?}", again.metadata), format!("{:?}", file.metadata));
    if let Some(name) = core::str::from_utf8(data).ok().and_then(split::parse_name) {
        assert_eq!(split::parse_name(&name.sibling(name.no)), Some(name));
    }
}

fn rewrite(file: &Gguf, data: &[u8]) -> puna_format::Result<Vec<u8>> {
    let mut writer = GgufWriter::with_metadata(file.metadata.clone());
    for tensor in &file.tensors {
        writer.tensor(&tensor.name, &tensor.shape, tensor.dtype)?;
    }
    let mut stream = writer.start(Vec::new())?;
    for tensor in &file.tensors {
        stream.write(&tensor.name, &data[tensor.range.start as usize..tensor.range.end as usize])?;
    }
    stream.finish()
}

/// A safetensors file.
pub fn safetensors(data: &[u8]) {
    let Ok(file) = SafeTensors::read(data, &Limits::default()) else {
        return;
    };
    let mut end = file.data_offset;
    for tensor in &file.tensors {
        assert_eq!(tensor.range.start, end);
        end = tensor.range.end;
        assert_eq!(file.tensors.named(&tensor.name), Some(tensor));
    }
    assert_eq!(end, data.len() as u64);
    ShardSet::single(file).expect("a valid file is a model of one file");
}

/// A `model.safetensors.index.json`.
pub fn index(data: &[u8]) {
    let Ok(index) = ShardIndex::parse(data, &Limits::default()) else {
        return;
    };
    for (_, file) in &index.weight_map {
        let name = &index.files[*file];
        assert!(!name.contains(['/', '\\', ':']) && !name.starts_with('.'));
    }
    assert!(ShardSet::join(&index, &[]).is_err());
}

/// A `config.json`, every field read as every type.
pub fn config(data: &[u8]) {
    let Ok(value) = json::parse(data, &Limits::default()) else {
        return;
    };
    let Ok(root) = json::Object::root(&value) else {
        return;
    };
    let mut todo = vec![root];
    while let Some(object) = todo.pop() {
        for (key, _) in object.iter() {
            let _ = object.find::<u32>(key);
            let _ = object.find::<f32>(key);
            let _ = object.find::<bool>(key);
            let _ = object.find::<Vec<u64>>(key);
            if let Err(error) = object.find::<&str>(key) {
                assert!(error.what().ends_with(key));
            }
            todo.extend(object.object(key).ok().flatten());
        }
    }
}
