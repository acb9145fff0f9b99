//! What the server says of itself in `/openapi.json`, held against what it does, by schemathesis: it
//! makes requests that the description allows and such that it does not, follows what one answer says
//! to the next request, and finds answers that the description does not have. It is Python's, and is
//! installed from its index beside what was compiled; so this suite is run when it is named.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use keyward_tests::launch::Launch;
use keyward_tests::server::Server;
use keyward_tests::tenant::Tenant;

const VERSION: &str = "4.32.5";

/// All checks but two. That whatever the schema allows is accepted: the description cannot say that a
/// header must repeat the path, or that a time must lie in the future. And that what was deleted is
/// gone: a revoked key is shown as such.
const NOT_CHECKED: &str = "positive_data_acceptance,use_after_free";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_to_a_token_is_one_that_the_description_has() {
    let server = Launch::new().start().await;
    let tenant = server.tenant();
    assert_described(&server, &tenant, tenant.token(), &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_to_a_key_is_one_that_the_description_has() {
    let server = Launch::new().start().await;
    let tenant = server.tenant();
    let key = tenant.create_with_scopes(&["api_keys:read", "api_keys:write"]).await;
    // What would end the key, after which nothing but 401 is answered.
    let ends = ["revokeOwnApiKey", "revokeApiKeys", "revokeApiKey", "rotateApiKey", "editApiKey"];
    assert_described(&server, &tenant, key.raw(), &ends);
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
}

fn assert_described(server: &Server, tenant: &Tenant, credential: &str, without: &[&str]) {
    let directory = tempfile::tempdir().expect("there is room for a file");
    let config = directory.path().join("schemathesis.toml");
    let workspace = tenant.workspace();
    let parameters = format!(
        "[parameters]\n\"path.id\" = \"{workspace}\"\n\"header.X-Workspace-ID\" = \"{workspace}\"\n"
    );
    std::fs::write(&config, parameters).expect("there is room for a file");
    let mut command = Command::new(schemathesis());
    command.arg("--config-file").arg(&config).arg("run");
    command.arg(format!("http://{}/openapi.json", server.address()));
    command.arg("--header").arg(format!("Authorization: Bearer {credential}"));
    command.args(["--exclude-checks", NOT_CHECKED, "--max-examples", "40", "--no-color"]);
    for operation in without {
        command.args(["--exclude-operation-id", operation]);
    }
    let output = command.current_dir(directory.path()).output().expect("schemathesis runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("Stateful"), "{told}");
}

/// The program, installed where it is not there yet.
fn schemathesis() -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schemathesis-{VERSION}"));
    let program = place.join("bin/schemathesis");
    if !program.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&place));
        let pip = place.join("bin/pip");
        run(Command::new(pip).args(["install", "--quiet", &format!("schemathesis=={VERSION}")]));
    }
    program
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}
