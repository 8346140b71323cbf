//! Who we are, whom we trust, and how TLS proves both: SPIFFE IDs, X.509-SVIDs, trust bundles.
//!
//! ```text
//!   spiffe_id ◄── leaf ◄── svid ──┐
//!                  ▲              ├─► source ◄── tls (rustls configurations)
//!   bundle ────────┼──────────────┘      ▲          │
//!                  └── verifier ─────────┴──────────┘
//! ```
//! Everything but `source` and `tls` is pure; time is passed in.

#[cfg(test)]
pub(crate) mod authority_for_tests;
mod bundle;
#[cfg(test)]
mod corpora_tests;
mod leaf;
mod peer;
mod pem;
mod refusal;
mod source;
mod spiffe_id;
mod svid;
#[cfg(test)]
mod tests;
mod tls;
mod verifier;

pub use bundle::{BundleError, RootFingerprint, TrustBundle};
pub use leaf::{Leaf, LeafError};
pub use peer::{peer_certificate, peer_identity};
pub use pem::certificates_pem;
pub use refusal::PeerRefusal;
pub use source::{Identity, IdentitySource};
pub use spiffe_id::{SpiffeId, SpiffeIdError, TrustDomain};
pub use svid::{Svid, SvidError};
pub(crate) use tls::anonymous_client_config;
pub use tls::{ALPN_HTTP1, ALPN_HTTP2, ALPN_OPAQUE, client_config, provider, server_config};
pub(crate) use verifier::ServerVerifier;
pub use verifier::{ClientCertificate, ExpectedPeer, PeerRole, verify_svid};
