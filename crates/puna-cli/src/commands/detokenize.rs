//! `puna detokenize`: token ids to text.

use crate::args::{DetokenizeArgs, token_ids};
use crate::failure::{Failure, Result};
use crate::output;

pub(crate) fn run(args: &DetokenizeArgs) -> Result<()> {
    let ids = token_ids(Some(&args.tokens), None)?;
    let tokenizer = puna::internal::tokenizer(&args.tokenizer)?;
    if let Some(id) = ids.iter().find(|&&id| tokenizer.token_bytes(id).is_none()) {
        let size = tokenizer.vocab_size();
        return Err(Failure::new(format_args!(
            "token {id}: expected an id of the vocabulary's {size} tokens"
        )));
    }
    output::text(&(tokenizer.decode(&ids, false) + "\n"))
}
