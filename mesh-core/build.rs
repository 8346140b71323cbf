//! Compiles the protocols that are not part of `envoy-types`, without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["istio/ca.proto", "mesh/registry.proto"];
    for file in files {
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
