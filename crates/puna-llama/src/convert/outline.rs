//! Which tensors a GGUF file has, told by the configuration alone: for files whose values come from elsewhere.

use super::mix::Role;
use crate::{Config, LlamaError, Result, export};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// A tensor without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its GGUF name.
    pub name: String,
    /// Dimensions, the contiguous one last.
    pub shape: Vec<usize>,
    /// What it does, and in which layer; `None` for what is never quantised.
    pub role: Option<(Role, usize)>,
}

/// The tensors of a model without biases, in the order in which [`Export`](super::Export) writes them.
///
/// # Errors
/// Out of memory.
pub fn outline(config: &Config) -> Result<Vec<Outline>> {
    let mut list = List(Vec::new());
    let Config { hidden, vocab_size, head_dim, ff_dense, ff_expert, ff_shared, n_experts, .. } = *config;
    let (q, kv) = (config.n_heads * head_dim, config.n_kv_heads * head_dim);
    let embed = if config.tied_embeddings { Role::Head } else { Role::Embed };
    list.add("token_embd", &[vocab_size, hidden], Some((embed, 0)))?;
    if let Some(divisors) = export::rope_divisors(config)? {
        list.add("rope_freqs", &[divisors.len()], None)?;
    }
    for (i, &moe) in config.moe_layers.iter().enumerate() {
        let mut add = |name: &str, shape: &[usize], role: Option<Role>| {
            list.add(&format!("blk.{i}.{name}"), shape, role.map(|role| (role, i)))
        };
        add("attn_norm", &[hidden], None)?;
        add("attn_q", &[q, hidden], Some(Role::Query))?;
        add("attn_k", &[kv, hidden], Some(Role::Key))?;
        add("attn_v", &[kv, hidden], Some(Role::Value))?;
        add("attn_output", &[hidden, q], Some(Role::AttnOut))?;
        add("ffn_norm", &[hidden], None)?;
        let (suffix, width) = if moe { ("_shexp", ff_shared) } else { ("", ff_dense) };
        if moe {
            add("ffn_gate_inp", &[n_experts, hidden], None)?;
            add("ffn_gate_exps", &[n_experts, ff_expert, hidden], Some(Role::Experts))?;
            add("ffn_up_exps", &[n_experts, ff_expert, hidden], Some(Role::Experts))?;
            add("ffn_down_exps", &[n_experts, hidden, ff_expert], Some(Role::ExpertsDown))?;
        }
        add(&format!("ffn_gate{suffix}"), &[width, hidden], Some(Role::Other))?;
        add(&format!("ffn_up{suffix}"), &[width, hidden], Some(Role::Other))?;
        add(&format!("ffn_down{suffix}"), &[hidden, width], Some(Role::Down))?;
    }
    list.add("output_norm", &[hidden], None)?;
    if !config.tied_embeddings {
        list.add("output", &[vocab_size, hidden], Some((Role::Head, 0)))?;
    }
    Ok(list.0)
}

struct List(Vec<Outline>);

impl List {
    fn add(&mut self, name: &str, shape: &[usize], role: Option<(Role, usize)>) -> Result<()> {
        self.0.try_reserve(1).map_err(|_| LlamaError::out_of_memory::<Outline>(1))?;
        self.0.push(Outline { name: format!("{name}.weight"), shape: shape.to_vec(), role });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoadWatch;
    use crate::convert::Export;
    use crate::tests::tiny;

    /// The outline is that of the file that an export of the same configuration makes.
    #[test]
    fn an_export_has_its_outline() {
        let mut tied = tiny::golden();
        tied.tied_embeddings = true;
        for config in [tiny::golden(), tied] {
            let tensors = tiny::tensors(&config);
            let export = Export::new(config.clone(), &tensors, &mut LoadWatch::default()).unwrap();
            let written = export.tensors.iter();
            let written: Vec<Outline> = written
                .map(|t| Outline { name: t.name.clone(), shape: t.shape.clone(), role: t.role })
                .collect();
            assert_eq!(outline(&config).unwrap(), written);
        }
    }
}
