//! The way to Postgres, encrypted as the parameters of its URL say.

use std::path::{Path, PathBuf};
use std::process::Command;

use keyward_tests::cluster::Cluster;
use tempfile::TempDir;

use crate::node_on;

#[tokio::test]
async fn the_server_is_known_by_its_name_and_its_authority() {
    let certificates = TempDir::new().expect("there is room");
    let authority = Authority::new(certificates.path(), "ours");
    let cluster = Cluster::start().await;
    authority.certify(&cluster).await;

    let good = url(&cluster, "localhost", "verify-full", &authority.certificate);
    let node = node_on(good).start().await;
    node.tenant().create("over TLS").await;
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE usename = 'keyward' AND ssl";
    assert!(cluster.number(encrypted).await > 0);
    assert_eq!(cluster.number(encrypted).await, cluster.connections().await);

    let other = Authority::new(certificates.path(), "other");
    for (host, mode, certificate) in [
        // The certificate is for localhost alone.
        ("127.0.0.1", "verify-full", &authority.certificate),
        ("localhost", "verify-full", &other.certificate),
        ("localhost", "verify-ca", &other.certificate),
        ("localhost", "verify-full", &certificates.path().join("absent.pem")),
    ] {
        let ended = node_on(url(&cluster, host, mode, certificate)).run().await;
        assert_eq!(ended.status.code(), Some(1), "{host} {mode}: {ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{host} {mode}: {ended}");
        assert!(ended.stderr.contains("no TLS connection to Postgres"), "{host} {mode}: {ended}");
        assert!(!ended.stderr.contains(cluster.password()), "{ended}");
    }
    let looser = url(&cluster, "127.0.0.1", "verify-ca", &authority.certificate);
    node_on(looser).start().await.tenant().create("by its authority alone").await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_tls_is_demanded() {
    let cluster = Cluster::start().await;
    let ended = node_on(format!("{}?sslmode=require", cluster.url())).run().await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    assert!(ended.stderr.contains("no TLS connection to Postgres"), "{ended}");
}

fn url(cluster: &Cluster, host: &str, mode: &str, certificate: &Path) -> String {
    let url = cluster.url().replace("127.0.0.1", host);
    format!("{url}?sslmode={mode}&sslrootcert={}", certificate.display())
}

/// Somebody who says who a server is.
struct Authority {
    key: PathBuf,
    certificate: PathBuf,
}

impl Authority {
    fn new(place: &Path, name: &str) -> Self {
        let file = |kind: &str| place.join(format!("{name}.{kind}"));
        let (key, certificate) = (file("key"), file("pem"));
        openssl(|command| {
            command.args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"]);
            command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=an authority"]);
            command.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        });
        Self { key, certificate }
    }

    /// Has the server of the cluster use TLS, with a certificate for localhost.
    async fn certify(&self, cluster: &Cluster) {
        let file = |kind: &str| self.key.with_file_name(format!("server.{kind}"));
        let (key, request, certificate, names) =
            (file("key"), file("csr"), file("pem"), file("names"));
        openssl(|command| {
            command.args(["req", "-nodes", "-newkey", "ec", "-subj", "/CN=localhost"]);
            command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
            command.arg("-keyout").arg(&key).arg("-out").arg(&request);
        });
        std::fs::write(&names, "subjectAltName=DNS:localhost").expect("there is room");
        openssl(|command| {
            command.args(["x509", "-req", "-days", "2", "-CAcreateserial"]);
            command.arg("-CA").arg(&self.certificate).arg("-CAkey").arg(&self.key);
            command.arg("-in").arg(&request).arg("-extfile").arg(&names);
            command.arg("-out").arg(&certificate);
        });
        for (setting, file) in [("ssl_cert_file", &certificate), ("ssl_key_file", &key)] {
            let contents = std::fs::read(file).expect("it was just made");
            let path = cluster.add_file(setting, &contents);
            let set = format!("ALTER SYSTEM SET {setting} = '{}'", path.display());
            cluster.run(&[&set]).await;
        }
        cluster.run(&["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"]).await;
    }
}

fn openssl(arguments: impl FnOnce(&mut Command)) {
    let mut command = Command::new("openssl");
    arguments(&mut command);
    let output = command.output().expect("openssl is needed (on Debian: apt install openssl)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
