//! Every call that needs the storage, and what must come of it in an outage.

use std::time::{Duration, Instant};

use keyward_tests::client::{Answer, Request};
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::wait::within;
use serde_json::json;
use tokio::task::JoinSet;

/// Within this time a node on its default settings says that Postgres is not there. It waits half a
/// second for a connection.
pub const AT_ONCE: Duration = Duration::from_secs(1);
/// Within this time it says so of everything, also where Postgres hangs.
pub const IN_THE_END: Duration = Duration::from_secs(7);
/// What a busy machine may add to any answer.
pub const LEEWAY: Duration = Duration::from_secs(8);

/// Calls whose answer somebody at a gate, or a load balancer, waits for.
pub const URGENT: [&str; 3] = ["verify", "auth", "readyz"];

/// An answer, what it is to, and how long it took.
#[derive(Debug)]
pub struct Timed {
    /// The call.
    pub call: &'static str,
    /// Its answer.
    pub answer: Answer,
    /// The time.
    pub took: Duration,
}

/// Makes every call at once: about `key`, which is active, and which it asks to revoke.
pub async fn every_call(tenant: &Tenant, key: &KeyObject) -> Vec<Timed> {
    let client = tenant.client();
    let verify = json!({ "key": key.raw() }).to_string();
    make([
        ("verify", client.post("/api/v1/api-keys/verify").json(verify)),
        ("auth", client.get("/api/v1/auth").header("x-api-key", key.raw())),
        ("create", tenant.request("POST").json(r#"{"name":"in vain"}"#)),
        ("list", tenant.request("GET")),
        ("revoke", client.delete(&tenant.key_path(key.id)).bearer(tenant.token())),
        ("readyz", client.get("/readyz")),
    ])
    .await
}

/// Makes calls at once and returns their answers.
async fn make(calls: impl IntoIterator<Item = (&'static str, Request)>) -> Vec<Timed> {
    let mut under_way = JoinSet::new();
    for (call, request) in calls {
        under_way.spawn(async move {
            let begun = Instant::now();
            let answer = request.send().await;
            Timed { call, answer, took: begun.elapsed() }
        });
    }
    under_way.join_all().await
}

/// Asserts that each of these is a 503 that says when to come again.
pub fn assert_unavailable(answers: &[Timed]) {
    for Timed { call, answer, .. } in answers {
        assert_eq!(answer.status, 503, "{call}: {answer:?}");
        let answer = answer.clone().expect_problem(503);
        assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{call}: {answer:?}");
    }
}

/// Makes every call a few times and asserts that Postgres is missed by all of them: each time in the
/// end, and each of them at once when the machine was not busy with something else. `limit` says what
/// at once means for a call.
pub async fn assert_outage(tenant: &Tenant, key: &KeyObject, limit: impl Fn(&str) -> Duration) {
    let mut slow = Vec::new();
    for _ in 0..5 {
        let answers = within(IN_THE_END + LEEWAY, "an answer", every_call(tenant, key)).await;
        assert_unavailable(&answers);
        let late = |it: &&Timed| it.took > limit(it.call);
        slow = answers.iter().filter(late).map(|it| (it.call, it.took)).collect();
        if slow.is_empty() {
            return;
        }
    }
    panic!("too late: {slow:?}");
}
