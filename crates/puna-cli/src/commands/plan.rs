//! `puna plan`: what a model needs of memory before it is loaded.

use crate::args::PlanArgs;
use crate::failure::Result;
use crate::load::{load_options, session_options};
use crate::output::{self, size, table};
use puna::Model;
use serde_json::json;

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
    output::text(&table(&rows))
}
