//! Tests of the whole model against printed golden values.
