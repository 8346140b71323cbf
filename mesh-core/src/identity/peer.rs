//! Who is at the other end of a connection, read after its handshake.

use rustls::CommonState;

use super::leaf::Leaf;

/// The verified certificate of the connection's peer; `None` when it showed none.
///
/// A handshake ends only after the verifier has accepted the certificate, so what is read here has been judged.
pub fn peer_certificate(connection: &CommonState) -> Option<Leaf> {
    if connection.is_handshaking() {
        return None;
    }
    Leaf::parse(connection.peer_certificates()?.first()?).ok()
}

/// The verified SPIFFE ID of the connection's peer; `None` when it showed no certificate.
pub fn peer_identity(connection: &CommonState) -> Option<super::SpiffeId> {
    peer_certificate(connection).map(|leaf| leaf.id)
}
