//! The gRPC xDS bootstrap file (gRFC A27, A29, A65): where the control plane is and which files prove who we are.

use std::path::Path;

use serde_json::{Value, json};

/// How often gRPC reads the certificate files again, in its own notation.
const REFRESH_INTERVAL: &str = "60s";

/// What the bootstrap says.
#[derive(Debug, Clone)]
pub struct Bootstrap<'a> {
    /// Control-plane addresses, `host:port`, the preferred one first.
    pub servers: &'a [String],
    /// For the control plane's logs; nothing is believed from it.
    pub node_id: &'a str,
    /// The namespace and service account, for tools that show it.
    pub cluster: &'a str,
    /// Certificate chain, PEM.
    pub certificate: &'a Path,
    /// Private key, PEM.
    pub private_key: &'a Path,
    /// Roots, PEM.
    pub roots: &'a Path,
}

impl Bootstrap<'_> {
    /// The file's content.
    ///
    /// ```
    /// # use control_plane::agent::Bootstrap;
    /// # use std::path::Path;
    /// let bootstrap = Bootstrap {
    ///     servers: &["localhost:15012".to_owned()],
    ///     node_id: "python-1",
    ///     cluster: "default/python",
    ///     certificate: Path::new("/run/mesh/cert.pem"),
    ///     private_key: Path::new("/run/mesh/key.pem"),
    ///     roots: Path::new("/run/mesh/roots.pem"),
    /// };
    /// assert_eq!(bootstrap.to_json()["xds_servers"][0]["server_uri"], "localhost:15012");
    /// ```
    pub fn to_json(&self) -> Value {
        let files = json!({
            "certificate_file": self.certificate,
            "private_key_file": self.private_key,
            "ca_certificate_file": self.roots,
            "refresh_interval": REFRESH_INTERVAL,
        });
        let servers: Vec<Value> = self
            .servers
            .iter()
            .map(|server| {
                json!({
                    "server_uri": server,
                    "channel_creds": [{"type": "tls", "config": files}],
                    "server_features": ["xds_v3"],
                })
            })
            .collect();
        json!({
            "xds_servers": servers,
            "node": {"id": self.node_id, "cluster": self.cluster},
            "certificate_providers": {"default": {"plugin_name": "file_watcher", "config": files}},
            "server_listener_resource_name_template": "inbound/%s",
        })
    }
}
