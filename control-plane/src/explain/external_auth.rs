//! Whom a rule asks whether the request of a question may go on. What it answers is not known here, other than that nobody can.

use http::StatusCode;
use mesh_core::route::{AuthProtocol, ExternalAuth};
use mesh_core::snapshot::Cluster;
use mesh_core::status::Fault;

use super::destination::fault_of;
use super::{AsksService, Decision};
use crate::translate::name::ClusterName;

/// Says who is asked; a service that cannot answer denies the request.
pub(super) fn ask(
    auth: &ExternalAuth,
    cluster: Option<&Cluster>,
    decision: &mut Decision,
) -> Result<(), Fault> {
    let name = ClusterName::parse(&auth.cluster);
    let (host, port) = name.map_or((&*auth.cluster, 0), |name| (name.host, name.port));
    let protocol = match auth.protocol {
        AuthProtocol::Grpc(_) => "grpc",
        AuthProtocol::Http(_) => "http",
    };
    let body = auth.body.map(|body| format!(", told {} bytes of the body at most", body.bytes_max));
    let body = body.unwrap_or_default();
    decision.trace.push(format!("external authorization: {host}:{port} is asked ({protocol}){body}"));
    decision.external_auth = Some(AsksService { host: host.to_owned(), port, protocol: protocol.to_owned() });
    if let Some(fault) = fault_of(cluster, StatusCode::FORBIDDEN) {
        decision.trace.push(format!("external authorization: {fault}, so that the request is denied"));
        return Err(Fault::ExternalAuth(StatusCode::FORBIDDEN));
    }
    let unknown = "is not known here; the rest takes the request for allowed, with its headers unchanged";
    decision.warnings.push(format!("what {host}:{port} answers {unknown}"));
    Ok(())
}
