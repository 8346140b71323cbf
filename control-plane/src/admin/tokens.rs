//! Making, listing and ending join tokens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::identity::{RootFingerprint, TrustDomain};
use mesh_core::join::{ControlPlaneAddress, JoinString};
use tonic::Status;

use super::proto::{CreateTokenRequest, CreateTokenResponse, GrantedService, Token};
use crate::grant::{self, Grant, Ledger, LedgerError, StoredToken, TokenLimits, Wishes, create_token};

/// How long a token admits where nobody says.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The tokens of one mesh.
pub(super) struct Tokens {
    pub(super) ledger: Ledger,
    pub(super) addresses: Vec<ControlPlaneAddress>,
    pub(super) root: RootFingerprint,
    pub(super) trust_domain: TrustDomain,
}

impl Tokens {
    pub(super) async fn create(
        &self,
        request: CreateTokenRequest,
        now: SystemTime,
    ) -> Result<CreateTokenResponse, Status> {
        let limits = TokenLimits {
            uses_max: if request.uses_max == 0 { u32::MAX } else { request.uses_max },
            lifetime: match request.valid_seconds {
                0 => LIFETIME_DEFAULT,
                seconds => Duration::from_secs(seconds),
            },
        };
        let grant = grant(request)?;
        let (token, stored) = create_token(grant, limits, now)
            .map_err(|refused| Status::invalid_argument(refused.to_string()))?;
        let join = JoinString {
            addresses: self.addresses.clone(),
            root: self.root,
            trust_domain: self.trust_domain.clone(),
            token,
        };
        let join = join.encode().map_err(|error| Status::failed_precondition(error.to_string()))?;
        self.ledger.create(&stored).await.map_err(|error| failed(&error))?;
        let Token { id, spiffe_id, expires_unix_seconds, .. } = self.describe(&stored);
        Ok(CreateTokenResponse { join, id, spiffe_id, expires_unix_seconds })
    }

    pub(super) async fn list(&self) -> Result<Vec<Token>, Status> {
        let tokens = self.ledger.tokens().await.map_err(|error| failed(&error))?;
        Ok(tokens.iter().map(|token| self.describe(token)).collect())
    }

    pub(super) async fn revoke(&self, id: &str) -> Result<(), Status> {
        match self.ledger.revoke(id).await.map_err(|error| failed(&error))? {
            true => Ok(()),
            false => Err(Status::not_found(format!(
                "there is no token {id}; `mesh token list` lists what there is"
            ))),
        }
    }

    fn describe(&self, token: &StoredToken) -> Token {
        let grant = token.grant();
        let service = |service: &grant::GrantedService| GrantedService {
            name: service.host.clone(),
            port: service.port.into(),
        };
        let id = grant.subject().id(&self.trust_domain).map(|id| id.as_str().to_owned());
        Token {
            id: token.id().to_owned(),
            spiffe_id: id.unwrap_or_default(),
            services: grant.services.iter().map(service).collect(),
            labels: grant.labels.clone().into_iter().collect(),
            uses: token.uses(),
            uses_max: if token.uses_max() == u32::MAX { 0 } else { token.uses_max() },
            expires_unix_seconds: token.expires_at().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        }
    }
}

fn grant(request: CreateTokenRequest) -> Result<Grant, Status> {
    let CreateTokenRequest { namespace, service_account, services, labels, locality, .. } = request;
    let services = services.iter().map(|service| format!("{}:{}", service.name, service.port)).collect();
    let labels = labels.into_iter().collect();
    let wishes = Wishes { namespace, service_account, services, labels, locality };
    wishes.complete().map_err(|refused| Status::invalid_argument(refused.to_string()))
}

fn failed(error: &LedgerError) -> Status {
    tracing::error!(%error, "tokens cannot be read or written");
    Status::internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_completed_from_what_was_said() {
        let request = |namespace: &str, account: &str, services: &[(&str, u32)]| CreateTokenRequest {
            namespace: namespace.into(),
            service_account: account.into(),
            services: services
                .iter()
                .map(|(name, port)| GrantedService { name: (*name).into(), port: *port })
                .collect(),
            ..CreateTokenRequest::default()
        };
        let check = |request: CreateTokenRequest, expected: Result<(&str, &str, &str), &str>| {
            let found = super::grant(request);
            let found = found.map(|grant| {
                let hosts: Vec<String> = grant.services.iter().map(ToString::to_string).collect();
                (grant.namespace, grant.service_account, hosts.join(" "))
            });
            match (found, expected) {
                (Ok((namespace, account, hosts)), Ok(expected)) => {
                    assert_eq!((namespace.as_str(), account.as_str(), hosts.as_str()), expected);
                }
                (Err(refused), Err(expected)) => assert!(refused.message().contains(expected), "{refused}"),
                (found, _) => panic!("{found:?}"),
            }
        };
        let reviews = "reviews.default.svc.cluster.local:9080";
        check(request("", "", &[("reviews", 9080)]), Ok(("default", "reviews", reviews)));
        check(request("", "books", &[("reviews", 9080)]), Ok(("default", "books", reviews)));
        check(request("web", "browser", &[]), Ok(("web", "browser", "")));
        check(request("web", "", &[]), Err("name a service"));
        check(request("", "", &[("reviews", 0)]), Err("is not NAME:PORT"));
        check(request("../..", "", &[("reviews", 80)]), Err("namespace \"../..\""));
        check(request("", "", &[("reviews", 70000)]), Err("is not NAME:PORT"));
    }
}
