//! A cluster's TLS settings as rustls wants them.
//!
//! Made at each connect, not per request: it costs nothing beside a handshake, and so the identities always are those of the
//! cluster's present configuration, and our SVID the present one.

use std::sync::Arc;

use mesh_core::identity::{
    ALPN_HTTP1, ALPN_HTTP2, ALPN_OPAQUE, ExpectedPeer, IdentitySource, SpiffeId, client_config,
};
use mesh_core::resource::UpstreamProtocol;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::Spoken;

/// A connector that accepts the cluster's identities alone, and the name to send.
pub(super) fn connector(
    source: &Arc<IdentitySource>,
    identities: &[Arc<str>],
    sni: &str,
    spoken: Spoken,
) -> Result<(TlsConnector, ServerName<'static>), String> {
    let expected: Result<Arc<[SpiffeId]>, String> = identities
        .iter()
        .map(|id| SpiffeId::parse(id).map_err(|error| format!("identity `{id}`: {error}")))
        .collect();
    let name = ServerName::try_from(sni.to_owned()).map_err(|error| format!("SNI `{sni}`: {error}"))?;
    let mut config = client_config(source, ExpectedPeer::AnyOf(expected?));
    Arc::make_mut(&mut config).alpn_protocols = alpn(spoken);
    Ok((config.into(), name))
}

/// What the handshake offers inside the mesh.
fn alpn(spoken: Spoken) -> Vec<Vec<u8>> {
    match spoken {
        Spoken::Http(protocol) => http_alpn(protocol),
        Spoken::Bytes => vec![ALPN_OPAQUE.to_vec()],
    }
}

pub(super) fn http_alpn(protocol: UpstreamProtocol) -> Vec<Vec<u8>> {
    let protocols: &[&[u8]] = match protocol {
        UpstreamProtocol::Auto => &[ALPN_HTTP2, ALPN_HTTP1],
        UpstreamProtocol::Http1 => &[ALPN_HTTP1],
        UpstreamProtocol::Http2 => &[ALPN_HTTP2],
    };
    protocols.iter().map(|name| name.to_vec()).collect()
}
