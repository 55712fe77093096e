//! libFuzzer's entry point for all targets. `PUNA_FUZZ_TARGET` names the one to run.
#![no_main]

use std::sync::OnceLock;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<puna_fuzz::Target> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("PUNA_FUZZ_TARGET").unwrap_or_default();
        puna_fuzz::target(&name).unwrap_or_else(|| panic!("PUNA_FUZZ_TARGET: no target is called {name:?}"))
    });
    target(data);
});
