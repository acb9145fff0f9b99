//! The three commands of the documentation, filled in so that they work as pasted.

/// The workspace of the demonstration: the one of the documentation's examples.
pub const WORKSPACE: &str = "660e8400-e29b-41d4-a716-446655440000";

/// Prints the id of the newest active key of a list on standard input. It lies on this side of
/// `jq`, which not every machine has: a key object begins with its id, the status comes later in
/// it, and a quote inside a name is escaped, so neither can be imitated by a name.
const NEWEST_ACTIVE: &str =
    r#"tr '{' '\n' | sed -n 's/^"id":"\([^"]*\)".*"status":"active".*/\1/p' | head -n 1"#;

/// What to type at a server at `url` (without a slash at its end), with this caller token, and
/// what it does.
pub fn instructions(url: &str, token: &str) -> String {
    let [create, list, revoke] = commands(url, token);
    format!(
        "\
1. Create a key. This answer is the only one that ever shows it.

{create}

2. List the keys of the workspace.

{list}

3. Revoke the newest active key, whose id the inner command asks for.

{revoke}

Before and after the third, ask whether the key of the first answer is good (200 or 401):

curl -i {url}/api/v1/auth -H \"X-API-Key: <key>\""
    )
}

/// Create, list, revoke.
fn commands(url: &str, token: &str) -> [String; 3] {
    let keys = format!("{url}/api/v1/workspaces/{WORKSPACE}/api-keys");
    let bearer = format!(r#"-H "Authorization: Bearer {token}""#);
    let headers = format!("{bearer} \\\n  -H \"X-Workspace-ID: {WORKSPACE}\"");
    let create = format!(
        r#"curl -X POST {keys} \
  {headers} \
  -H "Content-Type: application/json" \
  -d '{{
    "name": "CI/CD Pipeline Key"
  }}'"#
    );
    let list = format!("curl -X GET {keys} \\\n  {headers}");
    let revoke = format!(
        r"curl -X DELETE {keys}/$(curl -s {keys} \
  {bearer} |
  {NEWEST_ACTIVE}) \
  {headers}"
    );
    [create, list, revoke]
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn newest_active(list: &str) -> String {
        let mut shell = Command::new("sh")
            .args(["-c", NEWEST_ACTIVE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(list.as_bytes()).unwrap();
        let output = shell.wait_with_output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[test]
    fn the_newest_active_key_is_found_behind_revoked_ones() {
        let list = concat!(
            r#"[{"id":"a","workspace_id":"w","name":"n","status":"revoked","created_by":"c"},"#,
            r#"{"id":"b","workspace_id":"w","name":"n","status":"active","scopes":["s"]},"#,
            r#"{"id":"c","workspace_id":"w","name":"n","status":"active"}]"#,
        );
        assert_eq!(newest_active(list), "b");
    }

    #[test]
    fn a_name_cannot_pass_itself_off_as_a_key() {
        let list = concat!(
            r#"[{"id":"a","name":"{\"id\":\"x\",\"status\":\"active\"","status":"revoked"},"#,
            r#"{"id":"b","name":"n","status":"active"}]"#,
        );
        assert_eq!(newest_active(list), "b");
    }

    #[test]
    fn an_empty_list_names_no_key() {
        assert_eq!(newest_active("[]"), "");
    }

    #[test]
    fn a_shell_takes_the_commands_as_they_are_printed() {
        for command in commands("http://127.0.0.1:1", "t") {
            let status = Command::new("sh").args(["-n", "-c", &command]).status().unwrap();
            assert!(status.success(), "{command}");
        }
    }
}
