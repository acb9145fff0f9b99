//! The program: how it starts, what it says, how it refuses to start.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use keyward_tests::launch::{Ended, Launch, Storage, keyward};
use keyward_tests::tokens::{self, hs256};

#[tokio::test]
async fn one_line_tells_that_the_server_is_ready() {
    let server = Launch::new().start().await;
    server.client().get("/healthz").send().await.expect(200);
    let driver = server.launch().storage().driver();
    let line = format!("keyward listening on http://{} ({driver})\n", server.address());
    let ended = server.terminate().await;
    assert!(ended.status.success(), "{ended}");
    assert_eq!(ended.stdout, line);
}

#[tokio::test]
async fn a_store_in_memory_needs_a_secret() {
    assert_refuses(&Launch::on(Storage::Memory).without_secret().run().await, "secret");
}

#[tokio::test]
async fn a_weak_secret_is_refused_and_not_shown() {
    for weak in ["short", &"x".repeat(31), &format!("{},short", tokens::random_secret())] {
        let launch = Launch::new().without_secret().env("KEYWARD_TOKEN_SECRET", weak);
        let ended = launch.run().await;
        assert_refuses(&ended, "32");
        assert!(!ended.stderr.contains(weak), "{ended}");
    }
    let secret = || tokens::random_secret();
    let three = format!("{},{},{}", secret(), secret(), secret());
    let launch = Launch::new().without_secret().env("KEYWARD_TOKEN_SECRET", three);
    assert_refuses(&launch.run().await, "at most 2 secrets");
}

#[tokio::test]
async fn a_secret_may_be_in_a_file() {
    let secret = tokens::random_secret();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{secret}\n")).unwrap();
    let path = file.path().to_str().unwrap();
    for launch in [
        Launch::new().without_secret().flag("--token-secret-file", path),
        Launch::new().without_secret().env("KEYWARD_TOKEN_SECRET_FILE", path),
    ] {
        let server = launch.start().await;
        let tenant = server.tenant();
        let token = hs256(&secret, &tokens::claims(&[tenant.workspace()]));
        tenant.with_credential(token).request("GET").send().await.expect(200);
    }
    let launch = Launch::new().without_secret().flag("--token-secret-file", "/nowhere/secret");
    assert_refuses(&launch.run().await, "/nowhere/secret");
}

#[tokio::test]
async fn rocksdb_makes_a_secret_of_its_own_that_nobody_else_reads() {
    let launch = Launch::on(Storage::rocksdb()).without_secret();
    let server = launch.start().await;
    let directory = server.directory().unwrap();
    let path = directory.join("token.secret");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mode = std::fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let secret = std::fs::read_to_string(&path).unwrap();
    assert!(secret.trim().len() >= 32);

    let tenant = server.tenant();
    let token = hs256(secret.trim(), &tokens::claims(&[tenant.workspace()]));
    let caller = tenant.with_credential(token);
    caller.request("GET").send().await.expect(200);
    server.terminate().await;
    let server = launch.start().await;
    assert_eq!(std::fs::read_to_string(&path).unwrap(), secret, "a second start keeps it");
    caller.on(server.client()).request("GET").send().await.expect(200);
}

#[tokio::test]
async fn a_secret_that_others_can_read_is_refused() {
    let launch = Launch::on(Storage::rocksdb()).without_secret();
    let server = launch.start().await;
    let path = server.directory().unwrap().join("token.secret");
    server.terminate().await;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert_refuses(&launch.run().await, "token.secret");
}

#[tokio::test]
async fn a_flag_has_an_environment_twin_and_wins_over_it() {
    let launch = Launch::new().env("KEYWARD_KEY_PREFIX", "from_environment");
    let server = launch.start().await;
    let key = server.tenant().create("a").await;
    assert!(key.raw().starts_with("from_environment_"));
    server.terminate().await;
    let server = launch.flag("--key-prefix", "from_flag").start().await;
    let key = server.tenant().create("a").await;
    assert!(key.raw().starts_with("from_flag_"));
}

#[tokio::test]
async fn help_documents_every_flag_and_its_twin() {
    let help = keyward(&["serve", "--help"]).await;
    assert!(help.status.success(), "{help}");
    for flag in [
        "--storage",
        "--listen",
        "--key-prefix",
        "--token-secret",
        "--token-secret-file",
        "--jwks",
        "--issuer",
        "--audience",
        "--account-claim",
        "--workspaces-claim",
        "--scope-claim",
        "--cache-entries",
        "--miss-concurrency",
        "--max-connections",
        "--header-timeout",
        "--max-header-bytes",
        "--max-body-bytes",
        "--request-timeout",
        "--log",
        "--log-format",
    ] {
        let twin = format!("KEYWARD{}", flag[1..].replace('-', "_").to_uppercase());
        for name in [&format!("{flag} "), &twin] {
            assert!(help.stdout.contains(name), "{name}: {help}");
        }
    }
    let general = keyward(&["--help"]).await;
    assert!(general.stdout.contains("serve") && general.stdout.contains("token"), "{general}");
}

#[tokio::test]
async fn help_says_what_the_exit_codes_of_keys_mean() {
    let help = keyward(&["keys", "--help"]).await;
    for code in ["  0  done", "  1  refused", "  2  the command line", "  3  no answer"] {
        assert!(help.stdout.contains(code), "{code}: {help}");
    }
    let check = keyward(&["check", "--help"]).await;
    assert!(check.stdout.contains("other users of this"), "{check}");
}

#[tokio::test]
async fn a_shell_can_complete_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = keyward(&["completions", shell]).await;
        assert!(ended.status.success() && ended.stderr.is_empty(), "{ended}");
        assert!(ended.stdout.contains("rotate") && ended.stdout.contains("token-file"), "{shell}");
    }
    assert_eq!(keyward(&["completions", "dos"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let launch = Launch::new;
    for (ended, word) in [
        (launch().flag("--key-prefix", "sk-live").run().await, "prefix"),
        (launch().flag("--key-prefix", "").run().await, "prefix"),
        (launch().flag("--key-prefix", "sk_live,").run().await, "separated by commas alone"),
        (launch().flag("--key-prefix", "sk_live, acme").run().await, "separated by commas alone"),
        (launch().flag("--key-prefix", "sk_live,acme,sk_live").run().await, "listed twice"),
        (launch().flag("--header-timeout", "soon").run().await, "--header-timeout"),
        (launch().flag("--max-body-bytes", "many").run().await, "--max-body-bytes"),
        (launch().flag("--log-format", "xml").run().await, "--log-format"),
        (launch().flag("--no-such-flag", "x").run().await, "--no-such-flag"),
        (keyward(&["serve", "--listen", "nowhere"]).await, "--listen"),
        (keyward(&["serve", "--storage", "mysql://u:hunter2@h/d"]).await, "rocksdb"),
        (keyward(&["no-such-command"]).await, "no-such-command"),
    ] {
        assert_refuses(&ended, word);
        assert!(!ended.stderr.contains("hunter2"), "{ended}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_told_in_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let secret = tokens::random_secret();
    let arguments =
        ["serve", "--storage", "memory://", "--listen", &address, "--token-secret", &secret];
    let ended = keyward(&arguments).await;
    assert_refuses(&ended, &address);
    assert!(!ended.stderr.contains(&secret), "{ended}");
}

/// By the time that it refuses, the store may be open and its threads at work.
#[tokio::test]
async fn refusing_to_start_never_looks_like_a_crash() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for _ in 0..10 {
        let ended = Launch::new().flag("--scope-claim", "scp").run().await;
        assert_refuses(&ended, "--jwks");
        let url = Storage::new().url();
        let secret = tokens::random_secret();
        let arguments =
            ["serve", "--storage", &url, "--listen", &address, "--token-secret", &secret];
        assert_refuses(&keyward(&arguments).await, &address);
    }
}

/// It ended with an error that says `word`, in a line, and without having said that it is ready.
fn assert_refuses(ended: &Ended, word: &str) {
    assert!(ended.status.code().is_some_and(|code| code != 0), "{ended}");
    assert!(ended.stderr.contains(word), "{word}: {ended}");
    assert!(!ended.stderr.contains("panicked"), "{ended}");
    assert!(ended.stderr.lines().count() <= 6, "{ended}");
    assert_eq!(ended.stdout, "");
}
