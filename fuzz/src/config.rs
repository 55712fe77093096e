//! Model configurations: mapping, validation, the layer table, and loading of what else the bytes hold.

use puna_core::{PlanDevice, Region};
use puna_format::gguf::{Gguf, GgufSet};
use puna_format::{Limits, json};
use puna_llama::weights::GgufTensors;
use puna_llama::{Config, LayerTable, Llama, LoadWatch};

/// A GGUF file whose metadata is mapped and whose tensors are bound, on a device that only counts.
pub fn config_gguf(data: &[u8]) {
    let limits = Limits::default();
    let Ok(gguf) = Gguf::read(data, &limits) else { return };
    let Ok(set) = GgufSet::join(vec![gguf], &limits) else { return };
    let files = [Region::from_vec(data.to_vec())];
    let tensors = GgufTensors::new(&set, &files);
    if let Some(config) = checked(Config::from_gguf(&set.metadata, &tensors)) {
        let loaded = Llama::load(config, &tensors, &mut PlanDevice::new(), &mut LoadWatch::default());
        if let Err(error) = loaded {
            one_line(&error.to_string());
        }
    }
}

/// A Hugging Face `config.json`.
pub fn config_hf(data: &[u8]) {
    let Ok(value) = json::parse(data, &Limits::default()) else { return };
    checked(Config::from_hf(&value, &[]));
}

/// What was mapped is valid and has a layer table; what was not is an error of one line.
fn checked(config: puna_llama::Result<Config>) -> Option<Config> {
    match config {
        Ok(config) => {
            assert!(config.validate().is_ok(), "mapped but not valid");
            let table = LayerTable::from_config(&config);
            assert!(table.is_ok_and(|table| table.len() == config.n_layers), "one entry a layer");
            Some(config)
        }
        Err(error) => {
            one_line(&error.to_string());
            None
        }
    }
}

fn one_line(message: &str) {
    assert!(!message.is_empty() && !message.contains('\n'), "an error is one line: {message:?}");
}
