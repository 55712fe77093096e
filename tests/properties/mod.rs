//! Random histories and random files: whatever the way, the result is that of the straight way.

mod cache;
mod formats;
