//! `puna plan`: what a model needs of memory before it is loaded.

use crate::args::PlanArgs;
use crate::failure::Result;
use crate::load::{load_options, session_options};
use crate::output::{self, size, table};
use puna::{MemoryPlan, Model, Share};
use serde_json::{Value, json};

pub(crate) fn run(args: &PlanArgs) -> Result<()> {
    let options = session_options(&args.options, None, true);
    let plan = Model::plan(&args.model, &load_options(&args.options), &options)?;
    if args.json {
        return output::json(&json!({
            "context": plan.context,
            "weights": plan.weights,
            "kv": plan.kv,
            "activations": plan.activations,
            "vision_weights": plan.vision_weights,
            "vision_activations": plan.vision_activations,
            "total": plan.total(),
            "weights_per_token": plan.weights_per_token,
            "kv_per_token": plan.kv_per_token,
            "multiply_adds_per_token": plan.multiply_adds_per_token,
            "multiply_adds_per_tile": plan.multiply_adds_per_tile,
            "device": share(&plan.device),
            "cpu": share(&plan.cpu),
        }));
    }
    let row = |name: &str, bytes: u64| vec![name.to_string(), size(bytes)];
    let context = plan.context;
    let mut rows = vec![
        row("weights, mapped from the file", plan.weights),
        row(&format!("keys and values of {context} tokens, taken as they come"), plan.kv),
        row("activations of the largest batch", plan.activations),
    ];
    if plan.vision_weights > 0 {
        rows.push(row("vision tower, mapped from the file", plan.vision_weights));
        rows.push(row("activations while an image is encoded", plan.vision_activations));
    }
    rows.extend([
        row("together", plan.total()),
        row("weights read for each decoded token", plan.weights_per_token),
        row(&format!("keys and values read for token {context}"), plan.kv_per_token),
    ]);
    let mut text = table(&rows);
    if args.options.placement.is_some() {
        text += "\n";
        text += &table(&shares(&plan));
    }
    output::text(&text)
}

fn share(s: &Share) -> Value {
    json!({
        "weights": s.weights,
        "kv": s.kv,
        "activations": s.activations,
        "total": s.total(),
        "weights_per_token": s.weights_per_token,
        "moved_per_token": s.moved_per_token,
    })
}

/// Both devices beside each other.
fn shares(plan: &MemoryPlan) -> Vec<Vec<String>> {
    let (device, cpu) = (&plan.device, &plan.cpu);
    let row = |name: &str, of: fn(&Share) -> u64| vec![name.to_string(), size(of(device)), size(of(cpu))];
    vec![
        ["", "device", "processor"].map(String::from).to_vec(),
        row("weights", |s| s.weights),
        row("keys and values", |s| s.kv),
        row("activations", |s| s.activations),
        row("together", Share::total),
        row("weights read for each decoded token", |s| s.weights_per_token),
        row("rows that come from the other for each token", |s| s.moved_per_token),
    ]
}
