//! Waiting for what must happen, and no longer than it may take on a busy machine.

use std::future::Future;
use std::time::Duration;

/// Longer than anything that is waited for takes, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_mins(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// What `future` gives. It must give it within [`PATIENCE`].
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    within(PATIENCE, "what is waited for", future).await
}

/// What `future` gives. It must give it within `limit`.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(limit, future).await;
    outcome.unwrap_or_else(|_| panic!("{what} did not happen within {limit:?}"))
}

/// Looks again and again until `condition` holds. It must hold within [`PATIENCE`].
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let look = async {
        while !condition().await {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    within(PATIENCE, what, look).await;
}
