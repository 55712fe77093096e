//! `puna devices`: what can compute here.

use crate::args::DevicesArgs;
use crate::failure::Result;
use crate::output::{self, size, table};
use puna::GpuInfo;
use serde_json::{Value, json};

pub(crate) fn run(args: &DevicesArgs) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (isas, memory, gpus) = (puna::instruction_sets(), memory(), puna::gpus());
    if args.json {
        return output::json(&json!({
            "cpu": { "threads": threads, "instruction_sets": isas, "memory": memory },
            "gpus": gpus.iter().map(gpu).collect::<Vec<_>>(),
        }));
    }
    let memory = memory.map_or("memory not told".into(), |bytes| format!("{} of memory", size(bytes)));
    let mut text = format!("cpu: {threads} threads, {memory}, instruction sets {}\n", isas.join(", "));
    if gpus.is_empty() {
        text += "no GPU that Vulkan, Metal or DX12 reaches\n";
    }
    for g in &gpus {
        let kind = if g.software { ", computed by the processor" } else { "" };
        text += &format!("gpu:{}: {} ({}{kind})\n", g.index, g.name, g.backend);
        let row = |name: &str, value: String| vec![name.to_string(), value];
        text += &table(&[
            row("driver", g.driver.clone()),
            row("largest buffer", size(g.max_buffer)),
            row("largest binding", size(g.max_binding)),
            row("threads of a workgroup", g.max_workgroup.to_string()),
            row("memory of a workgroup", size(g.workgroup_bytes.into())),
            row("threads in step", g.subgroup.map_or("not used".into(), in_step)),
            row("16-bit floats", if g.f16 { "yes" } else { "no" }.into()),
        ]);
    }
    output::text(&text)
}

fn in_step((least, most): (u32, u32)) -> String {
    if least == most { least.to_string() } else { format!("{least} to {most}") }
}

fn gpu(g: &GpuInfo) -> Value {
    json!({
        "index": g.index,
        "name": g.name,
        "backend": g.backend,
        "driver": g.driver,
        "software": g.software,
        // No interface that puna uses tells how much there is.
        "memory": null,
        "max_buffer": g.max_buffer,
        "max_binding": g.max_binding,
        "max_workgroup": g.max_workgroup,
        "workgroup_bytes": g.workgroup_bytes,
        "subgroup": g.subgroup.map(|(least, most)| [least, most]),
        "f16": g.f16,
    })
}

/// Bytes of the machine's memory, from Linux's `/proc`; nothing elsewhere.
fn memory() -> Option<u64> {
    let all = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
