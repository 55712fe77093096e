//! Tests of the prompt format without a tokenizer.
