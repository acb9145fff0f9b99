//! Where a request came from.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use keyward_core::audit::Origin;
use warp::http::header::{HeaderMap, HeaderName, USER_AGENT};

/// Where each proxy notes whom it was asked by, behind what it was told.
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Most characters of what a client says of itself.
const MAX_USER_AGENT: usize = 256;

/// The proxies whose word is taken for where a request came from.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Where the request came from: the nearest of those that it passed that is not a trusted proxy.
    /// Whatever stands before that in the header, the client may have made up.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut nearest = peer.to_canonical();
        let hops = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let hops = hops.flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        for hop in hops {
            if !self.0.iter().any(|network| network.contains(&nearest)) {
                break;
            }
            match address(hop.trim()) {
                Some(address) => nearest = address.to_canonical(),
                None => break,
            }
        }
        nearest
    }

    /// The origin of a request with these headers.
    pub fn origin(&self, peer: SocketAddr, headers: &HeaderMap, request_id: &str) -> Origin {
        let user_agent = headers.get(USER_AGENT).and_then(|it| it.to_str().ok());
        Origin {
            address: Some(self.client(peer.ip(), headers)),
            user_agent: user_agent.map(|it| it.chars().take(MAX_USER_AGENT).collect()),
            request_id: request_id.into(),
        }
    }
}

/// An address, as proxies write it: with a port or without, and in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|it: SocketAddr| it.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "::1/128"].map(|it| it.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(X_FORWARDED_FOR, value.parse().unwrap());
        }
        TrustedProxies(networks.to_vec()).client(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn what_a_stranger_says_of_its_origin_does_not_count() {
        assert_eq!(client("192.0.2.7", &["10.0.0.1", "198.51.100.9"]), "192.0.2.7");
    }

    #[test]
    fn the_nearest_that_is_no_trusted_proxy_is_the_client() {
        assert_eq!(client("10.0.0.1", &["198.51.100.9"]), "198.51.100.9");
        assert_eq!(client("10.0.0.1", &["203.0.113.5, 198.51.100.9", "10.7.0.1"]), "198.51.100.9");
        assert_eq!(client("::ffff:10.0.0.1", &["[2001:db8::7]:4711"]), "2001:db8::7");
        assert_eq!(client("::1", &["2001:db8::7 , 192.0.2.1:80"]), "192.0.2.1");
    }

    #[test]
    fn behind_proxies_that_do_not_say_more_the_farthest_that_is_known_is_the_client() {
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1", &["198.51.100.9, unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["unknown, 10.0.0.3"]), "10.0.0.3");
    }
}
