//! What the mesh costs a unary call: tonic with everything on, against tonic and against hyper without a mesh.
//!
//! ```text
//! mesh    tonic client ► MeshChannel: route, split, balance ► mTLS ► mesh_server: authorization ► handlers
//! tonic   tonic client ► tonic::Channel ►                     mTLS ► tonic's server             ► the same handlers
//! hyper   the bytes of a gRPC call ► hyper's SendRequest ►    mTLS ► tonic's server             ► the same handlers
//! ```
//! Certificates, TLS settings and message are the same for all, and each has one connection, which is asserted. It is one process:
//! callers, servers and control plane have a runtime each, the first two of one worker, so that a call crosses threads and
//! loopback TCP as it does between processes. The mesh's configuration comes from a real control plane by xDS.
//!
//! Machines are noisy, so speed is told as ratios within one run: contenders take turns, in an order that is turned round from
//! round to round, and what is printed is the median of the rounds' ratios with its quartiles. Allocations and
//! instructions are counted, of client and server together, on one thread.

mod bare;
mod contender;
mod count;
mod fleet;
mod time;

fn main() {
    // Cargo adds `--bench`; a child that is run under callgrind has a word and a contender's name.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match &arguments[..] {
        [] => {
            time::print();
            count::print_allocations();
            count::print_instructions();
        }
        [word, name] if word == count::CHILD => count::child(name),
        _ => {
            eprintln!("usage: cargo bench -p mesh-tests --bench unary (it takes no arguments)");
            std::process::exit(2);
        }
    }
}
