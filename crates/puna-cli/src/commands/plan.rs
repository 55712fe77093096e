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
            "total": plan.total(),
            "weights_per_token": plan.weights_per_token,
            "kv_per_token": plan.kv_per_token,
            "multiply_adds_per_token": plan.multiply_adds_per_token,
        }));
    }
    let row = |name: &str, bytes: u64, note: &str| vec![name.to_string(), size(bytes), note.to_string()];
    let context = format!("of a full context of {} tokens; taken as it fills", plan.context);
    let rows = [
        row("weights", plan.weights, "mapped from the file"),
        row("keys and values", plan.kv, &context),
        row("activations", plan.activations, "of the largest batch"),
        row("together", plan.total(), ""),
        row("weights read", plan.weights_per_token, "for each decoded token"),
        row("keys and values read", plan.kv_per_token, "for the last token of a full context"),
    ];
    output::text(&table(&rows))
}
