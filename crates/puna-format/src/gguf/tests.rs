//! Round trips and edge cases of GGUF reading, joining and writing.
