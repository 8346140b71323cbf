//! The registry: which instances serve what, and where, for as long as their leases are renewed.
//!
//! ```text
//!   gRPC Register ─► registrar (one task) ─► Leases (pure) ─► changed? ─► store endpoints/… ─► acknowledged
//!                                              │
//!                                              └─► watch: the instances, for translation and `status`
//! ```
//! What may be registered follows from the grant of the caller's certificate. Only changes are stored; a renewal costs no
//! fsync. A restarted control plane gives every stored instance one full lease, so that its absence removes nobody.
//!
//! # Layout
//! `instance` values and their stored form · `admission` request and grant to instance · `lease` the state machine ·
//! `registrar` the task around it · `workload` an instance as the model sees it.

pub use admission::{Refusal, admit, instance_key};
pub use instance::{Binding, Instance, InstanceKey};
pub use lease::{Leases, TooMany};
pub use registrar::{Instances, RegisterError, Registrar, RegistrarError};

mod admission;
mod instance;
mod lease;
mod registrar;
mod workload;
