//! Compiles the empty program that policy is measured against.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    let bpf = Path::new("bpf");
    println!("cargo:rerun-if-changed={}", bpf.display());
    let mut arguments = vec!["-mcpu=v3".to_owned(), "-Wall".to_owned(), "-Werror".to_owned()];
    if let Ok(include) = env::var("DEP_BPF_INCLUDE") {
        arguments.push(format!("-I{include}"));
    }
    let machine = env::var("CARGO_CFG_TARGET_ARCH")?;
    arguments.push(format!("-idirafter/usr/include/{machine}-linux-gnu"));
    SkeletonBuilder::new()
        .source(bpf.join("empty.bpf.c"))
        .clang_args(arguments)
        .build_and_generate(out.join("empty.skel.rs"))?;
    Ok(())
}
