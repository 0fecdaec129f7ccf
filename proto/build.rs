//! Compiles Tidegate's own .proto files without protoc on the machine.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["tidegate/v1/gossip.proto", "tidegate/v1/prober.proto", "tidegate/v1/record.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let set = protox::compile(files, ["."])?;
    tonic_prost_build::configure().compile_fds(set)?;
    Ok(())
}
