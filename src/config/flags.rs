//! Decides which keys have a flag of their own.

/// The flags as given, unparsed; the caller fills it from the command line.
#[derive(Debug, Clone)]
pub struct Overrides {
    /// `--listen ADDR`.
    pub listen: Option<String>,
    /// `--listen-http ADDR`.
    pub listen_http: Option<String>,
    /// `--upstream URL`.
    pub upstream: Option<String>,
    /// `--upstream-ca FILE`.
    pub upstream_ca: Option<String>,
    /// `--admin ADDR`.
    pub admin: Option<String>,
    /// `--state-dir DIR`.
    pub state_dir: Option<String>,
}

impl Overrides {
    /// No flag at all.
    pub fn none() -> Self {
        Self {
            listen: None,
            listen_http: None,
            upstream: None,
            upstream_ca: None,
            admin: None,
            state_dir: None,
        }
    }

    /// Flag, key and value of each flag.
    pub(super) fn all(&self) -> [(&'static str, &'static str, Option<&str>); 6] {
        [
            ("--listen", "listen.https", self.listen.as_deref()),
            ("--listen-http", "listen.http", self.listen_http.as_deref()),
            ("--upstream", "upstream.url", self.upstream.as_deref()),
            ("--upstream-ca", "upstream.ca_file", self.upstream_ca.as_deref()),
            ("--admin", "admin.listen", self.admin.as_deref()),
            ("--state-dir", "state_dir", self.state_dir.as_deref()),
        ]
    }
}
