//! A vision tower as the tensors and keys of an `mmproj` GGUF file, in llama.cpp's names.

use super::mix::Role;
use super::{Export, Keep, List, Source};
use crate::error::with_capacity;
use crate::vision::{Norm, Vision, VisionConfig, tables};
use crate::weights::LoadWatch;
use crate::{Result, TensorSource};
use alloc::format;
use alloc::vec::Vec;
use puna_core::DType;
use puna_format::gguf::{Array, Metadata, Value};

/// The patch embedding, which files hold as the convolution that it is.
const PATCH: &str = "v.patch_embd.weight";

impl Export<VisionConfig> {
    /// Binds the vision tower in `tensors`.
    ///
    /// # Errors
    /// As [`Vision::load`].
    pub fn tower(
        config: VisionConfig,
        tensors: &dyn TensorSource,
        watch: &mut LoadWatch<'_>,
    ) -> Result<Export<VisionConfig>> {
        let [class, positions] = tables(tensors)?;
        let mut keep = Keep::default();
        let tower = Vision::load(config, tensors, &mut keep, watch)?;
        let list = list(&tower, &keep, class, positions)?;
        let mut export = Export { config: tower.config, tensors: list, regions: keep.regions };
        let patch = tower.patch;
        let mut values = with_capacity(patch.n_out.saturating_mul(patch.n_in))?;
        values.resize(patch.n_out.saturating_mul(patch.n_in), 0.0);
        export.part(&patch, 0..patch.n_out, None, &mut values);
        if let Some(tensor) = export.tensors.first_mut() {
            tensor.rows = Source::Values(values);
        }
        Ok(export)
    }

    /// The formats of all tensors where matrices are to be `wanted`, or as they are stored. Vectors and the position table
    /// stay F32; where a row is no whole number of blocks, F16 takes their place.
    pub fn dtypes(&self, wanted: Option<DType>) -> Vec<DType> {
        let dtype = |tensor: &super::OutTensor| match (&tensor.rows, wanted) {
            (Source::Values(_), Some(dtype)) if tensor.name == PATCH && dtype.is_plain() => dtype,
            (Source::Values(_), Some(_)) if tensor.name == PATCH => DType::F16,
            (Source::Values(_), _) => DType::F32,
            (Source::Mats { .. }, Some(dtype)) if dtype.row_bytes(tensor.width()).is_some() => dtype,
            (Source::Mats { .. }, Some(_)) => DType::F16,
            // Factors beside a matrix have no place in the file.
            (Source::Mats { mats, .. }, None) if mats.iter().any(|mat| mat.scale.is_some()) => DType::F32,
            (Source::Mats { .. }, None) => tensor.dtype().unwrap_or(DType::F32),
        };
        self.tensors.iter().map(dtype).collect()
    }

    /// Sets the keys that describe the written tower.
    pub fn keys(&self, metadata: &mut Metadata) {
        let config = &self.config;
        metadata.set("general.architecture", "clip");
        metadata.set("general.type", "mmproj");
        metadata.set("clip.has_vision_encoder", Value::Bool(true));
        metadata.set("clip.projector_type", "llama4");
        metadata.set("clip.use_gelu", Value::Bool(true));
        let mut set = |key: &str, value: Value| metadata.set(format!("clip.vision.{key}"), value);
        for (key, n) in [
            ("image_size", config.image_size),
            ("patch_size", config.patch_size),
            ("embedding_length", config.hidden),
            ("feed_forward_length", config.n_ff),
            ("block_count", config.n_layers),
            ("attention.head_count", config.n_heads),
            ("projection_dim", config.projected),
            ("projector.scale_factor", config.shuffle),
        ] {
            set(key, Value::U32(u32::try_from(n).unwrap_or(u32::MAX)));
        }
        set("attention.layer_norm_epsilon", Value::F32(config.norm_eps));
        set("rope.freq_base", Value::F32(config.rope_theta as f32));
        set("image_mean", Value::Array(Array::F32(config.mean.to_vec())));
        set("image_std", Value::Array(Array::F32(config.std.to_vec())));
    }
}

/// Every tensor in the order in which they are written; the first is the patch embedding, still without values.
fn list(tower: &Vision, keep: &Keep, class: Vec<f32>, positions: Vec<f32>) -> Result<Vec<super::OutTensor>> {
    let VisionConfig { hidden, patch_size, .. } = tower.config;
    let mut list = List { halves: None, keep, tensors: Vec::new() };
    list.push(PATCH, &[hidden, 3, patch_size, patch_size], None, Source::Values(Vec::new()))?;
    list.push("v.class_embd", &[hidden], None, Source::Values(class))?;
    let shape = [positions.len() / hidden.max(1), hidden];
    list.push("v.position_embd.weight", &shape, None, Source::Values(positions))?;
    let norm = |list: &mut List<'_>, name: &str, norm: Norm| {
        list.vector(name, norm.weight)?;
        let bias = list.floats(norm.bias)?;
        list.push(&format!("{name}.bias"), &[bias.len()], None, Source::Values(bias))
    };
    norm(&mut list, "v.pre_ln", tower.norm_pre)?;
    for (i, layer) in tower.layers.iter().enumerate() {
        let name = |part: &str| format!("v.blk.{i}.{part}");
        norm(&mut list, &name("ln1"), layer.norm1)?;
        norm(&mut list, &name("ln2"), layer.norm2)?;
        for (part, linear) in [
            ("attn_q", &layer.q),
            ("attn_k", &layer.k),
            ("attn_v", &layer.v),
            ("attn_out", &layer.o),
            ("ffn_up", &layer.fc1),
            ("ffn_down", &layer.fc2),
        ] {
            list.linear(&name(part), linear, Role::Other, i, false)?;
        }
    }
    norm(&mut list, "v.post_ln", tower.norm_post)?;
    let [fc1, fc2] = tower.adapter;
    list.mat("mm.model.mlp.1", fc1, Role::Other, 0)?;
    list.mat("mm.model.mlp.2", fc2, Role::Other, 0)?;
    list.mat("mm.model.fc", tower.projector, Role::Other, 0)?;
    Ok(list.tensors)
}
