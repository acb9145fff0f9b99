//! What a token must say, once its signature is good.

use keyward_core::audit::Origin;
use keyward_core::caller::{Caller, Credential};
use keyward_core::clock::Timestamp;
use keyward_core::id::{AccountId, WorkspaceId};
use keyward_core::scope::{Scope, Scopes};
use serde_json::{Map, Value};

/// The claims of a token: any JSON object.
pub type Claims = Map<String, Value>;

/// How far the clocks of whoever signs tokens and of this machine may be apart.
const LEEWAY_MICROS: i64 = 5_000_000;

/// What an identity provider calls the claims that describe a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// Who the caller is: any text that is stable, one for each account.
    pub account: String,
    /// The list of the workspaces that it may act in.
    pub workspaces: String,
    /// What it may do there: text with spaces between the scopes, or a list.
    pub scope: String,
}

/// The names that RFC 9068 gives, and `workspaces`.
impl Default for ClaimNames {
    fn default() -> Self {
        Self { account: "sub".into(), workspaces: "workspaces".into(), scope: "scope".into() }
    }
}

/// What one issuer's tokens must say.
pub struct Rules {
    /// The one `iss`.
    pub issuer: String,
    /// What must be the `aud`, or among them.
    pub audience: String,
    /// Where the token says the rest.
    pub names: ClaimNames,
}

impl Rules {
    /// The caller that these claims describe at the moment `now`, or why they describe none.
    pub fn judge(&self, claims: &Claims, now: Timestamp) -> Result<Caller, &'static str> {
        self.judge_parties(claims)?;
        judge_times(claims, now)?;
        let subject = claims.get(&self.names.account).and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() {
            return Err("it names no account");
        }
        Ok(Caller {
            origin: Origin::default(),
            account: AccountId::from_subject(&self.issuer, subject),
            workspaces: workspaces(claims.get(&self.names.workspaces))?,
            scopes: scopes(claims.get(&self.names.scope))?,
            credential: Credential::Token,
            expires_at: None,
        })
    }

    fn judge_parties(&self, claims: &Claims) -> Result<(), &'static str> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err("it is not from the issuer");
        }
        let for_us = match claims.get("aud") {
            Some(Value::String(audience)) => *audience == self.audience,
            Some(Value::Array(audiences)) => {
                audiences.iter().any(|audience| audience.as_str() == Some(&self.audience))
            }
            _ => false,
        };
        if for_us { Ok(()) } else { Err("it is not for this audience") }
    }
}

fn judge_times(claims: &Claims, now: Timestamp) -> Result<(), &'static str> {
    let now = now.as_micros();
    let end = claims.get("exp").and_then(micros).ok_or("it has no end")?;
    if now >= end + LEEWAY_MICROS {
        return Err("it has expired");
    }
    let beginning = match claims.get("nbf") {
        None => return Ok(()),
        Some(value) => micros(value).ok_or("its beginning is no time")?,
    };
    if now < beginning - LEEWAY_MICROS { Err("it is not valid yet") } else { Ok(()) }
}

/// The microseconds since 1970 of a `NumericDate` (RFC 7519, section 2), which counts seconds and
/// may have a fraction. Beyond the year 9999 it is none: there lie the tokens of issuers that take
/// milliseconds for seconds, and they would never end.
fn micros(date: &Value) -> Option<i64> {
    let micros = if let Some(seconds) = date.as_i64() {
        seconds.checked_mul(1_000_000)?
    } else {
        #[expect(clippy::cast_possible_truncation, reason = "what saturates is out of range")]
        let rounded = (date.as_f64()? * 1e6) as i64;
        rounded
    };
    Timestamp::from_micros(micros).map(Timestamp::as_micros)
}

/// A caller without workspaces is a caller still: it is told that it may not, rather than that it
/// is nobody. But an entry that is no id means that we misunderstand the token.
fn workspaces(claim: Option<&Value>) -> Result<Vec<WorkspaceId>, &'static str> {
    let entries = match claim {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err("its workspaces are no list"),
    };
    entries
        .iter()
        .map(|entry| entry.as_str().and_then(|id| id.parse().ok()))
        .collect::<Option<_>>()
        .ok_or("one of its workspaces is no id")
}

fn scopes(claim: Option<&Value>) -> Result<Scopes, &'static str> {
    match claim {
        None | Some(Value::Null) => Ok(Scopes::default()),
        Some(Value::String(scopes)) => Ok(Scopes::from_claim(scopes)),
        Some(Value::Array(entries)) => {
            let texts: Option<Vec<&str>> = entries.iter().map(Value::as_str).collect();
            let texts = texts.ok_or("one of its scopes is no text")?;
            Ok(texts.iter().filter_map(|text| text.parse::<Scope>().ok()).collect())
        }
        Some(_) => Err("its scope is neither a text nor a list"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::token::forge::{NOW, Provider, but};

    fn judge_with(names: ClaimNames, claims: &Value) -> Result<Caller, &'static str> {
        let rules = Rules {
            issuer: Provider::ISSUER.to_owned(),
            audience: Provider::AUDIENCE.to_owned(),
            names,
        };
        let now = Timestamp::from_micros(NOW * 1_000_000).unwrap();
        rules.judge(claims.as_object().unwrap(), now)
    }

    fn judge(changes: Value) -> Result<Caller, &'static str> {
        judge_with(ClaimNames::default(), &but(Provider::claims(), changes))
    }

    /// As if the claim were there and null, which `but` takes for left out.
    fn judge_null(name: &str) -> Result<Caller, &'static str> {
        let mut claims = Provider::claims();
        claims[name] = Value::Null;
        judge_with(ClaimNames::default(), &claims)
    }

    #[test]
    fn a_token_must_end_and_has_five_seconds_of_leeway() {
        for end in
            [json!(NOW + 60), json!(NOW - 4), json!(1_705_310_995.5), json!(253_402_300_799_i64)]
        {
            assert!(judge(json!({ "exp": end })).is_ok(), "{end}");
        }
        for end in [json!(NOW - 5), json!(1_705_310_994.5), json!(0), json!(-1), json!(-0.5)] {
            assert_eq!(judge(json!({ "exp": end })), Err("it has expired"), "{end}");
        }
        let milliseconds = json!(NOW * 1000);
        for end in [milliseconds, json!(253_402_300_800_i64), json!(i64::MAX), json!(u64::MAX)] {
            assert_eq!(judge(json!({ "exp": end })), Err("it has no end"), "{end}");
        }
        for end in [json!(i64::MIN), json!(1e300), json!(-1e300), json!(f64::MAX)] {
            assert_eq!(judge(json!({ "exp": end })), Err("it has no end"), "{end}");
        }
        for end in [json!("1705311060"), json!([NOW + 60]), json!({}), json!(true)] {
            assert_eq!(judge(json!({ "exp": end })), Err("it has no end"), "{end}");
        }
        assert_eq!(judge(json!({ "exp": null })), Err("it has no end"));
        assert_eq!(judge_null("exp"), Err("it has no end"));
    }

    #[test]
    fn a_token_may_begin_and_has_five_seconds_of_leeway() {
        for beginning in [json!(NOW), json!(NOW + 5), json!(0), json!(-1), json!(-0.5)] {
            assert!(judge(json!({ "nbf": beginning })).is_ok(), "{beginning}");
        }
        for beginning in [json!(NOW + 6), json!(1_705_311_005.5), json!(NOW * 100)] {
            let judged = judge(json!({ "nbf": beginning }));
            assert_eq!(judged, Err("it is not valid yet"), "{beginning}");
        }
        for beginning in [json!("now"), json!(u64::MAX), json!(1e300), json!(-1e300)] {
            let judged = judge(json!({ "nbf": beginning }));
            assert_eq!(judged, Err("its beginning is no time"), "{beginning}");
        }
        assert_eq!(judge_null("nbf"), Err("its beginning is no time"));
        assert!(judge(json!({ "iat": NOW + 3600 })).is_ok());
    }

    #[test]
    fn a_token_is_from_its_issuer_alone() {
        for issuer in [json!(null), json!(""), json!("https://id.example/"), json!("keyward")] {
            let judged = judge(json!({ "iss": issuer }));
            assert_eq!(judged, Err("it is not from the issuer"), "{issuer}");
        }
        let one_of_many = json!({ "iss": [Provider::ISSUER] });
        assert_eq!(judge(one_of_many), Err("it is not from the issuer"));
    }

    #[test]
    fn a_token_may_be_for_others_too_but_must_be_for_us() {
        assert!(judge(json!({ "aud": ["other", Provider::AUDIENCE] })).is_ok());
        for audience in [json!(null), json!(""), json!([]), json!(["other"]), json!({}), json!(1)] {
            let judged = judge(json!({ "aud": audience }));
            assert_eq!(judged, Err("it is not for this audience"), "{audience}");
        }
    }

    #[test]
    fn a_token_names_its_account() {
        let uuid = "770e8400-e29b-41d4-a716-446655440000";
        assert_eq!(judge(json!({ "sub": uuid })).unwrap().account.to_string(), uuid);
        for subject in [json!(null), json!(""), json!(7), json!(["ann"])] {
            assert_eq!(judge(json!({ "sub": subject })), Err("it names no account"), "{subject}");
        }
    }

    #[test]
    fn workspaces_are_a_list_of_ids_or_none() {
        let id = "660e8400-e29b-41d4-a716-446655440000";
        let two = judge(json!({ "workspaces": [id, "770e8400-e29b-41d4-a716-446655440000"] }));
        assert_eq!(two.unwrap().workspaces.len(), 2);
        for none in [judge(json!({ "workspaces": null })), judge(json!({ "workspaces": [] }))] {
            assert_eq!(none.unwrap().workspaces, []);
        }
        assert_eq!(judge_null("workspaces").unwrap().workspaces, []);
        for bad in [json!([id, "x"]), json!([1]), json!([null]), json!([[id]])] {
            let judged = judge(json!({ "workspaces": bad }));
            assert_eq!(judged, Err("one of its workspaces is no id"), "{bad}");
        }
        for bad in [json!(id), json!({ id: true }), json!(1)] {
            let judged = judge(json!({ "workspaces": bad }));
            assert_eq!(judged, Err("its workspaces are no list"), "{bad}");
        }
    }

    #[test]
    fn scopes_are_a_text_or_a_list() {
        let scopes = |scope| judge(json!({ "scope": scope })).map(|it| it.scopes.to_string());
        assert_eq!(scopes(json!("b a")).unwrap(), "a b");
        assert_eq!(scopes(json!(["b", "a"])).unwrap(), "a b");
        assert_eq!(scopes(json!(["a b", "c", "api_keys:all"])).unwrap(), "c", "what is no scope");
        for none in [json!(null), json!(""), json!([])] {
            assert_eq!(scopes(none).unwrap(), "");
        }
        assert_eq!(judge_null("scope").unwrap().scopes, Scopes::default());
        assert_eq!(scopes(json!([1])), Err("one of its scopes is no text"));
        assert_eq!(scopes(json!({})), Err("its scope is neither a text nor a list"));
    }

    #[test]
    fn claims_are_read_under_the_names_that_the_provider_gives_them() {
        let names = ClaimNames {
            account: "oid".into(),
            workspaces: "https://id.example/spaces".into(),
            scope: "scp".into(),
        };
        let renamed = json!({
            "oid": "bob", "scp": ["a"],
            "https://id.example/spaces": ["770e8400-e29b-41d4-a716-446655440000"],
        });
        let caller = judge_with(names.clone(), &but(Provider::claims(), renamed)).unwrap();
        assert_eq!(caller.account, AccountId::from_subject(Provider::ISSUER, "bob"));
        assert_eq!(caller.scopes.to_string(), "a");
        assert_eq!(caller.workspaces[0].to_string(), "770e8400-e29b-41d4-a716-446655440000");
        assert_eq!(judge_with(names, &Provider::claims()), Err("it names no account"));
    }
}
