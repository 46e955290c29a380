//! Compiles the BPF programs and generates their Rust skeleton: maps, programs, and the structures
//! they share with user space, from BTF.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let bpf = Path::new("bpf");
    println!("cargo:rerun-if-changed={}", bpf.display());
    let mut arguments = vec!["-mcpu=v3".to_owned(), "-Wall".to_owned(), "-Werror".to_owned()];
    // The library's own headers, then the kernel's for the architecture (`asm/types.h`), which a
    // compiler for the bpf target does not look for by itself.
    if let Ok(include) = env::var("DEP_BPF_INCLUDE") {
        arguments.push(format!("-I{include}"));
    }
    let machine = env::var("CARGO_CFG_TARGET_ARCH")?;
    arguments.push(format!("-idirafter/usr/include/{machine}-linux-gnu"));
    SkeletonBuilder::new()
        .source(bpf.join("selvage.bpf.c"))
        .clang_args(arguments)
        .build_and_generate(out.join("selvage.skel.rs"))?;
    Ok(())
}
