//! A deployment that runs already: a cluster, say, behind its gateway.

use std::net::SocketAddr;

/// Where [`Deployment::address`] is told.
pub const ADDRESS: &str = "KEYWARD_TEST_DEPLOYMENT";
/// Where [`Deployment::secret`] is told.
pub const SECRET: &str = "KEYWARD_TEST_SECRET";

/// The deployment that is tested in place of servers of the tests' own.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// Where it is reached, by plain HTTP.
    pub address: SocketAddr,
    /// The secret that its tokens are signed with.
    pub secret: String,
}

impl Deployment {
    /// The one that the environment names, if it names one.
    pub fn under_test() -> Option<Self> {
        let address = std::env::var(ADDRESS).ok()?;
        let address = address.parse().expect("the deployment has an address and a port");
        let secret = std::env::var(SECRET).expect("the deployment's secret is told as well");
        Some(Self { address, secret })
    }
}
