//! Writes every kernel as WGSL, SPIR-V, MSL and, but for cooperative matrices, HLSL into a folder, for compilers and validators to look at.
#![expect(clippy::print_stdout, reason = "a command")]

use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use puna_shaders::Kernel;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: translate DIR")?);
    fs::create_dir_all(&folder)?;
    for kernel in Kernel::all() {
        let file =
            |extension: &str| folder.join(kernel.name().replace(['/', ' '], "_")).with_extension(extension);
        let source = kernel.source()?;
        fs::write(file("wgsl"), &source)?;
        let module = naga::front::wgsl::parse_str(&source)?;
        let info = Validator::new(ValidationFlags::all(), Capabilities::all())
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&module)?;
        let sizes = kernel.cooperative().then(|| (Kernel::THREADS.into(), 128.0)).into_iter().collect();
        let (module, info) = pipeline_constants::process_overrides(&module, &info, None, &sizes)?;
        let words = spv::write_vec(
            &module,
            &info,
            &spv::Options { lang_version: (1, 3), ..Default::default() },
            None,
        )?;
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        fs::write(file("spv"), bytes)?;
        let options =
            msl::Options { fake_missing_bindings: true, lang_version: (2, 4), ..Default::default() };
        let (metal, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())?;
        fs::write(file("metal"), metal)?;
        if kernel.cooperative() {
            continue;
        }
        let mut text = String::new();
        let model = if kernel.half() { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V6_0 };
        let options = hlsl::Options { shader_model: model, ..Default::default() };
        let pipeline = hlsl::PipelineOptions::default();
        hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None)?;
        fs::write(file("hlsl"), text)?;
    }
    println!("{} kernels in {}", Kernel::all().len(), folder.display());
    Ok(())
}
