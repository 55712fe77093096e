//! `puna dequant`: one tensor of a GGUF file as 32-bit floats.

use crate::args::DequantArgs;
use crate::failure::{Context, Failure, Result};
use crate::npy::NpyWriter;
use puna_core::quant::dequantize_row;
use puna_format::gguf::{Gguf, TensorInfo};
use puna_format::{FileSource, Limits, Named, Source};

/// Values converted at once.
const CHUNK: usize = 1 << 16;

pub(crate) fn run(args: &DequantArgs) -> Result<()> {
    let name = args.file.display();
    let file = FileSource::open(&args.file).at(&name)?;
    let gguf = Gguf::read(&file, &Limits::default()).at(&name)?;
    let tensor = gguf.tensors.named(&args.tensor).ok_or_else(|| {
        let like: Vec<&str> =
            gguf.tensors.iter().map(Named::name).filter(|n| n.contains(&args.tensor)).take(4).collect();
        let found = match (like.is_empty(), gguf.tensors.len()) {
            (true, n) => format!("none of that name among {n}"),
            (false, _) => format!("only {}, …", like.join(", ")),
        };
        Failure::new(format_args!("{name}: expected tensor {}, found {found}", args.tensor))
    })?;
    write(&file, tensor, args).at(&name)
}

fn write(file: &FileSource, tensor: &TensorInfo, args: &DequantArgs) -> Result<()> {
    let dtype = tensor.dtype.as_dtype().ok_or_else(|| {
        Failure::new(format_args!("tensor {}: expected a weight format, found {}", tensor.name, tensor.dtype))
    })?;
    let shape: Vec<u64> = tensor.shape.iter().rev().copied().collect();
    let out = args.out.display();
    let mut npy = NpyWriter::create(&args.out, &shape).at(&out)?;
    let mut left = tensor.n_elements();
    let mut offset = tensor.range.start;
    // Rows are whole blocks, so the tensor is one sequence of blocks and can be cut between any two.
    while left > 0 {
        let n = (CHUNK as u64).min(left) as usize;
        let mut bytes = vec![0; n / dtype.block_len() * dtype.block_bytes()];
        let mut values = vec![0.0; n];
        file.read_at(offset, &mut bytes)?;
        dequantize_row(dtype, &bytes, &mut values).at(&tensor.name)?;
        npy.write(&values).at(&out)?;
        offset += bytes.len() as u64;
        left -= n as u64;
    }
    npy.finish().at(&out)
}
