//! Round trips and edge cases of safetensors reading, joining and writing.
