//! Every kernel expands, validates, keeps WebGPU's default limits, and translates to SPIR-V, MSL and HLSL.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests fail by panicking")]

use naga::back::{hlsl, msl, pipeline_constants, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ResourceBinding, StorageAccess};
use puna_shaders::{Access, Kernel, Narrow};
use std::collections::HashSet;
use std::io::Write;
use std::process::{Command, Stdio};

fn module(kernel: &Kernel) -> (Module, ModuleInfo) {
    let source = kernel.source().unwrap();
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|e| panic!("{}:\n{}", kernel.name(), e.emit_to_string(&source)));
    // `unpack2x16float` is part of WebGPU, and naga's one name for what GL may lack. Nothing optional is used but by the
    // kernels that say so.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SHADER_FLOAT16, kernel.half());
    capabilities.set(Capabilities::COOPERATIVE_MATRIX, kernel.cooperative());
    let tier = matches!(kernel, Kernel::Product { tier, .. } if tier.subgroups());
    capabilities.set(Capabilities::SUBGROUP, kernel.lanes() || kernel.cooperative() || tier);
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{}: {}", kernel.name(), e.emit_to_string(&source)));
    // Subgroups of 64 make the largest workgroups that default limits allow.
    let sizes = kernel.cooperative().then(|| (Kernel::THREADS.into(), 256.0)).into_iter().collect();
    let sized = pipeline_constants::process_overrides(&module, &info, None, &sizes).unwrap();
    (sized.0.into_owned(), sized.1.into_owned())
}

#[test]
fn names_are_unique() {
    let all = Kernel::all();
    let names: HashSet<_> = all.iter().map(Kernel::name).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.len() > 150, "{}", all.len());
}

#[test]
fn bindings_are_what_the_catalogue_says() {
    for kernel in Kernel::all() {
        let (module, _) = module(&kernel);
        let mut found = vec![None; kernel.bindings().len()];
        let mut params = 0;
        for (_, var) in module.global_variables.iter() {
            match (var.space, var.binding) {
                (AddressSpace::Uniform, Some(ResourceBinding { group: 0, binding: 0 })) => params += 1,
                (AddressSpace::Uniform, Some(ResourceBinding { group: 1, binding })) => {
                    found[binding as usize] = Some(Access::Uniform);
                }
                (AddressSpace::Storage { access }, Some(ResourceBinding { group: 1, binding })) => {
                    let writes = access.contains(StorageAccess::STORE);
                    found[binding as usize] = Some(if writes { Access::ReadWrite } else { Access::Read });
                }
                (AddressSpace::WorkGroup | AddressSpace::Private, None) => {}
                other => panic!("{}: {other:?}", kernel.name()),
            }
        }
        assert_eq!(params, 1, "{}", kernel.name());
        // A matrix kernel leaves no hole: each listed binding exists with that access.
        let expected: Vec<_> = kernel.bindings().iter().copied().map(Some).collect();
        assert_eq!(found, expected, "{}", kernel.name());
        // WebGPU's default limits; the parameters are a uniform too.
        let uniforms = expected.iter().filter(|a| **a == Some(Access::Uniform)).count();
        assert!(expected.len() - uniforms <= 8 && uniforms < 12, "{}", kernel.name());
    }
}

#[test]
fn default_limits_hold() {
    for kernel in Kernel::all() {
        let (module, _) = module(&kernel);
        let [entry] = &module.entry_points[..] else { panic!("{}", kernel.name()) };
        assert_eq!(entry.name, "main");
        assert!(entry.workgroup_size.iter().product::<u32>() <= 256, "{}", kernel.name());
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared = module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
        let shared: u32 = shared.map(|(_, v)| layouter[v.ty].size).sum();
        assert!(shared <= 16 * 1024, "{}", kernel.name());
        for (_, var) in module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::Uniform) {
            // The device gives each dispatch this many bytes of parameters.
            let parameters = var.binding.is_some_and(|b| b.group == 0);
            let limit = if parameters { 256 } else { Kernel::WINDOW as u32 };
            assert!(layouter[var.ty].size <= limit, "{}", kernel.name());
        }
    }
}

/// The validator that knows cooperative matrices: `cargo xtask models` fetches it.
const NEWER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/models/spirv/spirv-val");

/// What Khronos' validator says of SPIR-V; `None` where it is not installed, or the one for cooperative matrices is not there.
fn spirv_val(words: &[u32], cooperative: bool) -> Option<Result<(), String>> {
    // Of Vulkan's own rules, the newer one has one about arrays in memory of the workgroup that naga does not keep.
    let (program, rules) = if cooperative { (NEWER, "spv1.3") } else { ("spirv-val", "vulkan1.1") };
    let mut child = Command::new(program)
        .args(["--target-env", rules, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&said).into_owned()) })
}

/// The first word of SPIR-V's `OpSDot` with a format of packed vectors.
const DOT: u32 = 6 << 16 | 4450;

/// MSL and HLSL have no compiler here; SPIR-V is validated where `spirv-val` is installed, which `cargo xtask test` sees to.
#[test]
fn translates_to_every_backend() {
    let (mut sizes, mut validated) = ([0usize; 3], 0);
    for kernel in Kernel::all() {
        let name = kernel.name();
        let (module, info) = module(&kernel);
        // Subgroups came with SPIR-V 1.3, as in Vulkan 1.1.
        let options = spv::Options { lang_version: (1, 3), ..Default::default() };
        let words =
            spv::write_vec(&module, &info, &options, None).unwrap_or_else(|e| panic!("{name}: SPIR-V: {e}"));
        if let Some(result) = spirv_val(&words, kernel.cooperative()) {
            result.unwrap_or_else(|e| panic!("{name}: spirv-val: {e}"));
            validated += 1;
        }
        if matches!(kernel, Kernel::Narrow { how: Narrow::Packed, .. }) {
            // With the processor's own instruction, and where there is none.
            assert!(words.contains(&DOT), "{name}");
            let capabilities = Some([spv::Capability::Shader].into_iter().collect());
            let options = spv::Options { lang_version: (1, 3), capabilities, ..Default::default() };
            let without = spv::write_vec(&module, &info, &options, None).unwrap();
            assert!(!without.contains(&DOT), "{name}");
            if let Some(result) = spirv_val(&without, false) {
                result.unwrap_or_else(|e| panic!("{name}: spirv-val: {e}"));
            }
            let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_4, ..Default::default() };
            let pipeline = hlsl::PipelineOptions::default();
            let mut text = String::new();
            hlsl::Writer::new(&mut text, &options, &pipeline).write(&module, &info, None).unwrap();
            assert!(text.contains("dot4add_i8packed"), "{name}");
        }
        let options =
            msl::Options { fake_missing_bindings: true, lang_version: (2, 4), ..Default::default() };
        let (metal, _) = msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("{name}: MSL: {e}"));
        assert!(metal.contains("kernel void main_"), "{name}");
        let mut text = String::new();
        // HLSL has no cooperative matrices in naga, and wgpu offers none on DX12.
        if !kernel.cooperative() {
            let model = if kernel.half() { hlsl::ShaderModel::V6_2 } else { hlsl::ShaderModel::V6_0 };
            let options = hlsl::Options { shader_model: model, ..Default::default() };
            let pipeline = hlsl::PipelineOptions::default();
            hlsl::Writer::new(&mut text, &options, &pipeline)
                .write(&module, &info, None)
                .unwrap_or_else(|e| panic!("{name}: HLSL: {e}"));
            assert!(text.contains("[numthreads("), "{name}");
        }
        sizes = [sizes[0] + words.len(), sizes[1] + metal.len(), sizes[2] + text.len()];
    }
    assert!(sizes.iter().all(|&s| s > 0));
    println!("spirv-val accepted {validated} of {} kernels", Kernel::all().len());
}
