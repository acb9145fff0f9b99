//! The URL of a server.

use anyhow::{Context as _, Result};

/// The same server with another role and database. None of the three needs quoting in a URL.
pub fn with_login(url: &str, role: &str, password: &str, database: &str) -> Result<String> {
    let (scheme, rest) = url.split_once("://").context("the server's address is not a URL")?;
    let (place, parameters) = match rest.split_once('?') {
        Some((place, parameters)) => (place, format!("?{parameters}")),
        None => (rest, String::new()),
    };
    // A password may hold a slash or an at sign only where it is quoted.
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let host = host.split_once('/').map_or(host, |(host, _)| host);
    Ok(format!("{scheme}://{role}:{password}@{host}/{database}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_login_and_the_database_are_replaced() {
        for (url, expected) in [
            ("postgres://a:b@h:5432/c", "postgres://r:p@h:5432/d"),
            ("postgresql://h", "postgresql://r:p@h/d"),
            ("postgres://a%40b@h/c?sslmode=require", "postgres://r:p@h/d?sslmode=require"),
            ("postgres://[::1]:5432?x=y@z/w", "postgres://r:p@[::1]:5432/d?x=y@z/w"),
        ] {
            assert_eq!(with_login(url, "r", "p", "d").unwrap(), expected);
        }
        assert!(with_login("h:5432", "r", "p", "d").is_err());
    }
}
