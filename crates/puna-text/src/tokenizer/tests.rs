//! Tests of tokenizers on small vocabularies of their own.
